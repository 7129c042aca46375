"""Registers every schema with Hydra's config store, so that groups such as `task=jsonl` are typed."""

from __future__ import annotations

import dataclasses
from typing import TypeVar, cast, get_type_hints

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from sfpo_bench.cli import settings as verbs
from sfpo_bench.core.options import check_ranges
from sfpo_bench.settings import config
from sfpo_bench.settings.evaluation import EvaluateSettings

GROUPS = {key.replace(".", "/"): kinds for key, kinds in config.KINDS.items()}
VERB_SETTINGS = {
    "report": verbs.ReportSettings,
    "scores": verbs.ScoresSettings,
    "import": verbs.ImportSettings,
    "published": verbs.PublishedSettings,
    "methods": verbs.MethodsSettings,
    "overlap": verbs.OverlapSettings,
    "list": verbs.ListSettings,
    "show": verbs.ShowSettings,
    "export": verbs.ExportSettings,
    "export-logs": verbs.ExportLogsSettings,
    "extrapolate": verbs.ExtrapolateSettings,
    "fetch": verbs.FetchSettings,
    "sync": verbs.SyncSettings,
    "doctor": verbs.DoctorSettings,
    "grade": verbs.GradeSettings,
}

# Schemas that Hydra finds by name, without a file.
SCHEMAS = {"run_schema": config.RunConfig, "evaluate_schema": EvaluateSettings, **VERB_SETTINGS}


def schema_of(verb: str) -> type:
    """Return the settings class of a verb."""
    return EvaluateSettings if verb == "evaluate" else VERB_SETTINGS.get(verb, config.RunConfig)


VerbSettings = TypeVar("VerbSettings")


def verb_settings(node: DictConfig, schema: type[VerbSettings]) -> VerbSettings:
    """Return the checked settings of a verb that does not train."""
    made = cast(VerbSettings, OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), node)))
    check_ranges(made)  # type: ignore[arg-type]  # every schema is a dataclass
    return made


def register() -> None:
    """Put the schemas into Hydra's store; idempotent."""
    store = ConfigStore.instance()
    if f"{next(iter(SCHEMAS))}.yaml" in store.repo:  # Hydra 1.4 warns of a name that is stored again
        return
    for name, schema in SCHEMAS.items():
        store.store(name=name, node=schema)
    for group, kinds in GROUPS.items():
        for kind, cls in kinds.items():
            store.store(group=group, name=kind, node=_schema(group, cls))


def _schema(group: str, cls: type) -> DictConfig:
    """Return the structured config from which Hydra composes a node of `cls`.

    OmegaConf merges only nodes of the same class. A nested field that is a group of its own is therefore typed with
    the class that the field declares, not with the class of its default.
    """
    node = cast(DictConfig, OmegaConf.structured(cls))
    for field in dataclasses.fields(cls):
        if f"{group}/{field.name}" in GROUPS:
            declared = get_type_hints(cls)[field.name]
            node[field.name] = OmegaConf.merge(OmegaConf.structured(declared), OmegaConf.to_container(node[field.name]))
    return node
