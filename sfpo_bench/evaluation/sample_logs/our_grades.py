"""Regrade the responses of a log with our grader and list the differences from the log's own grades."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.types import Grade, GradeStatus
from sfpo_bench.evaluation.graded_benchmark import GradedBenchmark, GradedProblem
from sfpo_bench.evaluation.grading import answer_classes
from sfpo_bench.evaluation.sample_logs.problems import LoggedProblem, one_response_each
from sfpo_bench.evaluation.sample_logs.record import LoggedSample, SampleLog
from sfpo_bench.evaluation.sample_logs.their_grades import GradedLog, each, names_text, uneven
from sfpo_bench.grading import DEADLINE_S, Pair, shared_grader
from sfpo_bench.grading.boxes import last_boxes
from sfpo_bench.grading.failures import failed

# The order in which one of the grades against several gold answers is chosen.
_BEST_FIRST = (
    *(GradeStatus.correct, GradeStatus.wrong, GradeStatus.no_answer),
    *(GradeStatus.timeout, GradeStatus.error, GradeStatus.gold_unparsable),
)


@dataclass(frozen=True, slots=True)
class Regraded:
    """A sample that only one of the two graders calls correct. `sample` counts from 0 within its problem."""

    benchmark: str
    problem: str
    sample: int
    their_grade: str
    theirs: bool
    gold: str
    extracted: str
    status: GradeStatus


@dataclass(frozen=True, slots=True)
class Agreement:
    """A comparison of one grade of a log with ours, over the samples that both graded as correct or wrong."""

    their_grade: str
    samples: int
    both_correct: int
    changed: tuple[Regraded, ...]

    @property
    def lost(self) -> int:
        """The number of samples that only the log's grader calls correct."""
        return sum(one.theirs for one in self.changed)

    @property
    def gained(self) -> int:
        """The number of samples that only our grader calls correct."""
        return len(self.changed) - self.lost


@dataclass(frozen=True, slots=True)
class RegradedLog:
    """A log with our grades, and one `Agreement` for each grade in it."""

    graded: GradedLog
    agreements: tuple[Agreement, ...]


@dataclass(frozen=True, slots=True)
class _Graded:
    """A problem with one sample for each response, and their grades."""

    problem: LoggedProblem
    samples: tuple[LoggedSample, ...]
    grades: tuple[Grade, ...]

    @property
    def gold_is_read(self) -> bool:
        return all(one.status is not GradeStatus.gold_unparsable for one in self.grades)


def by_our_grades(log: SampleLog, problems: Sequence[LoggedProblem], deadline_s: float = DEADLINE_S) -> RegradedLog:
    """Grade every response against its gold answers. Raises `ConfigError` if none can be graded.

    A problem without a gold answer, or with one that cannot be parsed, is left out: its responses may be correct.
    """
    split = [(one, one_response_each(one)) for one in problems]
    usable = [(one, samples) for one, samples in split if samples and samples[0].golds]
    if not usable:
        raise ConfigError(
            f"{log.path} ({log.form}): found no response with a gold answer, expected text to grade; its own grades "
            "are scored with grades=theirs"
        )
    made = iter(_grades([sample for _, samples in usable for sample in samples], deadline_s))
    tried = [_Graded(one, samples, tuple(islice(made, len(samples)))) for one, samples in usable]
    read = [one for one in tried if one.gold_is_read]
    if not read:
        gold = usable[0][1][0].golds[0]
        raise ConfigError(f"{log.path}: the grader can read none of its gold answers, such as {gold!r:.80}")
    kept = {one.problem.key for one in read}
    notes = _notes(log, [one.id for one in problems if one.key not in kept], read)
    classes = iter(
        answer_classes([(one.problem.key, g) for one in read for g in one.grades], shared_grader().equal_many)
    )
    found = tuple(_problem(one, tuple(islice(classes, len(one.samples)))) for one in read)
    graded = GradedLog(GradedBenchmark.of(log.benchmark, found), (*notes, *uneven(log, found)))
    return RegradedLog(graded, _agreements(log, read))


def _notes(log: SampleLog, left_out: Sequence[str], read: Sequence[_Graded]) -> list[str]:
    notes = []
    if left_out:
        notes.append(
            f"{log.path}: the problems {names_text(left_out)} have no response, or no gold answer that the grader can "
            "read, and are left out."
        )
    undecided = sum(failed(grade.status) for one in read for grade in one.grades)
    if undecided:
        notes.append(f"{log.path}: the grader did not decide on {undecided} samples, which count as wrong.")
    return notes


def _grades(samples: Sequence[LoggedSample], deadline_s: float) -> list[Grade]:
    """Return one grade for each sample: the best of the grades against each of its gold answers."""
    pairs = [Pair(gold_answer(gold), one.responses[0]) for one in samples for gold in one.golds]
    made = iter(shared_grader().grade_many(pairs, deadline_s=deadline_s))
    return [min(islice(made, len(one.golds)), key=lambda grade: _BEST_FIRST.index(grade.status)) for one in samples]


def gold_answer(text: str) -> str:
    """Return the answer in a gold text: the part after the last `####` (GSM8K), else the last box, else all of it."""
    if "####" in text:
        return text.rpartition("####")[2].strip()
    boxes = last_boxes(text)
    return ", ".join(boxes.contents) if boxes else text


def _problem(one: _Graded, classes: tuple[int, ...]) -> GradedProblem:
    return GradedProblem(
        key=one.problem.key,
        id=one.problem.id,
        classes=classes,
        truncated=each([sample.truncated for sample in one.samples]),
        answered=tuple(grade.status is not GradeStatus.no_answer for grade in one.grades),
        boxed=tuple("\\boxed{" in sample.responses[0] for sample in one.samples),
        undecided=tuple(failed(grade.status) for grade in one.grades),
        tokens=each([sample.tokens for sample in one.samples]),
    )


def _agreements(log: SampleLog, read: Sequence[_Graded]) -> tuple[Agreement, ...]:
    names = dict.fromkeys(name for one in log.samples for name in one.grades)
    return tuple(_agreement(log.benchmark, name, read) for name in names)


def _agreement(benchmark: str, name: str, read: Sequence[_Graded]) -> Agreement:
    samples, both, changed = 0, 0, list[Regraded]()
    for one in read:
        for number, (sample, grade) in enumerate(zip(one.samples, one.grades, strict=True)):
            theirs, ours = sample.grades.get(name), grade.status is GradeStatus.correct
            if theirs not in (0.0, 1.0) or failed(grade.status):
                continue
            samples += 1
            both += ours and theirs == 1.0
            if ours != (theirs == 1.0):
                changed.append(
                    Regraded(
                        *(benchmark, one.problem.id, number, name, theirs == 1.0),
                        *(sample.golds[0], grade.extracted or "", grade.status),
                    )
                )
    return Agreement(name, samples, both, tuple(changed))
