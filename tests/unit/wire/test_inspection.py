"""The header by which callers wish for inspections."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kf2v.errors import InvalidParameter
from kf2v.wire.v1 import inspection


@pytest.mark.parametrize(
    ("header", "sides"),
    [
        (None, ()),
        ("", ()),
        ('{"input":"cip","output":"cip"}', ("input", "output")),
        ('{"input": "cip"}', ("input",)),
        ('{"output":"cip","input":"disable"}', ("output",)),
        ('{"input":"disable","output":"disable"}', ()),
        ('{"input":null}', ()),
        ('{"Input":"CIP","OUTPUT":"Cip"}', ("input", "output")),
        ('{"input":"Disable","output":"cip"}', ("output",)),
        ('{"input":"cip","INPUT":"disable"}', ("input",)),
        ("{}", ()),
        ('{"input":"cip","another":"thing"}', ("input",)),
        ("enable", ("input", "output")),
        (" Enable ", ("input", "output")),
        ("disable", ()),
    ],
)
def test_a_wish_is_read(header: str | None, sides: Any) -> None:
    assert inspection.parse(header) == sides


@pytest.mark.parametrize(
    "header",
    [
        "yes",
        "{",
        '{"input":"strict"}',
        '{"input":true}',
        '{"Input":"strict"}',
        '{"input":["cip"]}',
        '{"output":{}}',
        '["input"]',
        '"cip"',
        "null",
        '{"input":"cip",' + " " * 300 + "}",
        "[" * 200,
    ],
)
def test_what_is_no_wish_is_refused_with_what_would_be_one(header: str) -> None:
    with pytest.raises(InvalidParameter, match=r'X-DashScope-DataInspection .*\{"input":"cip","output":"cip"\}'):
        inspection.parse(header)


@given(st.text(max_size=300))
def test_anything_is_either_a_wish_or_refused(header: str) -> None:
    try:
        assert set(inspection.parse(header)) <= {"input", "output"}
    except InvalidParameter as error:
        assert len(error.message) < 400
