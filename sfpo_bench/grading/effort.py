"""How much work one verdict may take: counted in operations, so that a verdict does not depend on the machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

OPERATIONS = 200_000  # of one verdict: well under a second


class TooMuch(ArithmeticError):
    """The verdict would take more operations than it may; what is not proven by then is not the same."""


_left: ContextVar[list[int] | None] = ContextVar("operations left", default=None)


@contextmanager
def limited(operations: int = OPERATIONS) -> Iterator[None]:
    """Within this, `spend` raises TooMuch after so many operations. Without it nothing is counted."""
    token = _left.set([operations])
    try:
        yield
    finally:
        _left.reset(token)


def spend(operations: int = 1) -> None:
    """Count operations. Raises TooMuch when none are left."""
    left = _left.get()
    if left is not None:
        left[0] -= operations
        if left[0] < 0:
            raise TooMuch
