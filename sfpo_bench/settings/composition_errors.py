"""Readable messages for composition errors of Hydra and OmegaConf."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from importlib.resources import files

from omegaconf.errors import OmegaConfBaseException

from sfpo_bench.core.errors import did_you_mean

# What OmegaConf says, and how this package says it.
_PLAIN = (
    (r"Value '(.*)' of type '\w+' could not be converted to Float", r"found '\1', expected a number"),
    (r"Value '(.*)' of type '\w+' could not be converted to Integer", r"found '\1', expected a whole number"),
    (r"Value '(.*)' is not a valid bool", r"found '\1', expected true or false"),
    (r"Interpolation key '(.*)' not found", r"${\1} names no setting; expected the full name of one, as in ${seed}"),
    (r"Environment variable '(.*)' not found", r"the environment variable \1 is not set; expected one, or a default: "
     r"${oc.env:\1,DEFAULT}"),
)  # fmt: skip


def _no_hint(key: str) -> str:
    return ""


def explain(error: OmegaConfBaseException, prefix: str = "", hint_for: Callable[[str], str] = _no_hint) -> str:
    """The message for an OmegaConf error: what was found, its key, and the known keys.

    `hint_for` returns a hint for an unknown key, or an empty text; then a known key of similar spelling is named.
    """
    key = ".".join(part for part in (prefix, str(error.full_key or "")) if part)
    text = str(error.msg or error).splitlines()[0]
    if no_group := re.search(r"(?:value assigned|assigned|error): \w+ is not a subclass of \w+\. value: (.*)", text):
        return f"{key or 'a setting'} is {no_group[1]}, expected a group of settings: write {key or 'it'}.NAME=VALUE"
    for pattern, message in _PLAIN:
        if found := re.search(pattern, text):
            said = found.expand(message)
            return f"{key}: {said}" if key else said
    cls = error.object_type
    known = [f.name for f in dataclasses.fields(cls)] if cls is not None and dataclasses.is_dataclass(cls) else []
    if not known or (error.key is not None and str(error.key) in known):
        return f"{key}: {text}" if key else text
    hint = hint_for(key) or did_you_mean(str(error.key), known)
    group = key.rpartition(".")[0]
    return f"{key} is not a setting; {hint}{f'{group} has' if group else 'there are'} {', '.join(known)}"


def explain_composition(error: Exception, hint_for: Callable[[str], str] = _no_hint) -> str:
    """The message for Hydra's chain of errors; `hint_for` as in `explain`."""
    chain: list[BaseException] = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    for link in chain:
        if isinstance(link, OmegaConfBaseException):
            return explain(link, hint_for=hint_for)
    lines = [line.strip() for line in str(chain[0]).splitlines() if line.strip()]
    text = " ".join(line for line in lines if not line.startswith("See https"))
    return _of_preset(text) or text.split(" Config search path:")[0] + _nested_options(text)


def _of_preset(text: str) -> str:
    """The message for a preset that sets keys its chosen part does not have; empty for other errors."""
    found = re.search(r"In 'algorithm/([^']+)': .*Key '[^']+' not in '(\w+)'.* full_key: ([\w.]+)", text)
    if found is None:
        return ""
    preset, cls, key = found.groups()
    part = key.rpartition(".")[0]
    return (
        f"algorithm={preset} sets {key}, which the chosen {part} ({cls}) does not have; choose that part in a preset "
        f"that sets nothing inside it, such as algorithm=grpo {part.replace('.', '/')}=NAME, and add what you want "
        f"of {preset} to it"
    )


def _nested_options(text: str) -> str:
    """Names of experiments in subfolders, which Hydra does not list."""
    if "Available options in 'experiment':" not in text:
        return ""
    folders = [one for one in (files("sfpo_bench.conf") / "experiment").iterdir() if one.is_dir()]
    names = [f"{folder.name}/{file.name}" for folder in folders for file in folder.iterdir()]
    return "".join(f" {name.removesuffix('.yaml')}" for name in sorted(names) if name.endswith(".yaml"))
