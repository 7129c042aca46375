"""The verdict of plain math-verify, for comparing graders. Never part of a grade."""

from __future__ import annotations


def math_verify_accepts(gold: str, response: str) -> bool:
    """True when math-verify, used as its documentation shows, calls the response right. May take for ever."""
    from math_verify import parse, verify  # takes a second to import, and only this needs it

    return bool(verify(parse(gold, parsing_timeout=None), parse(response, parsing_timeout=None), timeout_seconds=None))
