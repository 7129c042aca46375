"""The design of a study on when reposition helps: SFPO against Repeat(K + 1), at equal rate and equal displacement.

Learning rates are tuned once, under the first condition: for GRPO, for Repeat(K + 1) of each K, and for the other
rules. The cells of every condition use multiples of these rates. SFPO and its controls with the same K have the same
grid of rates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from sfpo_bench.core.costs import CostAxis
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.options import check_ranges
from sfpo_bench.core.override_text import parse_overrides
from sfpo_bench.core.types import Split
from sfpo_bench.experiments.study.design import DoneSoFar, Part, Settings, StudyReport
from sfpo_bench.experiments.study.ledger import COMPARE, TUNE, Done
from sfpo_bench.experiments.study.page import mixed_code
from sfpo_bench.experiments.sweep.tune import tuning_blocks
from sfpo_bench.reports.document import Block, heading, paragraphs
from sfpo_bench.reports.html import simple_page
from sfpo_bench.reports.markdown import markdown
from sfpo_bench.reports.reposition import figures, page
from sfpo_bench.reports.reposition.cells import StudyCell, StudyMethod
from sfpo_bench.reports.reposition.design import design_blocks
from sfpo_bench.reports.reposition.table import Areas, best_rates, compared, largest_spread
from sfpo_bench.results.journal import read_journal
from sfpo_bench.results.names import PAGE, REPORT
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.results.stored_files import write_atomically
from sfpo_bench.search.goals import Goal
from sfpo_bench.settings.comparison import ArmSettings
from sfpo_bench.settings.config import RunConfig, flatten
from sfpo_bench.settings.reposition import ConditionSettings, Control, RepositionSettings
from sfpo_bench.settings.search import Measure
from sfpo_bench.workers.build import slot_count

if TYPE_CHECKING:
    from sfpo_bench.experiments.comparison.arms import PlannedRun
    from sfpo_bench.experiments.study.plan import Study

TABLE = "table"
_RATE = "learner.learning_rate"
_ALONE: Mapping[Control, StudyMethod] = {Control.gxpo: StudyMethod.gxpo, Control.lookahead: StudyMethod.lookahead}


@dataclass(frozen=True, slots=True)
class RepositionStudy:
    """A grid of conditions, K, alpha and rates from `study.reposition`; each cell is an arm of one comparison."""

    before: tuple[Part, ...] = ()
    after: tuple[Part, ...] = (Part(TABLE, (TUNE, COMPARE), lambda so_far: _table(so_far)),)

    def check(self, config: RunConfig) -> None:
        """Raise `ConfigError` for a design without cells, a split other than `select`, and fewer than two seeds."""
        if not config.study.reposition.conditions:
            raise ConfigError("study.reposition.conditions is empty; name at least one condition with its cells")
        for name, condition in config.study.reposition.conditions.items():
            check_ranges(condition, f"study.reposition.conditions.{name}.")
            for field in ("fast_passes", "alphas", "rate_factors"):
                if not getattr(condition, field):
                    raise ConfigError(
                        f"study.reposition.conditions.{name}.{field} is empty; expected at least one number"
                    )
        if config.comparison.split is not Split.select:
            raise ConfigError(
                f"comparison.split = {config.comparison.split.value}: areas are computed and best rates are chosen on "
                "select problems; set comparison.split=select"
            )
        if config.comparison.seeds < 2:
            raise ConfigError("comparison.seeds = 1: half of the seeds choose the best rates; expected 2 or more")

    def arms(self, config: RunConfig, config_name: str, overrides: Sequence[str]) -> Mapping[str, ArmSettings]:
        """Return the arms whose rates are tuned: GRPO, Repeat(K + 1) of each K, and the other rules."""
        found = {cell.tuned_key: cell for cell in map(_Arm, cells_of(config.study.reposition))}
        first = _first(config)[1]
        return {
            key: ArmSettings(label=key, overrides=[*arm.rule_overrides, *first.overrides]) for key, arm in found.items()
        }

    def compared(self, config: RunConfig, tuned: Mapping[str, ArmSettings]) -> Mapping[str, ArmSettings]:
        """Return every cell as an arm, at its multiple of the tuned rate."""
        conditions = config.study.reposition.conditions
        return {
            cell.key: ArmSettings(
                label=cell.label,
                overrides=_Arm(cell).overrides(
                    conditions.get(cell.condition) or _first(config)[1],
                    _rate_of(tuned[_Arm(cell).tuned_key], config.learner.learning_rate),
                ),
            )
            for cell in cells_of(config.study.reposition)
        }

    def settings(self, study: Study) -> Mapping[str, Settings]:
        """Return the settings of the cells, and those that only the report uses."""
        design = asdict(study.config.study.reposition)
        conditions = flatten(design.pop("conditions"), "condition.")
        for key, value in conditions.items():
            conditions[key] = [getattr(one, "value", one) for one in value] if isinstance(value, list) else value
        notes = {key: conditions.pop(key) for key in list(conditions) if key.endswith(".note")}  # no run reads them
        return {COMPARE: conditions, TABLE: {**notes, **flatten(design, "reposition.")}}

    def check_inputs(self, study: Study) -> None:
        """Check nothing: the study needs no data beyond that of its runs."""

    def report(self, study: Study) -> StudyReport:
        """Return the page, the tables and the figures."""
        files = RepositionFiles(study.folder)
        named = {"table": files.compared, "areas": files.areas, "page": files.page}
        return StudyReport(files.report, named, files.all())

    def described(self, study: Study) -> list[Block]:
        """Return a description of the design, to read before the training starts."""
        return _design(study)


def cells_of(settings: RepositionSettings) -> list[StudyCell]:
    """Return every cell once: GRPO, then the cells of each condition."""
    found = [StudyCell("", StudyMethod.grpo)]
    for name, condition in settings.conditions.items():
        found += _cells(name, condition)
    return list(dict.fromkeys(found))


def _cells(name: str, condition: ConditionSettings) -> Iterator[StudyCell]:
    for passes, factor in product(condition.fast_passes, condition.rate_factors):
        yield StudyCell(name, StudyMethod.repeat, passes, 0.0, factor)
        if Control.kl_stop in condition.controls:
            yield StudyCell(name, StudyMethod.kl_stop, passes, 0.0, factor)
        for alpha in condition.alphas:
            yield StudyCell(name, StudyMethod.sfpo, passes, alpha, factor)
            yield StudyCell(name, StudyMethod.shortened, passes, alpha, factor)
    for control, factor in product(condition.controls, condition.rate_factors):
        if control in _ALONE:
            yield StudyCell(name, _ALONE[control], rate_factor=factor)


@dataclass(frozen=True, slots=True)
class _Arm:
    """The training settings of a cell."""

    cell: StudyCell

    @property
    def tuned_key(self) -> str:
        """The arm whose tuned rate the cell uses."""
        return f"repeat-k{self.cell.fast_passes}" if self.cell.fast_passes else self.cell.method.value

    @property
    def rule_overrides(self) -> list[str]:
        """The overrides of the rule whose rate is tuned for the cell."""
        if self.cell.fast_passes:
            return ["algorithm=repeat", f"algorithm.update_rule.passes={self.cell.fast_passes + 1}"]
        return [f"algorithm={self.cell.method.value}"]

    def overrides(self, condition: ConditionSettings, tuned_rate: float) -> list[str]:
        """Return the overrides for rule, condition and learning rate."""
        cell, rate = self.cell, tuned_rate * condition.rate_scale * self.cell.rate_share
        rule = self.rule_overrides
        if cell.method is StudyMethod.sfpo:
            rule = ["algorithm=sfpo", "algorithm/update_rule/trigger=none", *condition.sfpo_overrides]
            rule += [
                f"algorithm.update_rule.fast_passes={cell.fast_passes}",
                f"algorithm.update_rule.alpha={cell.alpha:g}",
            ]
        elif cell.method is StudyMethod.kl_stop:
            rule = ["algorithm=repeat_kl_stop", f"algorithm.update_rule.passes={cell.fast_passes + 1}"]
        return [*rule, *condition.overrides, f"{_RATE}={rate:.6g}"]


def _first(config: RunConfig) -> tuple[str, ConditionSettings]:
    return next(iter(config.study.reposition.conditions.items()))


def _rate_of(arm: ArmSettings, otherwise: float) -> float:
    """Return the tuned learning rate of an arm, or `otherwise` if nothing was tuned."""
    found = [one.value() for one in parse_overrides(arm.overrides) if one.key_or_group == _RATE]
    return float(str(found[-1])) if found else otherwise


# --- the table ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RepositionFiles:
    """Paths of the report in the study's folder."""

    folder: Path

    @property
    def compared(self) -> Path:
        return self.folder / "reposition.csv"

    @property
    def areas(self) -> Path:
        return self.folder / "areas.csv"

    @property
    def report(self) -> Path:
        return self.folder / REPORT

    @property
    def page(self) -> Path:
        return self.folder / PAGE

    @property
    def pictures(self) -> tuple[Path, ...]:
        return tuple(self.folder / name for name in page.WORDS)

    def all(self) -> tuple[Path, ...]:
        """Return every file."""
        return (self.compared, self.areas, self.report, self.page, *self.pictures)


