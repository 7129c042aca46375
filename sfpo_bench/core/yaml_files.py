"""Reads YAML files of users and runs, with one error message per kind of damage."""

from __future__ import annotations

import io
from pathlib import Path

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sfpo_bench.core.errors import ConfigError, MissingDataError


def read_yaml(path: Path) -> DictConfig:
    """The settings in a YAML file, with interpolations unresolved.

    Raises `MissingDataError` for a file that cannot be opened, and `ConfigError` for one that is not UTF-8, not YAML (a
    tab that indents, a key twice) or not a mapping.
    """
    if not path.is_file():
        raise MissingDataError(f"{path} is not there; expected a YAML file of settings")
    try:
        node = OmegaConf.load(io.StringIO(path.read_text(encoding="utf-8-sig")))
    except PermissionError as error:
        raise MissingDataError(f"{path} cannot be read ({error}); expected a YAML file of settings") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: {not_utf8(error)}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}{explain_yaml(error)}") from error
    except (OmegaConfBaseException, OSError, ValueError, TypeError, RecursionError) as error:
        text = str(error).splitlines()[0]
        raise ConfigError(
            f"{path} cannot be read as settings ({text}); expected a mapping of names to values"
        ) from error
    if not isinstance(node, DictConfig):
        raise ConfigError(f"{path} holds a list; expected a mapping, names with values such as `seed: 1`")
    return node


def not_utf8(error: UnicodeDecodeError) -> str:
    """The message for a file that is not UTF-8."""
    found = f"found bytes that are not UTF-8 (0x{error.object[error.start]:02x} at {error.start})"
    return f"{found}; save the file as UTF-8"


def explain_yaml(error: yaml.YAMLError) -> str:
    """The position and reason of a YAML error, such as ` line 3: …`, to append to a file name."""
    mark = getattr(error, "problem_mark", None)
    problem = str(getattr(error, "problem", None) or error).splitlines()[0]
    where = f" line {mark.line + 1}" if mark is not None else ""
    if "\\t" in problem:
        return f"{where} begins with a tab; YAML indents with spaces alone: replace the tab"
    if problem.startswith("found duplicate key"):
        return f"{where} has the key {problem.removeprefix('found duplicate key ')} a second time; take one of them out"
    return f"{where} is not YAML ({problem}); correct that line"
