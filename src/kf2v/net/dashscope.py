"""A client for any endpoint that speaks DashScope's kf2v API: this server, another one, or the cloud.

Knows what travels, not why: which endpoint, which key and what a failure means to a user is decided by the caller.
"""

import contextlib
import json
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar, cast
from urllib.parse import quote, urlsplit

import httpx2
import msgspec

from kf2v import __version__
from kf2v.net.remote_error import Garbled, Refused, RemoteError, TimedOut, Unreachable, is_passing

#: states that no poll will change
ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELED", "UNKNOWN"})
#: seconds; the server holds nothing for longer, uploads of 10 MB over a slow line may take their time
TIMEOUT = httpx2.Timeout(connect=10.0, read=60.0, write=60.0, pool=10.0)

#: bytes of an answer, unpacked; a page of a hundred tasks has a hundredth of it
LONGEST = 16 * 2**20

#: what is raised before anything of a request has left
_UNSENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
#: what the decoder says to bytes that are no JSON
_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_OK = 200
_SERVER_ERROR = 500
_CREATE = "services/aigc/image2video/video-synthesis"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One video to ask for. None leaves the choice to the endpoint."""

    model: str
    #: http(s), ``oss://`` or ``data:`` URLs
    first_frame_url: str
    last_frame_url: str
    prompt: str | None = None
    negative_prompt: str | None = None
    resolution: str | None = None
    seed: int | None = None
    prompt_extend: bool | None = None
    watermark: bool | None = None
    #: ``input``, ``output``: what the endpoint shall inspect, beside what it inspects anyway
    inspect: tuple[str, ...] = ()

    def body(self) -> dict[str, object]:
        """As the API spells it."""
        given = {
            "prompt": self.prompt,
            "negative_prompt": self.negative_prompt,
            "first_frame_url": self.first_frame_url,
            "last_frame_url": self.last_frame_url,
        }
        parameters = {
            "resolution": self.resolution,
            "seed": self.seed,
            "prompt_extend": self.prompt_extend,
            "watermark": self.watermark,
        }
        return {"model": self.model, "input": _present(given), "parameters": _present(parameters)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a task stands, as one answer told it."""

    task_id: str
    #: PENDING, RUNNING, SUCCEEDED, FAILED, CANCELED or UNKNOWN
    status: str
    request_id: str
    #: why it failed; empty otherwise
    code: str = ""
    message: str = ""
    #: where the video is; empty unless it succeeded
    video_url: str = ""
    #: the whole answer, for those who print it
    answer: Mapping[str, Any]

    @property
    def ended(self) -> bool:
        """Whether no later answer will differ."""
        return self.status in ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of a kf2v server's stream."""

    #: ``hello``, ``task``, ``deleted`` or ``resync``
    kind: str
    #: where to go on from
    id: str
    told: Mapping[str, Any]


