"""The model card of an exported checkpoint: base model, data, method, costs and scores.

The card states what follows from the run. It lists what only the author can decide, above all the licence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from sfpo_bench import __version__
from sfpo_bench.core.costs import CostAxis, Costs
from sfpo_bench.core.types import EvaluationRecord
from sfpo_bench.evaluation.record import Evaluation, read_evaluation
from sfpo_bench.evaluation.scores import AVERAGE, Score, ScoredArm, arm_scores
from sfpo_bench.models.smollm2 import HUB_NAME
from sfpo_bench.problems.sets import Card, card
from sfpo_bench.problems.training_sets import TrainingSets
from sfpo_bench.reports.document import Block, Table, bullets, heading, line, paragraph, table
from sfpo_bench.reports.markdown import markdown
from sfpo_bench.results.evaluation import EvaluationFolder
from sfpo_bench.results.journal import read_journal
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.settings.config import RunConfig
from sfpo_bench.settings.models import HuggingFaceModel, SmolLM2Model
from sfpo_bench.settings.training import Which
from sfpo_bench.statistics import wilson_interval
from sfpo_bench.training.checkpoint import TrainingState

# The card's metadata that the author fills in. https://huggingface.co/docs/hub/model-cards
LEFT_TO_THE_AUTHOR = ("license", "license_name", "license_link", "language")


@dataclass(frozen=True, slots=True)
class Base:
    """The base model of the training: its name, whether it is on the hub, and its revision there."""

    name: str
    on_hub: bool
    revision: str = ""


def model_card(run: RunFolder, config: RunConfig, state: TrainingState, which: Which) -> str:
    """Return the card, the `README.md` of the exported folder."""
    base, sets = base_of(config.model), _training_sets(config)
    blocks = [
        heading(1, f"{base.name}, trained with {config.algorithm.name or 'reinforcement learning'}"),
        *_origin(config, base, sets),
        *_method(config),
        *_costs(state, config),
        *_choice(state, which),
        *_scores(run, state.step),
        *_left_open(sets),
    ]
    return f"---\n{_metadata(base, sets)}---\n\n{markdown(blocks)}"


def base_of(model: object) -> Base:
    """Return the base model. A local folder is given by its name, without its path."""
    if isinstance(model, SmolLM2Model):
        return Base(HUB_NAME, on_hub=True)
    if isinstance(model, HuggingFaceModel):
        local = Path(model.path).exists() or model.path.startswith((".", "/", "~")) or model.path.count("/") != 1
        return Base(Path(model.path).name if local else model.path, not local, model.revision)
    return Base("the embedded model of sfpo_bench", on_hub=False)


def _training_sets(config: RunConfig) -> list[Card]:
    return [card(name) for name in config.task.train] if isinstance(config.task, TrainingSets) else []


def _metadata(base: Base, sets: Sequence[Card]) -> str:
    """Return the metadata of the card. Fields that the author fills in are comments without a value."""
    known: dict[str, object] = {"library_name": "transformers", "pipeline_tag": "text-generation"}
    if base.on_hub:
        known["base_model"] = base.name
    if datasets := [one.hub.name for one in sets if one.hub.name]:
        known["datasets"] = datasets
    known["tags"] = ["sfpo_bench", "reinforcement-learning"]
    open_fields = "".join(f"# {name}:  # yours to fill in\n" for name in LEFT_TO_THE_AUTHOR)
    return yaml.safe_dump(known, sort_keys=False) + open_fields


def _origin(config: RunConfig, base: Base, sets: Sequence[Card]) -> Iterator[Block]:
    revision = f", revision {base.revision}" if base.revision else ""
    yield heading(2, "Base and data")
    task = f"task {config.task.kind}"
    listed = [f"{one.title} ({one.hub.name or one.name}; {one.licence})" for one in sets]
    yield from bullets([f"Base: {base.name}{revision}.", f"Data: {task}{': ' if listed else ''}{'; '.join(listed)}."])


def _method(config: RunConfig) -> Iterator[Block]:
    parts = ("collector", "advantage", "selection", "objective", "update_rule", "modules", "reference", "phases")
    chosen = [(name, getattr(config.algorithm, name)) for name in parts]
    rows = [(name, str(part.kind), _paper(part)) for name, part in chosen if part is not None]
    learner = config.learner
    yield heading(2, "Method")
    yield paragraph(
        f"Reinforcement learning by sfpo_bench {__version__}: seed {config.seed}, {config.training.steps} steps, "
        f"learning rate {learner.learning_rate:g}, precision {learner.precision.value}."
    )
    yield table(("part", "kind", "paper"), rows, left=3)
    if config.unverified:
        yield paragraph(f"Parts whose match with their paper is not verified: {'; '.join(config.unverified)}.")


def _paper(part: object) -> str:
    numbers = str(getattr(type(part), "paper", ""))
    return ", ".join(f"arXiv:{one}" for one in numbers.split(", ")) if numbers else ""


def _costs(state: TrainingState, config: RunConfig) -> Iterator[Block]:
    yield heading(2, "Steps and costs")
    yield paragraph(f"The weights are from step {state.step} of {config.training.steps}. Costs up to that step:")
    yield _cost_table(state.costs)


def _cost_table(costs: Costs) -> Table:
    return table(("cost", "amount"), [(axis.label, f"{costs.on(axis):,.0f}") for axis in CostAxis], left=1)


def _choice(state: TrainingState, which: Which) -> Iterator[Block]:
    yield heading(2, "How the checkpoint was chosen")
    if which is Which.best:
        yield paragraph(
            f"The best of the run's evaluations on its select problems: accuracy {state.best_accuracy:.3f} at step "
            f"{state.best_step}. As the maximum of several it is biased upwards; scores on other problems are not."
        )
    else:
        yield paragraph("The last one, regardless of scores.")


def _scores(run: RunFolder, step: int) -> Iterator[Block]:
    """Yield the scores of this checkpoint on benchmarks, and the evaluations during training at its step."""
    yield heading(2, "Scores")
    there = EvaluationFolder.of_run(run, step)
    stores = sorted(path.parent for path in there.path.glob("*/samples.parquet"))
    found = [read_evaluation(path) for path in stores]
    during = [one for one in read_journal(run.journal) if isinstance(one, EvaluationRecord) and one.step == step]
    for one in found:
        yield from _benchmark_scores(one)
    if during:
        yield paragraph("During training, with 95 % intervals over responses (Wilson's, as if they were independent):")
        yield table(("split", "mode", "accuracy, %", "responses", "problems"), [_during(one) for one in during], left=2)
    if not found and not during:
        yield paragraph(f"None: this checkpoint was not evaluated (`sfpo-bench evaluate run=RUN step={step}`).")


def _benchmark_scores(found: Evaluation) -> Iterator[Block]:
    arm, k = ScoredArm(found.owner.arm, (found,)), found.asked.samples
    mean, best = arm_scores(arm, "avg", k), arm_scores(arm, "pass", k)
    drawn = found.sampling
    yield paragraph(
        f"Suite {found.asked.suite}, role {found.asked.role}: {k} samples per problem at temperature "
        f"{drawn.temperature} and top-p {drawn.top_p}, at most {drawn.max_new_tokens} tokens; 95 % intervals over "
        "problems."
    )
    rows = [
        (name, f"{score.problems:,}", _score_text(score), _score_text(best[name]))
        for name, score in mean.items()
        if name != AVERAGE
    ]
    yield table(("benchmark", "problems", f"avg@{k}, %", f"pass@{k}, %"), rows, left=1)
    if found.choice_note:
        yield paragraph(f"The model was {found.choice_note}.")


def _score_text(score: Score) -> str:
    return _percent(score.mean, score.interval.low, score.interval.high)


def _percent(mean: float, low: float, high: float) -> str:
    return f"{100 * mean:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def _during(one: EvaluationRecord) -> tuple[str, ...]:
    interval = wilson_interval(one.accuracy * one.n, one.n).interval
    shown = _percent(one.accuracy, interval.low, interval.high) if interval else f"{100 * one.accuracy:.1f}"
    return one.split.value, one.mode, shown, f"{one.n:,}", f"{one.problems:,}"


def _left_open(sets: Sequence[Card]) -> Iterator[Block]:
    yield heading(2, "To be filled in by the author")
    yield paragraph(
        "This card does not state a licence for these weights. It depends on the base model's licence and on the "
        "author's decision."
    )
    yield from bullets(
        [
            *(line(f"{name}: in the metadata of this file") for name in LEFT_TO_THE_AUTHOR),
            *(line(f"licence of the data {one.title}: {one.licence}") for one in sets),
            line("intended use and limits"),
        ]
    )
