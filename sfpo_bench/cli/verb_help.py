"""The settings of a verb, from their declarations."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from enum import Enum
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from sfpo_bench.cli.usage import USAGE, VERBS
from sfpo_bench.config import KINDS, RunConfig
from sfpo_bench.evaluation.settings import EvaluateSettings
from sfpo_bench.hydra_store import VERB_SETTINGS
from sfpo_bench.options import IsDataclass, settings
from sfpo_bench.problem_sets import known_sets


def verb_help(verb: str) -> str:
    """Usage, groups and every setting with default, range and meaning."""
    lines = [f"sfpo-bench {verb}: {VERBS[verb]}", ""]
    if verb in VERB_SETTINGS:
        lines += _describe(VERB_SETTINGS[verb](), "")
    elif verb == "evaluate":
        lines += ["groups (choose with group=name): model rollout tracking launcher", ""]
        lines += ["settings (change with key=value):", *_describe(EvaluateSettings(), "")]
        lines += ["", "suites: " + " ".join(known_sets("suites"))]
        lines += ["benchmarks: " + " ".join(known_sets("benchmarks"))]
        lines += ["prompts: " + " ".join(known_sets("prompts"))]
        for key in ("model", "rollout", "launcher"):
            for kind, cls in KINDS[key].items():
                lines += [
                    "",
                    f"{key} of kind {kind}: {(cls.__doc__ or '').splitlines()[0]}",
                    *_describe(cls(), f"{key}."),
                ]
    else:
        lines += ["groups (choose with group=name):", *_groups(), "", "settings (change with key=value):"]
        lines += _describe(RunConfig(), "")
        for key, kinds in KINDS.items():
            for kind, cls in kinds.items():
                lines += ["", f"{key} of kind {kind}: {(cls.__doc__ or '').splitlines()[0]}"]
                lines += _describe(cls(), f"{key}.")
    lines += ["", *(line for line in USAGE.splitlines() if f"sfpo-bench {verb}" in line)]
    return "\n".join(lines)


def _groups() -> list[str]:
    found: dict[str, list[str]] = {group: [] for group in ("experiment", "study", "algorithm", "learner", "tracking")}
    for group, names in found.items():
        folder = files("sfpo_bench.conf") / group
        names += sorted(_configs(folder))
    found |= {key.replace(".", "/"): list(kinds) for key, kinds in reversed(KINDS.items())}
    return [f"  {group:32} {' '.join(names)}" for group, names in found.items()]


def _configs(folder: Traversable, prefix: str = "") -> Iterator[str]:
    """Names of a group's configurations; those in a folder of the group are `folder/name`."""
    for entry in folder.iterdir():
        if entry.name.endswith(".yaml"):
            yield prefix + entry.name.removesuffix(".yaml")
        elif entry.is_dir() and prefix == "" and folder.name == "experiment":
            yield from _configs(entry, f"{entry.name}/")


def _describe(node: IsDataclass, prefix: str) -> list[str]:
    return [
        f"  {setting.key} = {_text(setting.value)}    {setting.option.doc} {setting.option.range_text()}".rstrip()
        for setting in settings(node, prefix)
        if setting.value is not None and not dataclasses.is_dataclass(setting.value)
    ]


def _text(value: Any) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    return "''" if value == "" else str(value)
