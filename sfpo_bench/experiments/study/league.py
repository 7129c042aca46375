"""The design of a league: many methods on one task, each with its own tuned learning rate, in one table.

The settings of a preset show whether it has its own update rule. A preset whose rule is one pass can be combined with
the update rule of another preset. The others enter unchanged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.experiments.reuse import digest_of
from sfpo_bench.experiments.study.design import DoneSoFar, Part, Settings, StudyReport
from sfpo_bench.experiments.study.ledger import COMPARE, TUNE, Done
from sfpo_bench.experiments.study.page import mixed_code
from sfpo_bench.reports.league.blocks import PageText
from sfpo_bench.reports.league.standings import League, standings
from sfpo_bench.reports.league.write import LeagueFiles, write_league
from sfpo_bench.reports.load import load_comparison
from sfpo_bench.reports.method_facts import facts_of
from sfpo_bench.reports.summarise import build_summary
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.results.study import StudyFolder
from sfpo_bench.settings.comparison import ArmSettings
from sfpo_bench.settings.config import RunConfig, from_node
from sfpo_bench.settings.overrides import composed
from sfpo_bench.settings.overruled import common_settings
from sfpo_bench.settings.study import LeagueSettings
from sfpo_bench.training.checkpoint import CheckpointStore
from sfpo_bench.training.run import plain_node

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from sfpo_bench.experiments.comparison.arms import PlannedRun
    from sfpo_bench.experiments.study.plan import Study

TABLE = "table"
ALL = "all"
_ONE_PASS = "one_pass"


@dataclass(frozen=True, slots=True)
class Entry:
    """A preset, or its objective with the update rule of another preset: `gspo`, `gspo+sfpo`."""

    preset: str
    rule: str = ""

    @classmethod
    def read(cls, text: str) -> Entry:
        preset, plus, rule = text.partition("+")
        if not preset or (plus and not rule):
            raise ConfigError(
                f"study.league.methods has {text!r}; expected PRESET, or PRESET+RULE for an objective with the update "
                "rule of another preset, such as gspo+sfpo"
            )
        return cls(preset, rule)

    @property
    def key(self) -> str:
        return f"{self.preset}-{self.rule}" if self.rule else self.preset

    @property
    def label(self) -> str:
        return f"{self.preset} under {self.rule}" if self.rule else self.preset


@dataclass(frozen=True, slots=True)
class LeagueArms:
    """The arms of a league, and the reason for each method that is left out, by label."""

    arms: Mapping[str, ArmSettings]
    left_out: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class MethodsLeague:
    """A study that compares presets. Its last part writes the table."""

    before: tuple[Part, ...] = ()
    after: tuple[Part, ...] = (Part(TABLE, (TUNE, COMPARE), lambda so_far: _table(so_far)),)

    def check(self, config: RunConfig) -> None:
        """Raise `ConfigError` for a league without methods or without a target."""
        if not config.study.league.methods:
            raise ConfigError(
                "study.league.methods is empty; name the presets to compare, such as [grpo,sfpo,gspo], or [all]"
            )
        if config.study.league.methods != [ALL] and config.study.league.under != LeagueSettings().under:
            raise ConfigError(
                f"study.league.under = {config.study.league.under} has no effect here: only study.league.methods=[all] "
                "reads it; write PRESET+RULE in study.league.methods instead, such as gspo+sfpo"
            )
        if not config.comparison.targets:
            raise ConfigError("comparison.targets is empty; a league compares costs to the first of them: set one")

    def arms(self, config: RunConfig, config_name: str, overrides: Sequence[str]) -> Mapping[str, ArmSettings]:
        """Return an arm for each method that can run."""
        return _league_arms_of(config, config_name, overrides).arms

    def compared(self, config: RunConfig, tuned: Mapping[str, ArmSettings]) -> Mapping[str, ArmSettings]:
        """Return every arm with its tuned settings."""
        return tuned

    def settings(self, study: Study) -> Mapping[str, Settings]:
        """Return the settings that determine the table: its baseline, its labels, and what is left out."""
        left_out = _league_arms_of(study.config, study.config_name, study.overrides).left_out
        return {
            TABLE: {
                "comparison.baseline": study.config.comparison.baseline,
                "study.league.under": list(study.config.study.league.under),
                **{f"{arm.key}.label": arm.label for arm in study.arms},
                **{f"left out: {name}": why for name, why in left_out.items()},
            }
        }

    def check_inputs(self, study: Study) -> None:
        """Check nothing: the table needs only the runs."""

    def report(self, study: Study) -> StudyReport:
        """Return the table, its figure and the page."""
        files = LeagueFiles.inside(study.folder)
        named = {"table": files.csv, "figure": files.figure_png, "page": files.page}
        return StudyReport(files.report, named, (files.report, files.page, files.csv, files.figure_png))


def league_of(so_far: DoneSoFar) -> League:
    """Return the numbers of a league whose runs are finished."""
    summary = build_summary(load_comparison(StudyFolder(so_far.study.folder).comparison))
    facts = {arm.key: facts_of(from_node(arm.node)) for arm in so_far.arms}
    return standings(summary, facts, _last_weights(so_far.runs))


def _table(so_far: DoneSoFar) -> Done:
    """Write the table, the pairs, the figure and the page."""
    study, league = so_far.study, league_of(so_far)
    found = _league_arms_of(study.config, study.config_name, study.overrides)
    page_text = PageText(
        study.name,
        study.config.description,
        found.left_out,
        sum(1 for run in so_far.runs if RunFolder(run.folder).taken_from() is not None),
        mixed_code(so_far.versions()),
    )
    files = write_league(study.folder, league, page_text)
    return Done({"groups": {row.arm: row.group for row in league.rows}}, files.all())


def _last_weights(runs: Sequence[PlannedRun]) -> dict[str, dict[int, str]]:
    """Return the sha256 of the last weights by arm and seed, where weights were kept."""
    found: dict[str, dict[int, str]] = {}
    for run in runs:
        newest = CheckpointStore(RunFolder(run.folder).checkpoints).newest()
        files = [] if newest is None else newest.weights_files
        if files:
            digests = " ".join(_sha256(file) for file in files)
            found.setdefault(run.arm, {})[run.seed] = hashlib.sha256(digests.encode()).hexdigest()
    return found


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


# --- the methods --------------------------------------------------------------------------------------------------


def _league_arms_of(config: RunConfig, config_name: str, overrides: Sequence[str]) -> LeagueArms:
    league = config.study.league
    shared = tuple(text for text in overrides if not text.lstrip("+~").startswith("comparison."))
    return _league_arms(config_name, shared, tuple(league.methods), tuple(league.under))


@lru_cache(maxsize=2)  # composing every method takes a minute, and each part of the study needs the result
def _league_arms(
    config_name: str, shared: tuple[str, ...], methods: tuple[str, ...], under: tuple[str, ...]
) -> LeagueArms:
    """Return the requested methods that can run, and the reasons for the others.

    Raises `ConfigError` for an unknown preset, and for a rule that is one pass.
    """
    presets, nodes = _Presets(config_name, shared), _Nodes(config_name, shared)
    every = methods == (ALL,)
    # Wrong rules are refused first, because composing every preset takes half a minute.
    named = [Entry("", rule) for rule in under] if every else [Entry.read(text) for text in methods]
    for entry in named:
        presets.refuse_unknown(entry, "study.league.under" if every else "study.league.methods")
    entries = list(presets.all(under)) if every else named
    arms, left_out, known = dict[str, ArmSettings](), dict[str, str](), dict[str, str]()
    for entry in dict.fromkeys(entries):
        own = [f"algorithm={entry.preset}", *(presets.rule_of(entry.rule) if entry.rule else ())]
        try:
            digest = digest_of(nodes.of(own))
        except ConfigError as error:
            left_out[entry.label] = str(error)
            continue
        if digest in known:
            left_out[entry.label] = f"its settings are equal to those of {known[digest]}"
            continue
        known[digest] = entry.label
        arms[entry.key] = ArmSettings(label=entry.label, overrides=own)
    return LeagueArms(MappingProxyType(arms), MappingProxyType(left_out))


@dataclass(frozen=True, slots=True)
class _Nodes:
    """Composes the configurations of arms."""

    config_name: str
    shared: tuple[str, ...]

    def of(self, own: Sequence[str]) -> DictConfig:
        """Return the checked configuration of an arm. Raises `ConfigError` for settings that cannot run."""
        node = plain_node(composed(self.config_name, [*self.shared, *own]), {**common_settings(1), "run_name": ""})
        from_node(node)
        return node


class _Presets:
    """The presets that Hydra finds, including the user's, and their update rules."""

    def __init__(self, config_name: str, shared: tuple[str, ...]) -> None:
        self._nodes = _Nodes(config_name, shared)
        loader = GlobalHydra.instance().config_loader()
        self._names = loader.get_group_options("algorithm", results_filter=ObjectType.CONFIG)
        self._rules: dict[str, tuple[str, ...]] = {}

    def refuse_unknown(self, entry: Entry, setting: str) -> None:
        """Raise `ConfigError` for an unknown preset, and for a rule that is one pass."""
        for name in filter(None, (entry.preset, entry.rule)):
            if name not in self._names:
                raise ConfigError(
                    f"{setting} names {name}, which is not a preset; expected one of {', '.join(self._names)}"
                )
        if entry.rule and not self.rule_of(entry.rule):
            raise ConfigError(
                f"{setting} names the rule of {entry.rule}, which is one pass; expected a preset with another rule, "
                "such as sfpo or repeat"
            )

    def all(self, under: Sequence[str]) -> Iterator[Entry]:
        """Yield every preset, and every objective with each of the rules in `under`."""
        for name in self._names:
            yield Entry(name)
            if not self.rule_of(name):
                yield from (Entry(name, rule) for rule in under)

    def rule_of(self, name: str) -> tuple[str, ...]:
        """Return the overrides that select the update rule of a preset, without its trigger.

        Empty for a rule of one pass and for a preset that cannot run here.
        """
        if name not in self._rules:
            try:
                rule = from_node(self._nodes.of([f"algorithm={name}"])).rule
            except ConfigError:
                return ()
            self._rules[name] = () if _kind(rule) == _ONE_PASS else tuple(_overrides(rule))
        return self._rules[name]


def _kind(rule: object) -> str:
    return str(getattr(rule, "kind", ""))


def _overrides(rule: object) -> Iterator[str]:
    """Yield the overrides of a rule: its kind, and every setting that differs from the kind's default."""
    default = type(rule)()
    yield f"algorithm/update_rule={_kind(rule)}"
    for entry in fields(rule):  # type: ignore[arg-type]  # every rule is a dataclass of settings
        value = getattr(rule, entry.name)
        if (
            isinstance(value, (bool, int, float, str))
            and entry.name != "kind"
            and value != getattr(default, entry.name)
        ):
            yield f"algorithm.update_rule.{entry.name}={value.value if isinstance(value, Enum) else value}"
