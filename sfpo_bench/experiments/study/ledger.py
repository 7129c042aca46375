"""What a study has done: one record per part, with the inputs it was made from, its result, the hashes of its files.

    parts/evaluate.json    {"settings": …, "upstream": …, "result": …, "files": {"comparison/runs/…": sha256, …}}

A part whose record has the same settings and the same upstream results, and whose files are as they were, is not done
again. Other settings are refused with the difference, at once and before anything is done. Other upstream results (a
part before it had to be done again and came out otherwise) make the part be done again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sfpo_bench.core.errors import ComparisonChanged
from sfpo_bench.results.stored_files import reading, write_atomically
from sfpo_bench.training.run import differences

Settings = Mapping[str, object]
CODE_VERSION = "code_version"  # the one setting that says what made a part, not what the part is


@dataclass(frozen=True, slots=True)
class Done:
    """What a part found, as plain values, and the files that must stay as they are."""

    result: Mapping[str, object]
    files: Sequence[Path] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """One part that is done. `settings` and `upstream` are what its result follows from."""

    settings: Settings
    upstream: str
    result: Mapping[str, object]
    files: Mapping[str, str]

    @property
    def sha256(self) -> str:
        """Names the result: what the next part is made from."""
        return hashlib.sha256(json.dumps([self.result, self.files], sort_keys=True).encode()).hexdigest()


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
                for line in differences(self._compared(old.settings), self._compared(plain(settings[part]))):
                    changed.setdefault(line, []).append(part)
        if changed:
            found = "; ".join(f"{line} ({', '.join(parts)})" for line, parts in changed.items())
            raise ComparisonChanged(
                f"{self.folder} holds parts that were done with other settings: {found}. Undo the change to continue, "
                "give this study another name (name=...), or have the last parts done again: study.redo=compare "
                "(seeds alone may be other ones), choose, evaluate or score"
            )

    def once(
        self, part: str, settings: Settings, upstream: Sequence[Record], do: Callable[[], Done], *, redo: bool = False
    ) -> Record:
        """The record of `part`: the one that is there when it still holds, else that of doing it now."""
        place = f"[{self.names.index(part) + 1}/{len(self.names)}] {part}"
        made_from = hashlib.sha256(" ".join(record.sha256 for record in upstream).encode()).hexdigest()
        old = self.read(part)
        same = old is not None and self._compared(old.settings) == self._compared(plain(settings))
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
        record = Record(plain(settings), made_from, plain(done.result), hashes)
        self.write(part, record)
        return record

    def read(self, part: str) -> Record | None:
        """The record of a part, if it is done; raises `BenchError` for a file that is no record."""
        file = self._file(part)
        if not file.exists():
            return None
        with reading(file, "remove it to do the part again"):
            record = Record(**json.loads(file.read_text(encoding="utf-8")))
            assert all(isinstance(part, dict) for part in (record.settings, record.result, record.files))
            return record

    def write(self, part: str, record: Record) -> None:
        """Remember that a part is done."""
        write_atomically(self._file(part), json.dumps(asdict(record), indent=1, ensure_ascii=False))

    def _compared(self, settings: Settings) -> Settings:
        return {key: value for key, value in settings.items() if not (self.any_code and key == CODE_VERSION)}

    def _changed(self, record: Record) -> str:
        """The first file that is gone or other than it was; empty when there is none."""
        for name, digest in record.files.items():
            file = self.folder / name
            if not file.is_file() or _sha256(file) != digest:
                return name
        return ""

    def _file(self, part: str) -> Path:
        return self.folder / "parts" / f"{part}.json"


def plain(values: Mapping[str, object]) -> dict[str, object]:
    """The values as they come back from JSON."""
    made: dict[str, object] = json.loads(json.dumps(values, ensure_ascii=False))
    return made


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
