# The first sample of the Chinese user guide; the page's text has lost the indentation, which is restored here.
import os
from http import HTTPStatus

import dashscope
from dashscope import VideoSynthesis

# 以下为新加坡地域URL,各地域的URL不同,获取URL:https://www.alibabacloud.com/help/en/model-studio/image-to-video-by-first-and-last-frame-api-reference
dashscope.base_http_api_url = "https://dashscope-intl.aliyuncs.com/api/v1"
# 各地域的API Key不同。获取API Key:https://www.alibabacloud.com/help/en/model-studio/get-api-key
api_key = os.getenv("DASHSCOPE_API_KEY", "YOUR_API_KEY")
print("please wait...")
rsp = VideoSynthesis.call(
    api_key=api_key,
    model="wan2.2-kf2v-flash",
    prompt="一个可爱且表情有些忧伤的蓝色小怪物站在雨中。镜头缓慢拉近,定格在小怪物抬头仰望天空的瞬间。",
    first_frame_url="https://help-static-aliyun-doc.aliyuncs.com/file-manage-files/zh-CN/20260126/ixdxvt/wan-kf2v-blue-1.png",
    last_frame_url="https://help-static-aliyun-doc.aliyuncs.com/file-manage-files/zh-CN/20260126/nhtdrc/wan-kf2v-blue-2.png",
    duration=5,  # 固定为5,不可修改
    prompt_extend=True,
    watermark=True,
)
print(rsp)
if rsp.status_code == HTTPStatus.OK:
    print("video_url:", rsp.output.video_url)
else:
    print("Failed, status_code: %s, code: %s, message: %s" % (rsp.status_code, rsp.code, rsp.message))
