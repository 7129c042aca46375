"""What a study has done: one record per part, with the inputs it was made from, its result, the hashes of its files.

    parts/evaluate.json    {"settings": …, "upstream": …, "result": …, "files": {"comparison/runs/…": sha256, …}}

A part whose record has the same settings and the same upstream results, and whose files are as they were, is not done
again. Other settings are refused with the difference, at once and before anything is done. Other upstream results (a
part before it had to be done again and came out otherwise) make the part be done again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sfpo_bench.results.codec import to_plain
from sfpo_bench.results.identity import Identity, refuse
from sfpo_bench.results.study import PartRecord, StudyFolder

Settings = Mapping[str, object]
TUNE, COMPARE = "tune", "compare"  # the parts of every study, whatever its design
CODE_VERSION = "code_version"  # the one setting that says what made a part, not what the part is


@dataclass(frozen=True, slots=True)
class Done:
    """What a part found, as plain values, and the files that must stay as they are."""

    result: Mapping[str, object]
    files: Sequence[Path] = ()


@dataclass(frozen=True, slots=True)
class Ledger:
    """The records of one study. `say` is told what is kept and what is done; `names` are the parts in their order. With
    `any_code` a part that another version of the code made is kept all the same."""

    folder: Path
    names: Sequence[str]
    say: Callable[[str], None]
    any_code: bool = False

    def check(self, settings: Mapping[str, Settings], redo: Iterable[str] = ()) -> None:
        """Raise `ComparisonChanged` when a part was done with other settings, unless it is among `redo`."""
        changed: dict[str, list[str]] = {}
        for part in self.names:
            old = self.read(part)
            if old is not None and part not in set(redo):
                for line in self._made_with(old.settings).differences(self._made_with(settings[part])):
                    changed.setdefault(line, []).append(part)
        refuse(
            f"{self.folder} holds parts that were done with other settings",
            [f"{line} ({', '.join(parts)})" for line, parts in changed.items()],
            "Undo the change to continue, give this study another name (name=...), or have the last parts done again: "
            f"study.redo=compare (seeds alone may be other ones){self._after_compare()}",
        )

    def once(
        self,
        part: str,
        settings: Settings,
        upstream: Sequence[PartRecord],
        do: Callable[[], Done],
        *,
        redo: bool = False,
    ) -> PartRecord:
        """The record of `part`: the one that is there when it still holds, else that of doing it now."""
        place = f"[{self.names.index(part) + 1}/{len(self.names)}] {part}"
        made_from = hashlib.sha256(" ".join(record.sha256 for record in upstream).encode()).hexdigest()
        old = self.read(part)
        same = old is not None and self._made_with(old.settings) == self._made_with(settings)
        if old is not None and same and not redo and old.upstream == made_from:
            changed = self._changed(old)
            if not changed:
                self.say(f"{place}: done before")
                return old
            self.say(f"{place}: again, because {changed} is not as this part left it")
        else:
            self.say(place)
        done = do()
        hashes = {file.relative_to(self.folder).as_posix(): _sha256(file) for file in done.files}
        record = PartRecord(_plain(settings), made_from, _plain(done.result), hashes)
        StudyFolder(self.folder).write_part(part, record)
        return record

    def read(self, part: str) -> PartRecord | None:
        """The record of a part, if it is done; raises `BenchError` for a file that is no record."""
        return StudyFolder(self.folder).part(part)

    def _after_compare(self) -> str:
        last = self.names[self.names.index(COMPARE) + 1 :] if COMPARE in self.names else ()
        return "".join(f"{' or ' if part == last[-1] else ', '}{part}" for part in last)

    def _made_with(self, settings: Settings) -> Identity:
        return Identity.of(settings).without([CODE_VERSION] if self.any_code else [])

    def _changed(self, record: PartRecord) -> str:
        """The first file that is gone or other than it was; empty when there is none."""
        for name, digest in record.files.items():
            file = self.folder / name
            if not file.is_file() or _sha256(file) != digest:
                return name
        return ""


def _plain(values: Mapping[str, object]) -> dict[str, object]:
    """The values as they come back from JSON."""
    return {key: to_plain(value) for key, value in values.items()}


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
