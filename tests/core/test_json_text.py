"""JSON of users: what Python reads beyond JSON is refused with what was found."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfpo_bench.core.json_text import strict_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_json_is_read_as_it_was_written(value: object) -> None:
    assert strict_json(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"answer": NaN}', "NaN is no JSON"),
        ("[-Infinity]", "-Infinity is no JSON"),
        ("1e400", "the number 1e400 is too large"),
        ('[{"a": 1, "b": 2, "a": 3}]', "the name 'a' is there twice"),
    ],
)
def test_what_json_does_not_have_is_refused(text: str, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        strict_json(text)
