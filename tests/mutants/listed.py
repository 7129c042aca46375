"""The listed mutations: each one a wrong version of a line that carries a number of the reports.

`mutations.txt`: a line `@ module: test files` opens a section, a line `right ==> wrong` is a mutation of that module,
`\\n` stands for a line break, and `  ## reason` behind it says why no test can notice. What begins with # is a comment.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_name("mutations.txt")
_ARROW, _REASON = " ==> ", "  ## "


@dataclass(frozen=True, slots=True)
class Mutation:
    """`right` in `sfpo_bench/<module>` becomes `wrong`; `tests` are the files to notice it. `equivalent` says why the
    program is the same one all the same; empty for a mutation that a test must notice."""

    module: str
    tests: tuple[str, ...]
    right: str
    wrong: str
    equivalent: str

    @property
    def name(self) -> str:
        return f"{self.module}: {self.right} ==> {self.wrong}".replace("\n", "\\n")

    def source(self, root: Path) -> str:
        """The module as it stands below `root`."""
        return (root / "sfpo_bench" / self.module).read_text(encoding="utf-8")

    def applied(self, source: str) -> str:
        """The mutated source; raises `ValueError` where `right` does not stand in it exactly once, or where the program
        would stay what it is."""
        found = source.count(self.right)
        if found != 1:
            raise ValueError(
                f"{self.name}: the text on the left stands {found} times in sfpo_bench/{self.module}, expected once; "
                f"renew this line of {LIST.name}, or take it out with what it was about"
            )
        changed = source.replace(self.right, self.wrong)
        if ast.dump(ast.parse(changed)) == _program(source):
            raise ValueError(f"{self.name}: changes nothing of the program; expected a wrong version of it")
        return changed


@lru_cache(maxsize=128)
def _program(source: str) -> str:
    return ast.dump(ast.parse(source))


def listed() -> list[Mutation]:
    """The mutations of the list, in its order; raises `ValueError` for a line that is none and for one that is there
    twice."""
    found: list[Mutation] = []
    module, tests = "", tuple[str, ...]()
    for number, line in enumerate(LIST.read_text(encoding="utf-8").splitlines(), start=1):
        if not line or line.startswith("#"):
            continue
        if line.startswith("@ "):
            module, _, files = line[2:].partition(":")
            tests = tuple(files.split())
        elif module and tests and _ARROW in line:
            body, _, reason = line.partition(_REASON)
            right, wrong = (part.replace("\\n", "\n") for part in body.split(_ARROW))
            found.append(Mutation(module, tests, right, wrong, reason))
        else:
            raise ValueError(f"{LIST.name}, line {number}: {line!r} is neither a section nor `right ==> wrong`")
    if len({one.name for one in found}) < len(found):
        raise ValueError(f"{LIST.name}: a mutation is listed twice")
    return found
