"""Uses a user's YAML file as the primary configuration of `compare`, `sweep` or `study`."""

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
    """Return True if `wanted` is a path of a YAML file rather than a name."""
    return wanted.endswith(SUFFIXES)


def hydra_arguments(file: Path, base: str) -> tuple[str, list[str]]:
    """Return the name under which Hydra finds the file, and the arguments that make it do so.

    `base` is the configuration that the file should start from. Raises `ConfigError` for a file that cannot be read,
    has no `defaults`, or has the name of a configuration that Hydra finds elsewhere first.
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
            f"{file} has no `defaults`; begin it with `defaults: [{base}, _self_]`, so that it changes the "
            f"settings of `{base}`"
        )
    look_beside(file)
    return file.stem, [f"--config-dir={file.parent.resolve()}"]


def packaged_names() -> set[str]:
    """Return the names under which Hydra finds a packaged configuration."""
    packaged = {entry.name for entry in files("sfpo_bench.conf").iterdir() if entry.name.endswith(".yaml")}
    return {name.removesuffix(".yaml") for name in packaged} | set(SCHEMAS)
