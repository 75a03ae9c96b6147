"""One question to one chat endpoint, answered in time or given up; the only module that knows the client library."""

import asyncio
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlsplit

#: seconds between two looks at whether the answer is wanted still
TICK = 0.2
#: seconds to reach the host; one that is there takes far less
CONNECT = 5.0
#: letters of a stranger's message that are repeated in ours
REPEATED = 200

_DATA = re.compile(r"data:image/[\w.+;-]*,[\w+/=]*")

Message: TypeAlias = dict[str, Any]


class Unanswered(Exception):
    """No answer that could be used; says why, without the key."""

    def __init__(self, reason: str, *, status: int = 0, passing: bool = False, wait: float = 0.0) -> None:
        """``passing`` means that asking again may help, after ``wait`` seconds; ``status`` is HTTP's, 0 for none."""
        self.reason = reason
        self.status = status
        self.passing = passing
        self.wait = wait
        super().__init__(reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back."""

    text: str
    #: whether it ends in the middle, at the endpoint's limit
    cut_short: bool = False


class Endpoint:
    """``base_url`` is what comes before ``/chat/completions``; ``extra`` goes into the body of every request."""

    def __init__(self, *, base_url: str, model: str, api_key: str = "", extra: Mapping[str, Any] | None = None) -> None:
        self._base_url = base_url
        self._model = model
        self._api_key = api_key
        self._extra = dict(extra or {})
        # A proxy is for what is far away.
        self._near = urlsplit(base_url).hostname in ("localhost", "127.0.0.1", "::1")

    def ask(self, messages: Sequence[Message], *, seconds: float, tick: Callable[[], None]) -> Reply:
        """The answer, within ``seconds``. Raises Unanswered, and what ``tick`` raises, which is asked all the while.

        The request runs in a thread of its own, and whatever it hangs at, a name that does not resolve or an answer
        that comes by drops, this returns in time; the connection is closed behind it.
        """
        deadline = time.monotonic() + seconds
        given_up, outcome = threading.Event(), Future[Reply]()

        def errand() -> None:
            try:
                outcome.set_result(asyncio.run(self._unless(given_up, messages, seconds)))
            except BaseException as error:  # noqa: BLE001  whoever waits is told
                outcome.set_exception(error)

        threading.Thread(target=errand, name="rewrite", daemon=True).start()
        try:
            while not outcome.done():
                tick()
                left = deadline - time.monotonic()
                if left <= 0:
                    raise Unanswered(f"no answer within {seconds:.0f} s")
                _wait(outcome, min(TICK, left))
            return outcome.result()
        finally:
            given_up.set()

    async def _unless(self, given_up: threading.Event, messages: Sequence[Message], seconds: float) -> Reply:
        call = asyncio.create_task(self._ask(messages, seconds))
        while not call.done() and not given_up.is_set():
            await asyncio.wait({call}, timeout=TICK)
        call.cancel()
        return await call

    async def _ask(self, messages: Sequence[Message], seconds: float) -> Reply:
        try:
            import openai
        except ImportError as error:
            raise Unanswered("the library for it is not installed: pip install openai") from error

        client = openai.AsyncOpenAI(
            base_url=self._base_url,
            api_key=self._api_key or "none",
            timeout=openai.Timeout(seconds, connect=min(CONNECT, seconds)),
            max_retries=0,
            http_client=openai.DefaultAsyncHttpxClient(trust_env=not self._near),
        )
        async with client:
            try:
                found: Any = await client.chat.completions.create(
                    model=self._model,
                    messages=list(messages),  # pyright: ignore[reportArgumentType]  dicts as the protocol has them
                    extra_body=self._extra or None,
                )
            except openai.APIStatusError as error:
                raise self._refused(error.status_code, error.message, error.response.headers) from error
            except openai.APITimeoutError as error:
                raise Unanswered("it cannot be reached in time", passing=True) from error
            except openai.APIConnectionError as error:
                raise Unanswered(f"it cannot be reached: {error.__cause__ or error}", passing=True) from error
            except (openai.OpenAIError, ValueError) as error:
                raise Unanswered("it answers, but not with a chat completion", passing=True) from error
        return _read(found)

    def _refused(self, status: int, message: str, headers: Mapping[str, str]) -> Unanswered:
        said = _DATA.sub("data:…", " ".join(message.split()))
        if self._api_key:
            said = said.replace(self._api_key, "***")
        try:
            wait = max(0.0, float(headers.get("retry-after", "0")))
        except ValueError:
            wait = 0.0
        passing = status in (408, 409, 425, 429) or status >= 500
        return Unanswered(f"it answers {said[:REPEATED]}", status=status, passing=passing, wait=wait)


def _wait(outcome: "Future[Reply]", seconds: float) -> None:
    done = threading.Event()
    outcome.add_done_callback(lambda _: done.set())
    done.wait(seconds)


def _read(found: Any) -> Reply:
    """The text in a completion, whatever the server put there. Raises Unanswered."""
    try:
        choice = found.choices[0]
        text, reason = choice.message.content, choice.finish_reason
    except (AttributeError, IndexError, TypeError) as error:
        raise Unanswered("it answers, but not with a chat completion", passing=True) from error
    if reason == "content_filter":
        raise Unanswered("its content filter stopped the answer")
    return Reply(text=text if isinstance(text, str) else "", cut_short=reason == "length")
