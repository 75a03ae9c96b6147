"""The header by which callers wish for inspections: ``X-DashScope-DataInspection``.

The documents show ``{"input":"cip","output":"cip"}``; the SDKs' ``security_check`` sends ``enable``.
"""

from typing import cast

import msgspec

from kf2v.errors import InvalidParameter
from kf2v.tasks.job import Side
from kf2v.wire.v1.fields import shown

SIDES: tuple[Side, ...] = ("input", "output")
#: JSON of a header that means something has at most as many characters
LONGEST = 256
_WISHED, _NOT_WISHED = "cip", "disable"


def parse(header: str | None) -> tuple[Side, ...]:
    """Which sides shall be inspected whatever is usual; none of them is switched off by it. Raises InvalidParameter."""
    said = (header or "").strip()
    match said.lower():
        case "enable":
            return SIDES
        case "" | "disable":
            return ()
        case _:
            members = _members(said)
    wishes = [(name.lower(), _folded(value)) for name, value in members.items()]
    for name, value in wishes:
        if name in SIDES and value not in (_WISHED, _NOT_WISHED, None):
            raise _misfit(said)
    return tuple(side for side in SIDES if (side, _WISHED) in wishes)


def _folded(value: object) -> object:
    """Case means as little here as in ``enable``: a wish in capitals should not be one that nobody hears."""
    return value.lower() if isinstance(value, str) else value


def _members(said: str) -> dict[str, object]:
    try:
        found: object = msgspec.json.decode(said) if len(said) <= LONGEST else None
    except msgspec.DecodeError as error:
        raise _misfit(said) from error
    if not isinstance(found, dict):
        raise _misfit(said)
    return cast("dict[str, object]", found)


def _misfit(said: str) -> InvalidParameter:
    return InvalidParameter(
        'X-DashScope-DataInspection should be enable, disable or an object in JSON such as {"input":"cip",'
        f'"output":"cip"}}, each of them cip or disable, but got {shown(said)}.'
    )
