"""Grades stored samples and groups equal answers; needs no model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sfpo_bench.core.errors import RunFailed
from sfpo_bench.core.types import Grade, GradeStatus
from sfpo_bench.evaluation.generation import SampleName, name_of
from sfpo_bench.evaluation.prompted_problems import Benchmark, PromptedProblem
from sfpo_bench.grading import DEADLINE_S
from sfpo_bench.grading.failures import LIMIT, failed
from sfpo_bench.problems.graded_by_card import grade_responses, grader_version, same_answers
from sfpo_bench.results.sample_store import GradedSample, Sample, SampleStore
from sfpo_bench.statistics.sample_scores import CORRECT, NO_ANSWER


@dataclass(frozen=True, slots=True)
class Limits:
    """The time limit of a grade, and the share of samples that may stay undecided; these count as wrong."""

    deadline_s: float = DEADLINE_S
    undecided_share: float = LIMIT


def grade_samples(
    benchmarks: Sequence[Benchmark], samples: Sequence[Sample], store: SampleStore, limits: Limits | None = None
) -> list[GradedSample]:
    """Grade `samples` and write the grades into the store; return them in order.

    Stored grades of the same grader version and gold answer are reused. Raises `RunFailed` if the grader could not
    decide on more than one sample and more than the share in `limits`.
    """
    limits = limits or Limits()
    known = {name_of(one.sample): one for one in store.graded()}
    graded = [one for benchmark in benchmarks for one in _grade_benchmark(benchmark, samples, known, limits.deadline_s)]
    by_name = {name_of(one.sample): one for one in graded}
    ordered = [by_name[name_of(sample)] for sample in samples]
    undecided = sum(failed(one.status) for one in ordered)
    if undecided > max(1, limits.undecided_share * len(ordered)):
        share = undecided / len(ordered)
        raise RunFailed(
            f"the grader timed out or failed on {undecided} of {len(ordered)} samples ({share:.1%}), expected at most "
            f"{limits.undecided_share:.1%} or one; the samples are kept in {store.path}. Run the same command again "
            f"with more time for a grade (grading_seconds={max(DEADLINE_S, 4 * limits.deadline_s):g}), or count them "
            f"as wrong, with their share in every table (undecided_share={min(1.0, share + 0.005):.2f})"
        )
    store.write_graded(ordered)
    return ordered


@dataclass(frozen=True, slots=True)
class _GradingWork:
    """A sample of a benchmark with its problem, and its stored grade if that is still valid."""

    sample: Sample
    prompted: PromptedProblem
    known: GradedSample | None


def _grade_benchmark(
    benchmark: Benchmark, samples: Sequence[Sample], known: Mapping[SampleName, GradedSample], deadline_s: float
) -> list[GradedSample]:
    prompted = {one.key: one for one in benchmark.prompted}
    version = grader_version(benchmark.card)
    own = [sample for sample in samples if sample.benchmark == benchmark.name]
    work = [_GradingWork(one, prompted[one.problem_key], _usable(one, prompted, known, version)) for one in own]
    new = [one for one in work if one.known is None]
    problems, texts = [one.prompted.problem for one in new], [one.sample.text for one in new]
    made = grade_responses(benchmark.card, problems, texts, deadline_s)
    grades = {name_of(one.sample): grade for one, grade in zip(new, made, strict=True)}
    for one in work:
        if one.known is not None:
            found = one.known
            grades[name_of(one.sample)] = Grade(
                found.status, float(found.status is GradeStatus.correct), found.extracted, found.rule
            )
    classes = answer_classes(
        [(one.sample.problem_key, grades[name_of(one.sample)]) for one in work],
        lambda pairs: same_answers(benchmark.card, pairs),
    )
    return [
        GradedSample(
            sample=one.sample,
            gold=one.prompted.problem.answer,
            extracted=(grade := grades[name_of(one.sample)]).extracted,
            rule=grade.rule,
            status=grade.status,
            answer_class=answer_class,
            grader=version,
        )
        for one, answer_class in zip(work, classes, strict=True)
    ]


def _usable(
    sample: Sample,
    problems: Mapping[str, PromptedProblem],
    known: Mapping[SampleName, GradedSample],
    version: str,
) -> GradedSample | None:
    found = known.get(name_of(sample))
    gold = problems[sample.problem_key].problem.answer
    decided = found is not None and not failed(found.status)
    same = found is not None and (found.grader, found.gold, found.sample.text) == (version, gold, sample.text)
    return found if decided and same else None


def answer_classes(
    graded: Sequence[tuple[str, Grade]], same: Callable[[Sequence[tuple[str, str]]], list[bool]]
) -> list[int]:
    """Return the answer class of every grade, given with its problem's key; `same` compares pairs of answers."""
    wrong = [(key, grade.extracted) for key, grade in graded if grade.status is not GradeStatus.correct]
    answers: dict[str, list[str]] = {}
    for key, answer in dict.fromkeys(wrong):
        if answer is not None:
            answers.setdefault(key, []).append(answer)
    numbers = _numbered(answers, same)
    return [
        CORRECT
        if grade.status is GradeStatus.correct
        else NO_ANSWER
        if grade.extracted is None
        else numbers[key, grade.extracted]
        for key, grade in graded
    ]


def _numbered(
    answers: Mapping[str, Sequence[str]], same: Callable[[Sequence[tuple[str, str]]], list[bool]]
) -> dict[tuple[str, str], int]:
    """Number the answers of each problem from 1; equal answers share a number.

    An answer is compared with the first answer of each number so far. The n-th answers of all problems are compared in
    one call, which keeps all cores busy.
    """
    numbers: dict[tuple[str, str], int] = {}
    leaders: dict[str, list[str]] = {key: [] for key in answers}
    for index in range(max((len(found) for found in answers.values()), default=0)):
        now = [(key, found[index]) for key, found in answers.items() if index < len(found)]
        pairs = [(key, leader, answer) for key, answer in now for leader in leaders[key]]
        equal = same([(leader, answer) for _, leader, answer in pairs])
        met = {
            (key, answer): leader for (key, leader, answer), yes in reversed([*zip(pairs, equal, strict=True)]) if yes
        }
        for key, answer in now:
            if (key, answer) not in met:
                leaders[key].append(answer)
            numbers[key, answer] = leaders[key].index(met.get((key, answer), answer)) + 1
    return numbers
