"""The event of a task's end, member by member as the vendor's sample has it."""

import json

from kf2v.tasks.news import News
from kf2v.wire.v1 import events

NEWS = News(
    task_id="0385dc79-5ff8-4d82-bcb6-000000000000",
    account="default",
    key_id="1250",
    request_id="7574ee8f-38a3-4b1e-9280-000000000000",
    model="wan2.2-kf2v-flash",
    region="cn-beijing",
    status="SUCCEEDED",
    started_at=1_698_198_309_123,
    ended_at=1_698_198_316_969,
)
GOLDEN = """{
  "specversion": "1.0",
  "id": "018b64f4-0a49-7000-8000-000000000000",
  "source": "acs.dashscope",
  "type": "dashscope:System:AsyncTaskFinish",
  "time": "2023-10-25T01:45:16.969Z",
  "datacontenttype": "application/json;charset=utf-8",
  "aliyunaccountid": "default",
  "aliyunoriginalaccountid": "default",
  "aliyunpublishtime": "2023-10-25T01:45:16.969Z",
  "aliyuneventbusname": "default",
  "aliyunregionid": "cn-beijing",
  "data": {
    "task_id": "0385dc79-5ff8-4d82-bcb6-000000000000",
    "task_status": "SUCCEEDED",
    "user_api_unique_key": "apikey:v1:aigc:image2video:video-synthesis:wan2.2-kf2v-flash",
    "start_time": "2023-10-25 09:45:09",
    "end_time": "2023-10-25 09:45:16",
    "contain_result": false,
    "region": "cn-beijing",
    "request_id": "7574ee8f-38a3-4b1e-9280-000000000000",
    "api_key_id": "1250"
  }
}"""


def test_the_end_of_a_task_reads_as_the_vendors_sample() -> None:
    rendered = json.loads(events.finished("018b64f4-0a49-7000-8000-000000000000", NEWS))
    assert json.dumps(rendered, indent=2) == GOLDEN


def test_a_test_cannot_be_taken_for_the_end_of_a_task() -> None:
    event = json.loads(events.test("e", webhook_id="w", account="mine", region="local", now=NEWS.ended_at))
    assert (event["source"], event["type"]) == ("kf2v", "kf2v:Webhook:Test")
    assert set(event) == set(json.loads(GOLDEN))
    assert event["data"] == {"webhook_id": "w"}