def areas_of(runs: Sequence[PlannedRun], cells: Sequence[StudyCell]) -> Areas:
    """Return the area under the curve of every run, by cell and seed, from its journal."""
    by_key = {cell.key: cell for cell in cells}
    found: dict[StudyCell, dict[int, float]] = {cell: {} for cell in cells}
    # The budget of each run is its total cost, so no curve is extrapolated.
    goal = Goal("area", Measure.area, CostAxis.responses, math.inf, 0.0)
    for run in runs:
        curve = goal.curve(read_journal(RunFolder(run.folder).journal), Split.select, ended=True)
        found[by_key[run.arm]][run.seed] = replace(goal, budget=curve.costs[-1]).value(curve)
    return found


def _table(so_far: DoneSoFar) -> Done:
    """Write areas, differences, best rates, figures and the page."""
    study = so_far.study
    cells = cells_of(study.config.study.reposition)
    areas = areas_of(so_far.runs, cells)
    rows, best, first = compared(areas), best_rates(areas), _first(study.config)[0]
    files = RepositionFiles(study.folder)
    drawn = {
        page.BEST_RATES: figures.best_rate_figure(best, first),
        page.EQUAL_RATE: figures.robustness_figure(rows, first, StudyMethod.repeat),
        page.EQUAL_DISPLACEMENT: figures.robustness_figure(rows, first, StudyMethod.shortened),
        page.CONDITIONS: figures.condition_figure(rows),
    }
    spread = largest_spread(rows)
    said = [] if spread is None else [f"The largest standard deviation over seeds of a difference was {spread:.4f}."]
    said += mixed_code(so_far.versions())
    blocks = [
        heading(1, study.name), *paragraphs([study.config.description]), page.holm_block(rows), *paragraphs(said),
        *page.result_blocks(rows, best), *_design(study),
    ]  # fmt: skip
    tuned = so_far.tuned()
    if tuned:
        blocks += tuning_blocks(tuned, level=2)
    pictures = {name: made["svg"] for name, made in drawn.items()}
    written: dict[Path, str | bytes] = {study.folder / name: made["png"] for name, made in drawn.items()}
    written |= {
        files.compared: page.compared_csv(rows),
        files.areas: page.areas_csv(areas),
        files.page: simple_page(study.name, blocks, pictures),
        files.report: markdown(blocks),
    }
    for path, content in written.items():
        write_atomically(path, content)
    return Done({"rows": len(rows)}, files.all())


def _design(study: Study) -> list[Block]:
    config = study.config
    settings, default = config.study.reposition, config.rollouts.prompts
    prompts = {name: _prompts(condition, default) for name, condition in settings.conditions.items()}
    slots = slot_count(config.launching, config.comparison.slots)
    cells = cells_of(settings)
    return design_blocks(settings, cells, config.comparison.seeds, config.training.steps, prompts, slots)


def _prompts(condition: ConditionSettings, otherwise: int) -> int:
    found = [one.value() for one in parse_overrides(condition.overrides) if one.key_or_group == "rollout.prompts"]
    return int(str(found[-1])) if found else otherwise