class DashScope:
    """One endpoint and one key. Not for use by several threads at once.

    Proxies are those of the environment (``HTTPS_PROXY``, ``HTTP_PROXY``, ``NO_PROXY``), except that a loopback
    endpoint is always asked directly. No redirect of the API is followed, because the key would travel along.
    """

    def __init__(self, base_url: str, api_key: str, *, timeout: httpx2.Timeout | float = TIMEOUT) -> None:
        """``base_url`` ends in ``/api/v1``, with or without a slash; ``timeout`` as a number is in seconds, for each
        step of a request. Raises Unreachable if it is no URL.
        """
        self.base_url = base_url.rstrip("/")
        self._timeout = timeout
        self._tls = httpx2.create_ssl_context()  # takes 20 ms, so all connections share it
        self._api = self._client(self.base_url, base_url=self.base_url + "/")
        self._api.headers["Authorization"] = f"Bearer {api_key}"
        #: what the endpoint called itself in its last answer; empty where it says nothing
        self.software = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._api.close()

    def create(self, request: Request, *, idempotency_key: str | None = None) -> Standing:
        """Order a video; the answer is its first standing. Never repeated by itself: it may cost money.

        Raises RemoteError.
        """
        headers = {"X-DashScope-Async": "enable"}
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        if any(url.startswith("oss://") for url in (request.first_frame_url, request.last_frame_url)):
            headers["X-DashScope-OssResourceResolve"] = "enable"
        if request.inspect:
            headers["X-DashScope-DataInspection"] = json.dumps(dict.fromkeys(request.inspect, "cip"))
        return _standing(self._ask("POST", _CREATE, json=request.body(), headers=headers))

    def get(self, task_id: str) -> Standing:
        """Where a task stands now; UNKNOWN if the endpoint does not know it. Raises RemoteError."""
        return _standing(self._ask("GET", f"tasks/{_segment(task_id)}"))

    def list(self, **query: object) -> dict[str, Any]:
        """One page of tasks: ``data`` holds its rows, ``total`` says how many there are. Raises RemoteError.

        ``query`` has the API's names (``page_no``, ``page_size``, ``status``, …); None leaves a name out.
        """
        return self._ask("GET", "tasks", params={name: str(value) for name, value in _present(query).items()})

    def cancel(self, task_id: str) -> str:
        """Call a PENDING task off and return the request id. Raises Refused if it is in any other state."""
        return str(self._ask("POST", f"tasks/{_segment(task_id)}/cancel").get("request_id", ""))

    def upload(self, content: BinaryIO, *, name: str, model: str) -> str:
        """Put a file where the endpoint can read it for ``model``; returns its ``oss://`` URL. Raises RemoteError."""
        granted = _read(self._ask("GET", "uploads", params={"action": "getPolicy", "model": model}), _PolicyAnswer).data
        key = f"{granted.upload_dir}/{name}"
        form = {
            "OSSAccessKeyId": granted.oss_access_key_id,
            "Signature": granted.signature,
            "policy": granted.policy,
            "key": key,
            "x-oss-object-acl": granted.x_oss_object_acl,
            "x-oss-forbid-overwrite": granted.x_oss_forbid_overwrite,
            "success_action_status": "200",
        }
        with _translated(granted.upload_host), self._client(granted.upload_host) as client:
            _checked(client.post(granted.upload_host, data=form, files={"file": (name, content)}))
        return f"oss://{key}"

    def download(self, url: str, file: BinaryIO, on_progress: Callable[[int, int | None], None] | None = None) -> int:
        """Append a finished video to ``file``; returns its size in bytes. The key is not sent.

        ``on_progress`` gets the bytes so far and in total (None if not told). Raises RemoteError, after which
        ``file`` may hold a part of it.
        """
        size = 0
        with (
            _translated(url),
            self._client(url) as client,
            client.stream("GET", url, follow_redirects=True) as answer,
        ):
            if answer.status_code != _OK:
                answer.read()
            _checked(answer)
            length = answer.headers.get("content-length", "")
            total = int(length) if length.isdigit() else None
            for chunk in answer.iter_bytes():
                size += file.write(chunk)
                if on_progress is not None:
                    on_progress(size, total)
        return size

    def events(self, task_id: str | None = None, *, after: str | None = None) -> Iterator[Event]:
        """What happens to the account's tasks, or to one, from now on or since the event ``after``; ends when the
        endpoint does. For a kf2v server only. Raises RemoteError.
        """
        url = f"{self.base_url.removesuffix('/api/v1')}/kf2v/v1/events"
        params = {"task_id": task_id} if task_id else {}
        headers = {"Last-Event-ID": after} if after else {}
        with _translated(self.base_url), self._api.stream("GET", url, params=params, headers=headers) as answer:
            if answer.status_code != _OK:
                answer.read()
            _checked(answer)
            yield from _events(answer.iter_lines())

    def follow(
        self,
        task_id: str,
        *,
        pace: Iterable[float],
        patience: int = 10,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Iterator[Standing]:
        """Where the task stands, poll after poll, up to and including its end.

        ``pace`` is the seconds between polls; its last value goes on for ever. Once the endpoint has answered,
        up to ``patience`` polls in a row may fail (a restart, a rate limit) before the RemoteError is raised.
        """
        pauses = _endless(pace)
        failed = patience
        while True:
            try:
                standing = self.get(task_id)
            except RemoteError as error:
                failed += 1
                if failed > patience or not is_passing(error):
                    raise
            else:
                failed = 0
                yield standing
                if standing.ended:
                    return
            sleep(next(pauses))

    def own(self, method: str, path: str, **options: Any) -> bytes:
        """What an endpoint that is a kf2v server answers on its own surface. Raises RemoteError."""
        url = f"{self.base_url.removesuffix('/api/v1')}/kf2v/v1/{path}"
        with _translated(self.base_url):
            return _checked(self._api.request(method, url, **options)).content

    def own_object(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """The same, where it is one JSON object."""
        return self._object(self.own(method, path, **options))

    def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        with _translated(self.base_url), self._api.stream(method, path, **options) as answer:
            self.software = answer.headers.get("server", "")
            content = self._whole(answer)
        _checked(answer, content)
        return self._object(content)

    def _whole(self, answer: httpx2.Response) -> bytes:
        """The body, if it ends in time and before it is too long. Raises TimedOut, Garbled."""
        end = math.inf if isinstance(self._timeout, httpx2.Timeout) else time.monotonic() + self._timeout
        body = bytearray()
        for chunk in answer.iter_bytes():
            body += chunk
            if len(body) > LONGEST:
                told = f"{self.base_url} answered with more than {LONGEST // 2**20} MB"
                raise Garbled("UnexpectedAnswer", told, doubtful=True)
            if time.monotonic() > end:
                raise TimedOut("Timeout", f"{self.base_url} did not finish its answer in time", doubtful=True)
        return bytes(body)

    def _object(self, content: bytes) -> dict[str, Any]:
        try:
            body: object = msgspec.json.decode(content)
        except _NO_JSON as error:
            told = f"{self.base_url} answered with something other than JSON"
            raise Garbled("UnexpectedAnswer", told, doubtful=True) from error
        if not isinstance(body, dict):
            raise Garbled("UnexpectedAnswer", f"{self.base_url} answered with JSON that is no object", doubtful=True)
        return cast("dict[str, Any]", body)

    def _client(self, url: str, **options: Any) -> httpx2.Client:
        """Connections to the host of ``url``, without the key."""
        try:
            return httpx2.Client(
                headers={"User-Agent": f"kf2v/{__version__}"},
                timeout=self._timeout,
                verify=self._tls,
                trust_env=not is_loopback(url),
                **options,
            )
        except httpx2.InvalidURL as error:
            raise Unreachable("InvalidURL", f"{url!r} cannot be asked: {error}") from error
        except (ImportError, ValueError) as error:  # what the library says to proxies it cannot use
            raise Unreachable("ProxyError", f"the proxy of the environment cannot be used: {error}") from error


def is_loopback(url: str) -> bool:
    """Whether ``url`` names this machine: ``localhost``, 127.0.0.0/8 or ::1."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


_Shape = TypeVar("_Shape", bound=msgspec.Struct)


class _Output(msgspec.Struct):
    task_id: str
    task_status: str
    code: str | None = None
    message: str | None = None
    video_url: str | None = None


class _TaskAnswer(msgspec.Struct):
    output: _Output
    request_id: str = ""


class _Policy(msgspec.Struct):
    policy: str
    signature: str
    upload_dir: str
    upload_host: str
    oss_access_key_id: str
    x_oss_object_acl: str
    x_oss_forbid_overwrite: str


class _PolicyAnswer(msgspec.Struct):
    data: _Policy


class _ErrorAnswer(msgspec.Struct):
    code: str
    message: str = ""
    request_id: str = ""


def _read(answer: dict[str, Any], shape: type[_Shape]) -> _Shape:
    try:
        return msgspec.convert(answer, shape, strict=False)
    except msgspec.ValidationError as error:
        raise Garbled("UnexpectedAnswer", f"not the answer of this API: {error}", doubtful=True) from error


def _standing(answer: dict[str, Any]) -> Standing:
    told = _read(answer, _TaskAnswer)
    return Standing(
        task_id=told.output.task_id,
        status=told.output.task_status,
        request_id=told.request_id,
        code=told.output.code or "",
        message=told.output.message or "",
        video_url=told.output.video_url or "",
        answer=answer,
    )


def _checked(answer: httpx2.Response, content: bytes | None = None) -> httpx2.Response:
    """``answer`` if it is a good one; ``content`` is its body where the answer was not asked to keep it."""
    if answer.status_code == _OK:
        return answer
    ours, content = True, answer.content if content is None else content
    try:
        told = msgspec.json.decode(content, type=_ErrorAnswer)
        whole = msgspec.json.decode(content, type=dict[str, Any])
    except _NO_JSON:
        ours, whole = False, None
        told = _ErrorAnswer(
            code=f"HTTP{answer.status_code}",
            message=f"{answer.url.host} answered {answer.status_code} {answer.reason_phrase}".rstrip(),
            request_id=answer.headers.get("x-request-id", ""),
        )
    pause = answer.headers.get("retry-after", "")
    raise Refused(
        told.code,
        told.message,
        request_id=told.request_id,
        status=answer.status_code,
        # what the API itself refuses it has not done; a gateway that gave up does not know
        doubtful=answer.status_code >= _SERVER_ERROR and not ours,
        retry_after=float(pause) if pause.isascii() and pause.isdigit() else None,
        answer=whole,
    )


@contextlib.contextmanager
def _translated(url: str) -> Generator[None]:
    """The HTTP library's failures in this module's words; only scheme, host and port of ``url`` are told."""
    place = _origin(url)
    try:
        yield
    except httpx2.TimeoutException as error:
        told = f"{place} did not answer in time ({type(error).__name__})"
        raise TimedOut("Timeout", told, doubtful=not isinstance(error, _UNSENT)) from error
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, UnicodeError) as error:
        raise Unreachable("InvalidURL", f"{place} cannot be asked: {error}") from error
    except httpx2.HTTPError as error:
        told = f"{place} cannot be reached: {error or type(error).__name__}"
        raise Unreachable("NetworkError", told, doubtful=not isinstance(error, _UNSENT)) from error


def _events(lines: Iterable[str]) -> Iterator[Event]:
    """https://html.spec.whatwg.org/multipage/server-sent-events.html, as far as kf2v goes: one ``data`` per event."""
    members: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            members[name] = value.removeprefix(" ")
        elif "data" in members:
            try:
                told = msgspec.json.decode(members["data"], type=dict[str, Any])
            except msgspec.MsgspecError as error:
                raise Garbled("UnexpectedAnswer", f"an event that is no JSON object: {error}") from error
            yield Event(kind=members.get("event", "message"), id=members.get("id", ""), told=told)
            members = {}


def _origin(url: str) -> str:
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    except ValueError:
        return "the address"


def _endless(pace: Iterable[float]) -> Iterator[float]:
    last = 1.0
    for last in pace:
        yield last
    while True:
        yield last


def _present(values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _segment(task_id: str) -> str:
    """One path segment, whatever was typed."""
    return quote(task_id, safe="") or "-"
