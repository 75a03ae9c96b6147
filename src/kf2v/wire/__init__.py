"""The API's own words, and what every version of it speaks inwards.

Pure: bytes and plain values in, plain values and bytes out. Knows no socket, no store and no engine.
"""

from dataclasses import dataclass

from kf2v.errors import InvalidParameter


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What comes around a submission, as sent."""

    #: drawn by the server
    request_id: str
    #: see ``store.Once``
    idempotency_key: str | None = None
    #: of what was submitted, to tell it from others under that key; empty without one
    digest: str = ""
    #: which of the submissions of one request, from 1; None of a request that makes one
    part: int | None = None
    #: ``X-DashScope-Wait-Timeout``: for how long it may be kept waiting rather than refused
    wait: str | None = None
    #: a URL that wants to hear of the task's end
    callback: str | None = None
    #: which inspections of contents are wished for, as JSON
    inspection: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What a caller asks for, read but not yet judged against models and rights."""

    model: str
    #: as sent: an http(s), ``oss://`` or ``data:`` URL; empty when ``flaw`` says so
    first_frame: str
    last_frame: str
    #: cut to the API's length already
    prompt: str
    negative_prompt: str
    #: None: the model's default
    resolution: str | None
    #: None: draw one
    seed: int | None
    prompt_extend: bool
    watermark: bool
    #: the first mistake in the fields, if any; whether it is told now or in the task is not decided here
    flaw: InvalidParameter | None = None
