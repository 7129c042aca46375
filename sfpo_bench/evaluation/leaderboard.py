"""Arms sorted by score, with groups of arms that paired tests do not tell apart.

An order by means alone ranks noise. Every pair of arms is tested with a paired permutation test of the differences on
the problems that all arms answered. The p-values of all pairs are adjusted by Holm's method. Arms share a letter if no
test told them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from sfpo_bench.evaluation.graded_benchmark import METRICS
from sfpo_bench.evaluation.scores import (
    Score,
    ScoredArm,
    answers_behind,
    difference_of,
    matrix,
    score_of,
    shared_keys,
)
from sfpo_bench.reports.document import Block, heading, paragraph, table
from sfpo_bench.reports.html import simple_page
from sfpo_bench.reports.latex import Columns, tables_tex
from sfpo_bench.reports.markdown import markdown
from sfpo_bench.results.stored_files import write_atomically
from sfpo_bench.statistics import CONFIDENCE, holm_adjusted
from sfpo_bench.statistics.crossed import Scores
from sfpo_bench.statistics.permutation import RUNS_ONLY
from sfpo_bench.statistics.tie_groups import letters, tie_groups


@dataclass(frozen=True, slots=True)
class Tested:
    """A pair of arms, the better one first: its p-value, the p-value adjusted over all pairs, and the test."""

    better: str
    other: str
    difference: float
    p_value: float
    adjusted_p: float
    test: str

    @property
    def told_apart(self) -> bool:
        return self.adjusted_p <= 1 - CONFIDENCE


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """Arms by descending score. `groups` are the largest sets of arms in which no pair was told apart."""

    metric: str
    k: int
    benchmarks: tuple[str, ...]
    places: tuple[tuple[str, Score], ...]
    pairs: tuple[Tested, ...]
    groups: tuple[tuple[str, ...], ...]


def leaderboard(arms: Sequence[ScoredArm], metric: str, k: int) -> Leaderboard | None:
    """Return the leaderboard on the benchmarks and problems that all arms share.

    None if there are fewer than two arms or no benchmark on which all of them have a score.
    """
    shared = [name for name in arms[0].benchmarks if all(name in arm.benchmarks for arm in arms)]
    columns = {name: _columns(arms, name, metric, k) for name in shared}
    usable = {name: found for name, found in columns.items() if found is not None}
    if len(arms) < 2 or not usable:
        return None
    of_arm = {arm.name: [found[number] for found in usable.values()] for number, arm in enumerate(arms)}
    behind = {arm.name: min(answers_behind(arm, name, metric, k) for name in usable) for arm in arms}
    scores = {name: score_of(matrices, behind[name]) for name, matrices in of_arm.items()}
    order = sorted(scores, key=lambda name: -scores[name].mean)
    pairs = _tested(order, of_arm, k if metric == "avg" else 1)
    separated = {frozenset((one.better, one.other)) for one in pairs if one.told_apart}
    places = tuple((name, scores[name]) for name in order)
    return Leaderboard(metric, k, tuple(usable), places, pairs, tuple(tie_groups(order, separated)))


def _columns(arms: Sequence[ScoredArm], benchmark: str, metric: str, k: int) -> list[Scores] | None:
    """Return each arm's matrix of scores on the shared problems, or None if an arm has no score on at least two."""
    keys = shared_keys(arms, benchmark, ())
    found = [matrix(arm, benchmark, metric, k, keys) for arm in arms]
    known = [one for one in found if one is not None and one.shape[1] > 1]
    return known if len(known) == len(arms) else None


def _tested(order: Sequence[str], of_arm: dict[str, list[Scores]], samples: int) -> tuple[Tested, ...]:
    pairs = list(combinations(order, 2))
    found = [
        difference_of(list(zip(of_arm[better], of_arm[other], strict=True)), samples, same=False)
        for better, other in pairs
    ]
    adjusted = holm_adjusted([one.p_value for one in found])
    return tuple(
        Tested(better, other, one.mean, one.p_value, p, one.test)
        for (better, other), one, p in zip(pairs, found, adjusted, strict=True)
    )


def leaderboard_blocks(found: Leaderboard) -> list[Block]:
    """Return the leaderboard as blocks of a report."""
    rows = [
        (
            name,
            letters(found.groups, name),
            f"{100 * score.mean:.1f} ({100 * score.interval.low:.1f} to {100 * score.interval.high:.1f})",
            f"{score.problems:,}",
            f"{score.runs}",
        )
        for name, score in found.places
    ]
    tests = list(dict.fromkeys(one.test for one in found.pairs))
    apart = sum(one.told_apart for one in found.pairs)
    title = METRICS[found.metric].at(found.k)
    return [
        heading(2, "Leaderboard"),
        paragraph(
            f"By {title} on {', '.join(found.benchmarks)}, on the problems that all arms have answered. Arms that "
            f"share a letter were not told apart: of {len(found.pairs)} pairs {apart} were, by permutation tests of "
            f"paired differences ({' or '.join(tests)}), adjusted by Holm over all pairs, at 5 %. The order of arms "
            "that share a letter has no meaning."
        ),
        table(("arm", "group", f"{title}, %", "problems", "runs"), rows, left=2),
        *([paragraph(RUNS_ONLY)] if "runs permuted" in tests else []),
    ]


def write_leaderboard(found: Leaderboard, folder: Path) -> None:
    """Write `leaderboard.md`, `leaderboard.tex` and `leaderboard.html` into `folder`."""
    report = leaderboard_blocks(found)
    contents = {
        "md": markdown(report),
        "tex": tables_tex(report, Columns.one),
        "html": simple_page("Leaderboard", report, {}),
    }
    for ending, content in contents.items():
        write_atomically(folder / f"leaderboard.{ending}", content)
