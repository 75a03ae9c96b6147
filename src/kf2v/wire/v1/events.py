"""The event that says that a task has ended: CloudEvents 1.0, as Model Studio hands them to EventBridge.

Reference: "Receive notifications of asynchronous tasks". ``time`` is UTC with milliseconds, the times in ``data`` are
UTC+8 without: the vendor's own two ways. Nothing here depends on when it is said, so it is the same at every try.
"""

import msgspec

from kf2v.tasks.news import News
from kf2v.wire.v1 import times

#: how CloudEvents travel over HTTP with everything in the body ("structured mode" of its HTTP binding)
CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
FINISHED = "dashscope:System:AsyncTaskFinish"
TEST = "kf2v:Webhook:Test"


def finished(event_id: str, news: News) -> bytes:
    """The end of a task. On the cloud everybody reads the result with one GET, so it holds none."""
    return _event(
        event_id,
        kind=FINISHED,
        source="acs.dashscope",
        account=news.account,
        region=news.region,
        at=news.ended_at,
        data={
            "task_id": news.task_id,
            "task_status": news.status,
            "user_api_unique_key": f"apikey:v1:aigc:image2video:video-synthesis:{news.model}",
            "start_time": times.render_second(news.started_at),
            "end_time": times.render_second(news.ended_at),
            "contain_result": False,
            "region": news.region,
            "request_id": news.request_id,
            "api_key_id": news.key_id,
        },
    )


def test(event_id: str, *, webhook_id: str, account: str, region: str, now: int) -> bytes:
    """A try of a webhook. Its source is our own, so that no rule made for tasks takes it for one."""
    return _event(
        event_id, kind=TEST, source="kf2v", account=account, region=region, at=now, data={"webhook_id": webhook_id}
    )


def _event(
    event_id: str, *, kind: str, source: str, account: str, region: str, at: int, data: dict[str, object]
) -> bytes:
    moment = times.render_iso(at)
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": event_id,
            "source": source,
            "type": kind,
            "time": moment,
            "datacontenttype": "application/json;charset=utf-8",
            "aliyunaccountid": account,
            "aliyunoriginalaccountid": account,
            "aliyunpublishtime": moment,
            "aliyuneventbusname": "default",
            "aliyunregionid": region,
            "data": data,
        }
    )
