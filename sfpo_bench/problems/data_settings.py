"""The setting of where problem sets come from, apart from what loads them: the learner's settings have it too."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sfpo_bench.core.options import option

VARIABLE = "SFPO_BENCH_DATA"


@dataclass
class DataSettings:
    """The source of problem sets."""

    dir: str = option("", "folder with NAME.jsonl files (also below eval/ or train/); empty: $SFPO_BENCH_DATA, or hub")
    unverified: bool = option(False, "use a set even if its row count or content hash differs from its card")

    @property
    def folder(self) -> Path | None:
        """The local folder, or None for the hub."""
        place = self.dir or os.environ.get(VARIABLE, "")
        return Path(os.path.expanduser(place)) if place else None
