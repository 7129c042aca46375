"""Makes the runs that the notebooks carry: a comparison, a sweep and a study's scores, packed small.

sfpo-bench study arithmetic                        minutes on two cores
sfpo-bench study smollm2_addition data.dir=DATA    an hour and more
sfpo-bench sweep k_alpha_lr                        64 trials
python notebooks/bundle.py comparison results/studies/arithmetic/comparison notebooks/data/arithmetic
python notebooks/bundle.py scores results/studies/arithmetic/scores.csv notebooks/data/arithmetic/scores.csv
(the same of smollm2_addition)
python notebooks/bundle.py sweep results/sweeps/k_alpha_lr notebooks/data/k_alpha_lr
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from sfpo_bench.reports.packed_runs import pack_runs

PLANS = {"comparison": ("comparison.json",), "sweep": ("sweep.json", "trials.json")}
RUNS = {"comparison": "runs/*/seed-*", "sweep": "trials/*/seed-*"}


def bundle(kind: str, source: Path, out: Path) -> None:
    """Pack the runs of a comparison or a sweep into `out`; of a comparison's first seed some responses too."""
    places = [path.relative_to(source).as_posix() for path in sorted(source.glob(RUNS[kind]))]
    first = min((place.rsplit("/", 1)[1] for place in places), default="")
    sampled = [place for place in places if place.endswith(f"/{first}")] if kind == "comparison" else []
    out.mkdir(parents=True, exist_ok=True)
    for name in PLANS[kind]:
        shutil.copyfile(source / name, out / name)
    pack_runs(source, places, out, sampled)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=[*RUNS, "scores"])
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args(arguments)
    if given.kind == "scores":
        shutil.copyfile(given.source, given.out)
    else:
        bundle(given.kind, given.source, given.out)
    files = [given.out] if given.out.is_file() else sorted(given.out.iterdir())
    print("\n".join(f"{path}: {path.stat().st_size:,} bytes" for path in files))


if __name__ == "__main__":
    main()
