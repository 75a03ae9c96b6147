"""Whatever is put into a create body, the answer is a task or a flat refusal: never a 5xx, never a traceback.

That no traceback is written is checked where the server is stopped (``service.serving``).
"""

import http.client
import json
import string
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from formats import is_uuid
from service import CREATE, Reply, Service

FRAME = "https://example.com/frame.png"
MODELS = {
    "wan2.2-kf2v-flash": ("480P", "720P", "1080P"),
    "wan2.1-kf2v-plus": ("720P",),
    "wanx2.1-kf2v-plus": ("720P",),
}

bounded = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

#: any text, lone surrogates and NUL included
texts = st.text(st.characters(codec=None), max_size=40) | st.sampled_from(
    [
        "\x00",
        "\ud800",
        "\udfff\ud800",
        "‮",
        "👨‍👩‍👧‍👦" * 900,
        "a" * 2000,
        "首" * 801,
        "é" * 500,
        "480p",
        " 480P",
        "http://",
        "http://[",
        "http://[::1",
        "http://x:99999999/",
        "http://\x00/",
        "https://ünïcode.例え/😀?#",
        "http://user:pass@127.0.0.1/x",
        "http://2130706433/",
        "//example.com/x",
        "oss://",
        "oss://\ud800",
        "oss://../../etc/passwd",
        "data:",
        "data:image/png;base64,",
        "data:image/png;base64,====",
        "data:image/png;base64,AAAA",
        "data:text/html,<b>",
        "data:image/png;base64,\ud800",
        "file:///etc/passwd",
        "'; DROP TABLE tasks; --",
    ]
)
numbers = (
    st.integers()
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.sampled_from([2**31, 2**31 - 1, -1, 2**63, 2**64, -(2**63) - 1, 10**400, 1e308, 5.0, -0.0, 5.5])
)
leaves = st.none() | st.booleans() | numbers | texts
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
INPUT = ("prompt", "negative_prompt", "first_frame_url", "last_frame_url", "head_frame", "tail_frame")
PARAMETERS = ("resolution", "duration", "prompt_extend", "watermark", "seed", "size", "with_audio")


@pytest.fixture(scope="module")
def line(idle_service: Service) -> Iterator[http.client.HTTPConnection]:
    """One connection for all of it: thousands of new ones would measure the kernel."""
    with closing(http.client.HTTPConnection(*idle_service.address, timeout=60)) as connection:
        yield connection


def send(line: http.client.HTTPConnection, service: Service, body: bytes) -> Reply:
    headers = {
        "Authorization": f"Bearer {service.api_key}",
        "Content-Type": "application/json",
        "X-DashScope-Async": "enable",
    }
    line.request("POST", CREATE, body=body, headers=headers)
    answer = line.getresponse()
    return Reply(
        status=answer.status,
        headers={name.lower(): value for name, value in answer.getheaders()},
        body=answer.read(),
    )


def assert_defined(reply: Reply) -> None:
    """A task, or a refusal in the one shape."""
    assert reply.status in {200, 400}, (reply.status, reply.body[:500])
    assert reply.headers["content-type"] == "application/json"
    told = reply.json
    assert is_uuid(told["request_id"])
    assert reply.headers["x-request-id"] == told["request_id"]
    if reply.status == 200:
        assert set(told) == {"request_id", "output"}
        assert told["output"]["task_status"] == "PENDING"
    else:
        assert set(told) == {"request_id", "code", "message"}
        assert told["code"] == "InvalidParameter"
        assert 0 < len(told["message"]) < 1000


@bounded
@given(
    model=st.sampled_from(sorted(MODELS)) | values,
    given_input=st.fixed_dictionaries({}, optional={name: st.just(FRAME) | values for name in INPUT}) | values,
    parameters=st.fixed_dictionaries({}, optional=dict.fromkeys(PARAMETERS, values)) | values,
    more=st.dictionaries(texts, values, max_size=2),
)
def test_any_value_in_any_field_gives_a_task_or_a_refusal(
    line: http.client.HTTPConnection, idle_service: Service, model: Any, given_input: Any, parameters: Any, more: Any
) -> None:
    body = {**more, "model": model, "input": given_input, "parameters": parameters}
    assert_defined(send(line, idle_service, json.dumps(body).encode()))


@bounded
@given(
    field=st.sampled_from([("input", name) for name in INPUT] + [("parameters", name) for name in PARAMETERS]),
    value=values,
)
@example(field=("parameters", "seed"), value=float("nan"))
@example(field=("parameters", "seed"), value=10**400)
@example(field=("parameters", "seed"), value=1e308)
@example(field=("input", "prompt"), value="\ud800")
@example(field=("input", "prompt"), value="\x00")
@example(field=("input", "first_frame_url"), value="oss://\ud800")
def test_one_odd_value_in_a_good_body_is_taken_or_named(
    line: http.client.HTTPConnection, idle_service: Service, field: tuple[str, str], value: Any
) -> None:
    group, name = field
    body: dict[str, Any] = {
        "model": "wan2.2-kf2v-flash",
        "input": {"first_frame_url": FRAME, "last_frame_url": FRAME},
        "parameters": {},
    }
    body[group][name] = value
    reply = send(line, idle_service, json.dumps(body).encode())
    assert_defined(reply)
    message = reply.json.get("message", name)
    assert name in message or message.startswith("Required body invalid"), message
    if reply.status == 200:
        task = idle_service.task(reply.json["output"]["task_id"])
        assert task["output"]["task_status"] == "PENDING"


