"""JSON sent to a service of the owner's choice, JSON received."""

from typing import Any

import httpx2
import msgspec

from kf2v import __version__
from kf2v.net.call import Unanswered, is_passing, wished_pause
from kf2v.net.dashscope import is_loopback

#: seconds to reach the host
CONNECT = 5.0
#: bytes of an answer; nobody needs more to say yes or no
LONGEST = 1024 * 1024


async def post_json(url: str, body: object, *, api_key: str = "", seconds: float) -> Any:
    """What ``url`` answers to ``body``. ``seconds`` is for each step, not for all of them. Raises Unanswered.

    The address is the owner's own, so it may be anywhere; no redirect is followed, because the key would travel along.
    """
    headers = {"User-Agent": f"kf2v/{__version__}", "Content-Type": "application/json", "Accept-Encoding": "identity"}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    timeout = httpx2.Timeout(seconds, connect=min(CONNECT, seconds))
    try:
        async with (
            httpx2.AsyncClient(timeout=timeout, trust_env=not is_loopback(url)) as client,
            client.stream("POST", url, content=msgspec.json.encode(body), headers=headers) as answer,
        ):
            if answer.status_code != 200:
                raise _refused(answer)
            return msgspec.json.decode(await _whole(answer))
    except httpx2.TimeoutException as error:
        raise Unanswered("it cannot be reached in time", passing=True) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unanswered("it answers, but not with JSON", passing=True) from error
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError) as error:
        raise Unanswered(f"it cannot be reached: {error or type(error).__name__}", passing=True) from error


def _refused(answer: httpx2.Response) -> Unanswered:
    status = answer.status_code
    said, wait = f"it answers with status {status}", wished_pause(answer.headers)
    return Unanswered(said, status=status, passing=is_passing(status), wait=wait)


async def _whole(answer: httpx2.Response) -> bytes:
    """The body as it comes: compressed, which was not asked for, a few bytes could become more than there is room."""
    body = bytearray()
    async for chunk in answer.aiter_raw():
        body += chunk
        if len(body) > LONGEST:
            raise Unanswered(f"its answer is longer than {LONGEST // 1024} KB")
    return bytes(body)
