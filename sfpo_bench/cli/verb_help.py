"""Help text of a verb, made from the declarations of its settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import groupby
from typing import Any

from sfpo_bench.algorithms.facts import first_line
from sfpo_bench.cli.hydra_store import VERB_SETTINGS
from sfpo_bench.cli.usage import USAGE, VERBS
from sfpo_bench.core.options import Setting, settings
from sfpo_bench.problems.sets import known_sets
from sfpo_bench.settings.config import KINDS, RunConfig
from sfpo_bench.settings.evaluation import EvaluateSettings
from sfpo_bench.settings.overruled import SettingsReader, overruled

# Packaged config groups that are not registered kinds, for the verbs that train.
_PACKAGED = ("experiment", "algorithm", "learner", "tracking")
_MOST_PLACES = 3  # settings named in one hint
_OWN_SECTION = {"compare": "comparison"}  # other verbs: a section named like the verb, or none


def verb_help(verb: str, arguments: Sequence[str] = ()) -> str:
    """Return usage, choices and the settings that the verb reads: default, range and meaning, its own section first.

    The settings of a kind appear when `arguments` choose it, for example `task=jsonl`.
    """
    lines = [f"sfpo-bench {verb}: {VERBS[verb]}", *_examples(verb)]
    read, kinds = settings_of(verb)
    if verb in VERB_SETTINGS:
        return "\n".join([*lines, "", *_described(read)])
    if verb == "evaluate":
        lines += ["", "choices:"]
        lines += [f"  {what:20} {' '.join(known_sets(what))}" for what in ("suites", "benchmarks", "prompts")]
    else:
        lines += ["", "groups (choose with group=name):", *_packaged(verb)]
    lines += ["", "kinds (choose with group=kind; the settings of a kind: the same with --help behind it):"]
    lines += [f"  {key.replace('.', '/'):32} {' '.join(found)}" for key, found in kinds.items()]
    return "\n".join([*lines, *_sections(verb, read), *_chosen_kinds(kinds, arguments)])


def settings_of(verb: str) -> tuple[list[Setting], Mapping[str, Mapping[str, type]]]:
    """Return the settings that a verb reads, and its groups: by key, the class of each kind."""
    if verb in VERB_SETTINGS:
        return list(settings(VERB_SETTINGS[verb]())), {}
    if verb == "evaluate":
        return list(settings(EvaluateSettings())), {key: KINDS[key] for key in ("model", "rollout", "launcher")}
    read = [setting for setting in settings(RunConfig()) if _reads(verb, setting.key)]
    return read, {key: found for key, found in reversed(KINDS.items()) if _reads(verb, key)}


def other_places(verb: str, key: str) -> str:
    """Return the hint for an unknown key whose last word a setting of the verb has; empty if none does.

    `model.path` is a setting of another kind of the model, and `steps` one of `training`.
    """
    read, kinds = settings_of(verb)
    of_kinds = {
        f"{group.replace('.', '/')}={kind}": {setting.key for setting in settings(cls(), f"{group}.")}
        for group, classes in kinds.items()
        for kind, cls in classes.items()
    }
    if having := [choice for choice, keys in of_kinds.items() if key in keys]:
        return f"it is one with {' or '.join(having)}; "
    last = key.rpartition(".")[2]
    places = {setting.key for setting in read}.union(*of_kinds.values())
    close = sorted(place for place in places if "." in place and place.rpartition(".")[2] == last)
    return f"did you mean {' or '.join(close)}? " if 0 < len(close) <= _MOST_PLACES else ""


def _examples(verb: str) -> list[str]:
    return [line for line in USAGE.splitlines() if f"sfpo-bench {verb}" in line]


def _reads(verb: str, key: str) -> bool:
    return overruled(SettingsReader(verb), key) is None


def _packaged(verb: str) -> Iterator[str]:
    for group in (*_PACKAGED, *(["study"] if verb == "study" else [])):
        names = sorted(_configs(files("sfpo_bench.conf") / group))
        yield f"  {group:12} {' '.join(names)}"


def _configs(folder: Traversable, prefix: str = "") -> Iterator[str]:
    """Yield the names of a group's configurations, `folder/name` for those in a subfolder."""
    for entry in folder.iterdir():
        if entry.name.endswith(".yaml"):
            yield prefix + entry.name.removesuffix(".yaml")
        elif entry.is_dir() and prefix == "" and folder.name == "experiment":
            yield from _configs(entry, f"{entry.name}/")


def _sections(verb: str, read: Sequence[Setting]) -> Iterator[str]:
    """Yield settings by section: the verb's section first, then top-level settings, then the others as declared."""
    docs = {setting.key: setting.option.doc for setting in read}
    found = [(name, list(rows)) for name, rows in groupby(read, key=lambda setting: _section(setting.key))]
    merged: dict[str, list[Setting]] = {}
    for name, rows in found:
        merged.setdefault(name, []).extend(rows)
    own = _OWN_SECTION.get(verb, verb)
    for name in sorted(merged, key=lambda name: (name != own, name != "")):
        described = _described(merged[name])
        if described:
            yield ""
            yield f"{name}: {docs[name]}" if name else "settings (change with key=value):"
            yield from described


def _section(key: str) -> str:
    first, dot, _ = key.partition(".")
    return first if dot else ""


def _chosen_kinds(kinds: Mapping[str, Mapping[str, type]], arguments: Sequence[str]) -> Iterator[str]:
    for key, found in kinds.items():
        for kind, cls in found.items():
            if f"{key.replace('.', '/')}={kind}" in arguments:
                yield ""
                yield f"{key} of kind {kind}: {first_line(cls)}"
                yield from _described(settings(cls(), f"{key}."))


def _described(found: Sequence[Setting] | Iterator[Setting]) -> list[str]:
    return [
        f"  {setting.key} = {_text(setting.value)}    {setting.option.doc} {setting.option.range_text()}".rstrip()
        for setting in found
        if setting.value is not None and not dataclasses.is_dataclass(setting.value)
    ]


def _text(value: Any) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    return "''" if value == "" else str(value)
