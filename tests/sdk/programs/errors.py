"""Everything a caller can get wrong, and what the SDK makes of the answer: `errors.py FIRST_URL LAST_URL`."""

import json
import sys

from dashscope import VideoSynthesis

first, last = sys.argv[1:]


def order(**changed):
    arguments = {"model": "wan2.2-kf2v-flash", "first_frame_url": first, "last_frame_url": last, **changed}
    return json.loads(str(VideoSynthesis.async_call(**arguments)))


seen = {
    "wrong_key": order(api_key="sk-not-a-key"),
    "unknown_model": order(model="wan9.9-kf2v-none"),
    "unknown_model_elsewhere": order(model="morph"),
    "no_last_frame": order(last_frame_url=None),
    "empty_last_frame": order(last_frame_url=""),
    "not_a_url": order(first_frame_url="ftp://nowhere/picture.png"),
    "wrong_resolution": order(model="wan2.1-kf2v-plus", resolution="1080P"),
    "wrong_duration": order(duration=10),
    "seed_too_big": order(seed=2147483648),
    "seed_as_text": order(seed="12"),
    "fetch_with_wrong_key": json.loads(str(VideoSynthesis.fetch("some-id", api_key="sk-not-a-key"))),
    "list_with_wrong_key": json.loads(str(VideoSynthesis.list(api_key="sk-not-a-key"))),
}
try:
    VideoSynthesis.call(model="wan9.9-kf2v-none", first_frame_url=first, last_frame_url=last)
except Exception as error:  # noqa: BLE001  what it is, is the fact that is reported
    seen["call_with_unknown_model"] = f"{type(error).__name__}: {error}"
try:
    VideoSynthesis.call(
        model="wan2.2-kf2v-flash", api_key="sk-not-a-key", first_frame_url=f"file://{__file__}", last_frame_url=last
    )
except Exception as error:  # noqa: BLE001  what it is, is the fact that is reported
    seen["upload_with_wrong_key"] = f"{type(error).__name__}: {error}"
print(json.dumps(seen))
