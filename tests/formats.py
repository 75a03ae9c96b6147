"""What the API's values look like, for tests that may not know their content."""

import re

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
#: ``YYYY-MM-DD HH:mm:ss.SSS``
TIME = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}\.\d{3}")


def is_uuid(value: object) -> bool:
    return isinstance(value, str) and UUID.fullmatch(value) is not None


def is_time(value: object) -> bool:
    return isinstance(value, str) and TIME.fullmatch(value) is not None


def is_milliseconds(value: object) -> bool:
    """A time of this century as an integer count of milliseconds."""
    return type(value) is int and 946_684_800_000 < value < 4_102_444_800_000


def is_link(value: object) -> bool:
    """A signed link to an MP4, as the user guide prints it: ``…/xxx.mp4?Expires=…``."""
    return isinstance(value, str) and re.fullmatch(r"https?://[^/\s]+/\S+\.mp4\?Expires=\d+&\S+", value) is not None
