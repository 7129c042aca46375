"""The record of a study's finished parts: inputs, result and hashes of files of each.

    parts/evaluate.json    {"settings": …, "upstream": …, "result": …, "files": {"comparison/runs/…": sha256, …}}

A part is skipped if its record has the same settings and upstream results and its files are unchanged. Different
settings are refused with the difference, before any work is done. Different upstream results (a previous part was
repeated with another result) cause the part to be repeated.
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
TUNE, COMPARE = "tune", "compare"  # the parts of every study
CODE_VERSION = "code_version"  # the only setting that describes how a part was made, not what it is


@dataclass(frozen=True, slots=True)
class Done:
    """The result of a part as plain values, and the files that must stay unchanged."""

    result: Mapping[str, object]
    files: Sequence[Path] = ()


@dataclass(frozen=True, slots=True)
class Ledger:
    """The records of one study. `say` reports what is kept and what is done; `names` are the parts in order.

    With `any_code`, parts made by another version of the code are kept."""

    folder: Path
    names: Sequence[str]
    say: Callable[[str], None]
    any_code: bool = False

    def check(self, settings: Mapping[str, Settings], redo: Iterable[str] = ()) -> None:
        """Raise `ComparisonChanged` if a part was done with other settings, unless it is in `redo`."""
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
        """Return the record of `part`: the stored one if it is still valid, else that of doing the part now."""
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
        """Return the record of a part, or None if it is not finished; raises `BenchError` for an invalid file."""
        return StudyFolder(self.folder).part(part)

    def _after_compare(self) -> str:
        last = self.names[self.names.index(COMPARE) + 1 :] if COMPARE in self.names else ()
        return "".join(f"{' or ' if part == last[-1] else ', '}{part}" for part in last)

    def _made_with(self, settings: Settings) -> Identity:
        return Identity.of(settings).without([CODE_VERSION] if self.any_code else [])

    def _changed(self, record: PartRecord) -> str:
        """Return the first missing or changed file of a record, or an empty string."""
        for name, digest in record.files.items():
            file = self.folder / name
            if not file.is_file() or _sha256(file) != digest:
                return name
        return ""


def _plain(values: Mapping[str, object]) -> dict[str, object]:
    """Return the values in the form that JSON returns."""
    return {key: to_plain(value) for key, value in values.items()}


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
