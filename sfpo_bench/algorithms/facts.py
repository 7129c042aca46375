"""What is said of every method beside its settings: where it comes from, how sure that is, what it costs."""

from __future__ import annotations

from typing import ClassVar


class Facts:
    """Facts of a method, as plain class attributes, for tables of methods.

    `trust` is how well the formula is known: `V`, read in the authors' code, their text or a major framework's code;
    `T`, stated by independent third parties; `?`, a part is our reading, and `unverified` says which. `not_plain`, of
    objectives and what stands in them, says why the gradient where every ratio is one is not A grad log pi.
    """

    paper: ClassVar[str] = ""
    trust: ClassVar[str] = "V"
    changes: ClassVar[str] = ""
    extra_passes: ClassVar[str] = "none"
    extra_memory: ClassVar[str] = "none"
    unverified: ClassVar[str] = ""
    not_plain: ClassVar[str] = ""
