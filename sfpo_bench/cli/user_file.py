"""A YAML file of the user's in the place of a packaged primary configuration of `compare`, `sweep` and `study`."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from sfpo_bench.cli.hydra_store import SCHEMAS
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.plugins import look_beside
from sfpo_bench.core.yaml_files import read_yaml
from sfpo_bench.settings.config import RunConfig
from sfpo_bench.settings.shapes import check_shape
from sfpo_bench.settings.written import in_file

SUFFIXES = (".yaml", ".yml")


def is_yaml(wanted: str) -> bool:
    """True for what is the path of a file rather than a name."""
    return wanted.endswith(SUFFIXES)


def hydra_arguments(file: Path, base: str) -> tuple[str, list[str]]:
    """The name by which Hydra finds the file, and the arguments with which it does.

    Raises `ConfigError` for a file that cannot be read, that starts from no other configuration, or whose name Hydra
    would find elsewhere first; `base` is what it should start from.
    """
    if file.suffix != ".yaml":
        raise ConfigError(f"{file} ends in {file.suffix}; Hydra reads files that end in .yaml: rename it")
    if file.stem in packaged_names():
        raise ConfigError(f"{file} has the name of a packaged configuration, which would be read instead; rename it")
    content = read_yaml(file)
    for written in in_file(file):
        check_shape(RunConfig(), written.key, written.value, str(file))
    if "defaults" not in content:
        raise ConfigError(
            f"{file} has no `defaults`; begin it with `defaults: [{base}, _self_]`: what it changes then stands on the "
            f"settings of `{base}`"
        )
    look_beside(file)
    return file.stem, [f"--config-dir={file.parent.resolve()}"]


def packaged_names() -> set[str]:
    """The names under which Hydra finds a configuration of this package."""
    packaged = {entry.name for entry in files("sfpo_bench.conf").iterdir() if entry.name.endswith(".yaml")}
    return {name.removesuffix(".yaml") for name in packaged} | set(SCHEMAS)