@bounded
@given(
    model=st.sampled_from(sorted(MODELS)),
    prompt=st.none() | st.text(max_size=900),
    negative_prompt=st.none() | st.text(max_size=600),
    seed=st.none() | st.integers(0, 2147483647),
    prompt_extend=st.none() | st.booleans(),
    watermark=st.none() | st.booleans(),
    place=st.text(string.ascii_letters + string.digits + "-_./~%20?=&", max_size=60),
    data=st.data(),
)
def test_every_body_within_the_reference_becomes_a_task(
    line: http.client.HTTPConnection,
    idle_service: Service,
    model: str,
    prompt: str | None,
    negative_prompt: str | None,
    seed: int | None,
    prompt_extend: bool | None,
    watermark: bool | None,
    place: str,
    data: st.DataObject,
) -> None:
    body = {
        "model": model,
        "input": {
            "prompt": prompt,
            "negative_prompt": negative_prompt,
            "first_frame_url": f"https://example.com/{place}",
            "last_frame_url": f"http://example.org:8080/{place}",
        },
        "parameters": {
            "resolution": data.draw(st.none() | st.sampled_from(MODELS[model]), label="resolution"),
            "duration": data.draw(st.sampled_from([None, 5]), label="duration"),
            "seed": seed,
            "prompt_extend": prompt_extend,
            "watermark": watermark,
        },
    }
    reply = send(line, idle_service, json.dumps(body, ensure_ascii=data.draw(st.booleans(), label="escaped")).encode())
    assert reply.status == 200, reply.body
    assert_defined(reply)


@bounded
@given(body=st.binary(max_size=200))
def test_any_bytes_are_refused(line: http.client.HTTPConnection, idle_service: Service, body: bytes) -> None:
    reply = send(line, idle_service, body)
    assert reply.status == 400
    assert_defined(reply)


DEEP = 200_000
GOOD = f'"input": {{"first_frame_url": "{FRAME}", "last_frame_url": "{FRAME}"}}'


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param("[" * DEEP, 400, id="open brackets"),
        pytest.param("[" * DEEP + "]" * DEEP, 400, id="nested lists"),
        pytest.param('{"a":' * DEEP + "1" + "}" * DEEP, 400, id="nested objects"),
        pytest.param(
            f'{{"model": "wan2.2-kf2v-flash", {GOOD}, "more": {"[" * DEEP + "]" * DEEP}}}', 400, id="deep extra"
        ),
        pytest.param(f'{{"model": "wan2.2-kf2v-flash", {GOOD}, "more": {"[" * 100 + "]" * 100}}}', 200, id="shallow"),
        pytest.param(f'{{"model": "none", "model": "wan2.2-kf2v-flash", {GOOD}}}', 200, id="the last of two names"),
        pytest.param(f'{{"model": "wan2.2-kf2v-flash", "model": "none", {GOOD}}}', 400, id="the last of two wrong"),
        pytest.param(f'{{"model": "wan2.2-kf2v-flash", {GOOD}, "parameters": {{"seed": NaN}}}}', 400, id="NaN"),
        pytest.param(f'{{"model": "wan2.2-kf2v-flash", {GOOD}, "parameters": {{"seed": -Infinity}}}}', 400, id="inf"),
        pytest.param(f'{{"model": "wan2.2-kf2v-flash", {GOOD}, "parameters": {{"seed": 1e999}}}}', 400, id="1e999"),
        pytest.param(f'{{"model": "wan2.2-kf2v-flash", {GOOD}, "parameters": {{"seed": {"9" * 9000}}}}}', 400, id="9s"),
        pytest.param(f'{{"model": "wan2.2-kf2v-flash", {GOOD}, "parameters": {{"seed": 5.0}}}}', 200, id="whole float"),
        pytest.param(f'{{"model": "wan2.2-kf2v-flash", {GOOD}, "more": {"9" * 9000}}}', 400, id="a number without end"),
        pytest.param('{"model": "wan2.2-kf2v-flash", "input": {"prompt": "\\ud800"}}', 400, id="escaped surrogate"),
        pytest.param("\ufeff{}", 400, id="byte order mark"),
    ],
)
def test_json_at_its_edges_is_taken_or_refused(
    line: http.client.HTTPConnection, idle_service: Service, body: str, status: int
) -> None:
    reply = send(line, idle_service, body.encode())
    assert_defined(reply)
    assert reply.status == status, reply.body


@bounded
@given(
    values=st.dictionaries(
        st.sampled_from(["Authorization", "X-DashScope-Async", "X-DashScope-WorkSpace", "Content-Type", "X-Odd"]),
        st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40).map(
            str.strip
        ),
    )
)
def test_any_headers_get_a_defined_answer(
    line: http.client.HTTPConnection, idle_service: Service, values: dict[str, str]
) -> None:
    headers = {name: value.encode("latin-1") for name, value in values.items()}
    line.request("POST", CREATE, body=b"{}", headers=headers)
    answer = line.getresponse()
    told = json.loads(answer.read())
    assert answer.status in {400, 401, 403}
    assert set(told) == {"code", "message", "request_id"}
    assert answer.getheader("X-Request-Id") == told["request_id"]
