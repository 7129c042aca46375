"""`sfpo-bench overlap`: finds benchmark problems that occur in training sets."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from omegaconf import DictConfig

from sfpo_bench.cli.hydra_store import verb_settings
from sfpo_bench.cli.progress import say, say_beside
from sfpo_bench.cli.settings import OverlapSettings
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.output_names import is_written_through, write_through
from sfpo_bench.problems.sets import Overlap, known_sets, load_problem_set, overlaps
from sfpo_bench.results.stored_files import write_atomically


def act(node: DictConfig) -> None:
    settings = verb_settings(node, OverlapSettings)
    out = Path(settings.out) if settings.out else None
    if out is not None and out.is_dir():
        raise ConfigError(f"out = {settings.out!r} is a folder; expected the name of a JSON file")
    benchmarks = settings.benchmarks or known_sets("benchmarks")
    training = settings.training or known_sets("training_sets")
    sets = {name: load_problem_set(name, settings.data).problems for name in dict.fromkeys((*benchmarks, *training))}
    found = [
        (benchmark, train, one)
        for benchmark in benchmarks
        for train in training
        if benchmark != train
        for one in overlaps(sets[benchmark], sets[train])
    ]
    text = _table({name: len(sets[name]) for name in benchmarks}, found)
    if out is None:
        say(text)
        return
    _write(out, found)
    say_beside(out, f"{text}\nwrote {len(found)} pairs to {out}")


def _write(out: Path, found: list[tuple[str, str, Overlap]]) -> None:
    rows = [{**asdict(one), "same_answer": one.same_answer} for _, _, one in found]
    content = json.dumps(rows, indent=1, ensure_ascii=False)
    if is_written_through(out):
        write_through(out, content + "\n")
    else:
        write_atomically(out.resolve(), content)


def _table(sizes: dict[str, int], found: list[tuple[str, str, Overlap]]) -> str:
    problems = {(benchmark, train, one.evaluation_id) for benchmark, train, one in found}
    counts = Counter((benchmark, train) for benchmark, train, _ in problems)
    other = Counter((benchmark, train) for benchmark, train, one in found if not one.same_answer)
    pairs = Counter((benchmark, train) for benchmark, train, _ in found)
    lines = [f"{'benchmark':18} {'training set':20} {'problems':>12} {'pairs':>6} {'other answer':>13}"]
    for benchmark, train in pairs:
        share = f"{counts[benchmark, train]} of {sizes[benchmark]}"
        counted = f"{pairs[benchmark, train]:>6} {other[benchmark, train]:>13}"
        lines.append(f"{benchmark:18} {train:20} {share:>12} {counted}")
    clean = [name for name in sizes if name not in {benchmark for benchmark, _ in pairs}]
    return "\n".join([*lines, f"in none of the training sets: {', '.join(clean) or '(no benchmark)'}"])
