"""Group the samples of a log by problem, and give each problem the key that pairs it with other evaluations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.evaluation.sample_logs.record import LoggedSample, PairBy, SampleLog
from sfpo_bench.problems.canonical import problem_key


@dataclass(frozen=True, slots=True)
class LoggedProblem:
    """A problem of a log. `key` pairs it with the problem of the same key in another evaluation."""

    key: str
    id: str
    samples: tuple[LoggedSample, ...]


def logged_problems(log: SampleLog, pair_by: PairBy) -> tuple[LoggedProblem, ...]:
    """Return the problems of a log in its order. When paired by text, problems with the same text are
    paired by their names too.

    Raises `ConfigError` if two samples of a problem have the same number, or if there is no text to pair by.
    """
    found: dict[str, list[LoggedSample]] = {}
    for one in log.samples:
        found.setdefault(one.problem, []).append(one)
    for samples in found.values():
        _check_one_problem(samples)
    if pair_by is PairBy.text and (lacking := [name for name, samples in found.items() if not samples[0].text]):
        raise ConfigError(
            f"{log.path}: {len(lacking)} of {len(found)} problems have no text to pair them by (the first is "
            f"{lacking[0]}); pair them by their names in the log, pair_by=id"
        )
    keys = {name: problem_key(own[0].text) if pair_by is PairBy.text else name for name, own in found.items()}
    times = Counter(keys.values())
    # Of two problems with one text only the names say which is which: by their order they could be paired crosswise.
    return tuple(
        LoggedProblem(key if times[key] == 1 else f"{key}#{name}", name, _in_order(found[name]))
        for name, key in keys.items()
    )


def _check_one_problem(samples: Sequence[LoggedSample]) -> None:
    """Raise `ConfigError` for samples of one name that answer different problems."""
    first = samples[0]
    for one in samples:
        for what, own, other in (("text", first.text, one.text), ("gold answer", first.golds, one.golds)):
            if own != other:
                raise ConfigError(
                    f"{one.place}: the problem {one.problem} has another {what} than in {first.place} "
                    f"({str(other)[:60]!r} and {str(own)[:60]!r}); expected names that tell problems apart: rename "
                    "one, or put the problems of each benchmark into a file of their own"
                )


def _in_order(samples: Sequence[LoggedSample]) -> tuple[LoggedSample, ...]:
    numbers = [one.number for one in samples if one.number is not None]
    twice = [number for number, count in Counter(numbers).items() if count > 1]
    if twice:
        places = [one.place for one in samples if one.number == twice[0]]
        raise ConfigError(
            f"{places[1]}: sample {twice[0]} of the problem {samples[0].problem} occurs twice (the first is "
            f"{places[0].rpartition(', ')[2]}); expected every sample once. Take one of them out"
        )
    numbered = len(numbers) == len(samples)
    return tuple(sorted(samples, key=lambda one: one.number or 0) if numbered else samples)


def one_response_each(problem: LoggedProblem) -> tuple[LoggedSample, ...]:
    """Return one sample for each response. Samples split from one that holds several lose the grade they shared."""
    split: list[LoggedSample] = []
    for one in problem.samples:
        if len(one.responses) < 2:
            split += [one] * len(one.responses)
            continue
        for at, response in enumerate(one.responses):
            tokens = (one.tokens[at],) if one.tokens else None
            split.append(replace(one, responses=(response,), grades={}, answers={}, tokens=tokens))
    return tuple(split)
