r"""Grades per second: this package on all cores of the process beside plain math-verify in one process.

    python benchmarks/grading_speed.py ANSWERS.jsonl [...] [--pairs N] [--workers N]

Each file has an `answer` on every line, as the data sets of mathematics problems do. From the distinct answers come
distinct pairs of a gold and a response that ends in a boxed answer: half of them the gold itself in other notation or
spacing, half another problem's answer. Left out are answers that plain math-verify cannot read between dollar signs
(`\$4`, `34,\!650`, a full stop at the end). Both sides grade the same pairs in the same run, in alternation of two
halves so that a busy machine slows both; starting processes and importing is left out on both sides. The cache of the
grader is off. Pairs with different verdicts are counted and shown. A last line grades the same pairs again with the
cache on.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sfpo_bench.core.types import GradeStatus
from sfpo_bench.grading import Grader, Pair

BOX = r"\boxed{"
_UNREAD = re.compile(r"\\\$|\\!|\.$")
_PROSE = "We look at the cases one after another. The first gives nothing, the second a contradiction.\n\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    pairs = make_pairs(options.files, options.pairs)
    halves = [pairs[: len(pairs) // 2], pairs[len(pairs) // 2 :]]
    with Grader(workers=options.workers, cache_size=0) as grader:
        grader.grade_many([Pair(str(n), str(n)) for n in range(64)])  # starts the processes
        plain(Pair("$x^2$", "$x^2$"))
        ours: list[bool] = []
        theirs: list[bool] = []
        our_seconds = their_seconds = 0.0
        for half in halves:
            verdicts, seconds = timed(lambda half=half: [plain(pair) for pair in half])
            theirs, their_seconds = theirs + verdicts, their_seconds + seconds
            verdicts, seconds = timed(
                lambda half=half: [g.status is GradeStatus.correct for g in grader.grade_many(half)]
            )
            ours, our_seconds = ours + verdicts, our_seconds + seconds
    count = len(pairs)
    print(f"{count} distinct pairs, {sum(theirs)} correct by math-verify, {sum(ours)} by this package")
    print(f"plain math-verify, one process: {their_seconds:7.2f} s, {count / their_seconds:7.1f} pairs/s")
    print(f"this package, cache off:        {our_seconds:7.2f} s, {count / our_seconds:7.1f} pairs/s")
    print(f"ratio: {their_seconds / our_seconds:.2f}")
    with Grader(workers=options.workers) as grader:
        grader.grade_many(pairs)
        _, seconds = timed(lambda: [grade.reward > 0 for grade in grader.grade_many(pairs)])
    print(f"the same pairs again, cached:   {seconds:7.2f} s, {count / seconds:7.1f} pairs/s")
    differing = [pair for pair, one, other in zip(pairs, ours, theirs, strict=True) if one != other]
    print(f"verdicts that differ: {len(differing)}")
    for pair in differing[:20]:
        print(f"  {pair.gold!r} {pair.response[pair.response.index(BOX) :]!r}")


def make_pairs(files: Sequence[Path], count: int) -> list[Pair]:
    """`count` distinct pairs, the same at every run: in turn a right one and one with another answer of the files."""
    draw = random.Random(0)
    answers: dict[str, None] = {}
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            answer = str(json.loads(line).get("answer", ""))
            if answer and not _UNREAD.search(answer):
                answers[answer] = None
    golds = draw.sample(list(answers), min(len(answers), count))
    pairs: dict[Pair, None] = {}
    while len(pairs) < count:
        gold = draw.choice(golds)
        answer = respaced(gold) if len(pairs) % 2 else draw.choice(golds)
        extra = "Hence the result follows. " * draw.randrange(1, 40)
        pairs[Pair(gold, f"{_PROSE}{extra}\\[ {BOX}{answer}}} \\]")] = None
    return list(pairs)


def respaced(gold: str) -> str:
    return gold.replace("\\frac", "\\dfrac").replace("+", " + ")


def plain(pair: Pair) -> bool:
    """math-verify as its documentation shows it."""
    from math_verify import parse, verify

    gold = pair.gold if "$" in pair.gold else f"${pair.gold}$"
    return bool(verify(parse(gold), parse(pair.response)))


def timed(work: Callable[[], list[bool]]) -> tuple[list[bool], float]:
    started = time.perf_counter()
    verdicts = work()
    return verdicts, time.perf_counter() - started


if __name__ == "__main__":
    main()
