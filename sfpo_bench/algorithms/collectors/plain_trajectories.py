"""Converts trajectories to JSON values for a collector's state and back, without loss."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sfpo_bench.algorithms.collectors.protocol import Plain
from sfpo_bench.core.types import Completion, FinishReason, Grade, GradeStatus, Problem, Trajectory


def written(one: Trajectory) -> dict[str, Plain]:
    """A trajectory as JSON values; arrays are base64, a tenth of the length of their text."""
    problem, done, grade = one.problem, one.completion, one.grade
    return {
        "problem": [problem.id, problem.text, problem.answer, problem.solution],
        "sample": done.sample,
        "prompt_ids": _ids(done.prompt_ids),
        "response_ids": _ids(done.response_ids),
        "log_probs": _floats(done.log_probs),
        "text": done.text,
        "finish_reason": done.finish_reason.value,
        "grade": [grade.status.value, grade.reward, grade.extracted, grade.rule],
        "group": one.group,
        "parent": one.parent,
        "loss_from": one.loss_from,
        "left_out": one.left_out,
        "advantages": None if one.advantages is None else _floats(one.advantages),
        "old_log_probs": None if one.old_log_probs is None else _floats(one.old_log_probs),
    }


def trajectory_of(plain: Mapping[str, Any]) -> Trajectory:
    """The trajectory that `written` converted."""
    problem, (status, reward, extracted, rule) = Problem(*plain["problem"]), plain["grade"]
    completion = Completion(
        problem_id=problem.id,
        sample=plain["sample"],
        prompt_ids=_of(plain["prompt_ids"], "<i8"),
        response_ids=_of(plain["response_ids"], "<i8"),
        log_probs=_of(plain["log_probs"], "<f8"),
        text=plain["text"],
        finish_reason=FinishReason(plain["finish_reason"]),
    )
    return Trajectory(
        problem,
        completion,
        Grade(GradeStatus(status), reward, extracted, rule),
        group=plain["group"],
        parent=plain["parent"],
        loss_from=plain["loss_from"],
        left_out=plain["left_out"],
        advantages=_maybe(plain["advantages"]),
        old_log_probs=_maybe(plain["old_log_probs"]),
    )


def _ids(values: Sequence[int]) -> str:
    return b64encode(np.asarray(values, "<i8").tobytes()).decode()


def _floats(values: Sequence[float]) -> str:
    return b64encode(np.asarray(values, "<f8").tobytes()).decode()


def _of(text: str, kind: str) -> tuple[Any, ...]:
    return tuple(np.frombuffer(b64decode(text), kind).tolist())


def _maybe(text: str | None) -> tuple[float, ...] | None:
    return None if text is None else _of(text, "<f8")
