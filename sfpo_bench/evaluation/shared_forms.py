"""Scores in formats that others collect: Every Eval Ever, and the hub's `.eval_results`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.evaluation.every_eval_ever import every_eval_ever, record_path
from sfpo_bench.evaluation.forms import EvaluatingOrganization, Form
from sfpo_bench.evaluation.hub_results import hub_results
from sfpo_bench.evaluation.record import Evaluation
from sfpo_bench.results.names import folder_name
from sfpo_bench.results.stored_files import write_atomically


@dataclass(frozen=True, slots=True)
class WrittenFiles:
    """The files that were written, and the benchmarks that are in none of them, with the reason."""

    files: tuple[Path, ...]
    left_out: tuple[str, ...]


def check_forms(forms: Sequence[Form], evaluator: EvaluatingOrganization) -> None:
    """Raise `ConfigError` if a format needs a setting that the user has not given."""
    if Form.every_eval_ever in forms and not evaluator.organization:
        raise ConfigError(
            "forms=[every_eval_ever] without organization: such a record states who evaluated; add organization=NAME, "
            "and relationship=first_party, third_party or collaborative: how you are related to the model's makers"
        )


def write_forms(
    found: Sequence[Evaluation],
    k: int,
    forms: Sequence[Form],
    evaluator: EvaluatingOrganization,
    folder: Path,
    written: int,
) -> WrittenFiles:
    """Write every evaluation in every format below `folder`. `written` is the Unix time in seconds."""
    files: list[Path] = []
    left_out: list[str] = []
    for one in found:
        name = folder_name(one.owner.label, "model")
        if Form.every_eval_ever in forms:
            files.append(_new(folder / "every_eval_ever" / record_path(one, written), files))
            write_atomically(files[-1], every_eval_ever(one, k, evaluator, written))
        if Form.eval_results in forms:
            made = hub_results(one, k)
            left_out += [f"{one.owner.label}: {reason}" for reason in made.left_out]
            if made.content:
                files.append(_new(folder / "eval_results" / name / ".eval_results" / "sfpo_bench.yaml", files))
                write_atomically(files[-1], made.content)
    return WrittenFiles(tuple(files), tuple(left_out))


def _new(path: Path, files: Sequence[Path]) -> Path:
    if path in files:
        raise ConfigError(f"two evaluations would be written to {path}; give them other labels when they are evaluated")
    return path
