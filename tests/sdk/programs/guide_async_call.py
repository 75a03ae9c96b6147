# The second sample of the Chinese user guide; the page's text has lost the indentation, which is restored here.
import os
from http import HTTPStatus

import dashscope
from dashscope import VideoSynthesis

# 以下为新加坡地域URL,各地域的URL不同,获取URL:https://www.alibabacloud.com/help/en/model-studio/image-to-video-by-first-and-last-frame-api-reference
dashscope.base_http_api_url = "https://dashscope-intl.aliyuncs.com/api/v1"
# 各地域的API Key不同。获取API Key:https://www.alibabacloud.com/help/en/model-studio/get-api-key
api_key = os.getenv("DASHSCOPE_API_KEY", "YOUR_API_KEY")


def sample_async_call_kf2v():
    # 异步调用,返回一个task_id
    rsp = VideoSynthesis.async_call(
        api_key=api_key,
        model="wan2.2-kf2v-flash",
        prompt="写实风格,一只黑色小猫好奇地看向天空,镜头从平视逐渐上升,最后俯拍它的好奇的眼神。",
        first_frame_url="https://wanx.alicdn.com/material/20250318/first_frame.png",
        last_frame_url="https://wanx.alicdn.com/material/20250318/last_frame.png",
        duration=5,  # 固定为5,不可修改
        prompt_extend=True,
        watermark=True,
    )
    print(rsp)
    if rsp.status_code == HTTPStatus.OK:
        print("task_id: %s" % rsp.output.task_id)
    else:
        print("Failed, status_code: %s, code: %s, message: %s" % (rsp.status_code, rsp.code, rsp.message))
    # 等待异步任务结束
    rsp = VideoSynthesis.wait(task=rsp, api_key=api_key)
    print(rsp)
    if rsp.status_code == HTTPStatus.OK:
        print(rsp.output.video_url)
    else:
        print("Failed, status_code: %s, code: %s, message: %s" % (rsp.status_code, rsp.code, rsp.message))


if __name__ == "__main__":
    sample_async_call_kf2v()
