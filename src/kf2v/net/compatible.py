"""A service that speaks OpenAI's protocol, whoever made it; the only module that knows the client library."""

import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, TypeVar, cast

import httpx2

from kf2v.net.call import Unanswered, is_passing, wished_pause
from kf2v.net.dashscope import is_loopback

if TYPE_CHECKING:
    from openai import AsyncOpenAI

T = TypeVar("T")

#: seconds to reach the host; one that is there takes far less
CONNECT = 5.0
#: letters of a stranger's message that are repeated in ours
REPEATED = 200
#: bytes of an answer; a model that thinks aloud needs a tenth of it
LONGEST = 4 * 1024 * 1024

_DATA = re.compile(r"data:image/[\w.+;-]*,[\w+/=]*")


class Compatible:
    """``base_url`` is what comes before ``/chat/completions`` and its like. No redirect is followed: the key would
    travel along.
    """

    def __init__(self, *, base_url: str, api_key: str = "") -> None:
        self._base_url = base_url
        self._api_key = api_key
        # A proxy is for what is far away.
        self._near = is_loopback(base_url)
        # To load it takes a second or more, which is not to be taken from the time that an answer is given.
        with contextlib.suppress(ImportError):  # told when it is asked
            import openai as openai

    async def ask(self, call: "Callable[[AsyncOpenAI], Awaitable[T]]", *, seconds: float, wanted: str) -> T:
        """What ``call`` gets from a client of this service; ``wanted`` names it. Raises Unanswered."""
        try:
            import openai
        except ImportError as error:
            raise Unanswered("the library for it is not installed: pip install openai") from error

        client = openai.AsyncOpenAI(
            base_url=self._base_url,
            api_key=self._api_key or "none",
            timeout=openai.Timeout(seconds, connect=min(CONNECT, seconds)),
            max_retries=0,
            default_headers={"Accept-Encoding": "identity"},
            http_client=openai.DefaultAsyncHttpxClient(
                trust_env=not self._near, follow_redirects=False, event_hooks={"response": [_cut_off]}
            ),
        )
        async with client:
            try:
                return await call(client)
            except openai.APIStatusError as error:
                raise self._refused(error.status_code, error.message, error.response.headers) from error
            except openai.APITimeoutError as error:
                raise Unanswered("it cannot be reached in time", passing=True) from error
            except openai.APIConnectionError as error:
                if isinstance(error.__cause__, Unanswered):
                    raise error.__cause__ from error
                raise Unanswered(f"it cannot be reached: {error.__cause__ or error}", passing=True) from error
            except (openai.OpenAIError, ValueError, RecursionError) as error:
                raise Unanswered(f"it answers, but not with {wanted}", passing=True) from error

    def _refused(self, status: int, message: str, headers: Mapping[str, str]) -> Unanswered:
        said = _DATA.sub("data:…", " ".join(message.split()))
        if self._api_key:
            said = said.replace(self._api_key, "***")
        return Unanswered(
            f"it answers {said[:REPEATED]}", status=status, passing=is_passing(status), wait=wished_pause(headers)
        )


async def _cut_off(answer: httpx2.Response) -> None:
    """Not more than ``LONGEST`` is read, nor unpacked: a few bytes could become more than that."""
    answer.headers.pop("content-encoding", None)
    answer.stream = _CutOff(cast("httpx2.AsyncByteStream", answer.stream))


class _CutOff(httpx2.AsyncByteStream):
    """What ``stream`` brings, as it comes; raises Unanswered beyond ``LONGEST``."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        came = 0
        async for chunk in self._stream:
            came += len(chunk)
            if came > LONGEST:
                raise Unanswered(f"its answer is longer than {LONGEST // 1024} KB")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
