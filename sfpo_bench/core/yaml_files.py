"""Reads YAML files of users and runs, with one error message per kind of damage."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from sfpo_bench.core.errors import ConfigError, MissingDataError

if TYPE_CHECKING:
    from omegaconf import DictConfig

_MOST_VALUES, _DEEPEST = 50_000, 50


def read_yaml(path: Path) -> DictConfig:
    """The settings in a YAML file, with interpolations unresolved.

    Raises `MissingDataError` for a file that cannot be opened, and `ConfigError` for one that is not UTF-8, not YAML (a
    tab that indents, a key twice) or not a mapping.
    """
    # Only here: engine and learner need no settings in YAML, and so not this library.
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if not path.is_file():
        raise MissingDataError(f"{path} is not there; expected a YAML file of settings")
    try:
        text = path.read_text(encoding="utf-8-sig")
        check_yaml_size(text, str(path))
        node = OmegaConf.load(io.StringIO(text))
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


def plain_yaml(path: Path) -> object:
    """Return the content of a YAML file as plain values; raises `OSError`, `yaml.YAMLError` or `ConfigError`."""
    text = path.read_text(encoding="utf-8")
    check_yaml_size(text, str(path))
    return yaml.safe_load(text)


def check_yaml_size(text: str, place: str) -> None:
    """Raise `ConfigError` for YAML that is nested too deeply, or too large once its aliases are written out.

    A few lines of aliases to aliases stand for billions of values. Raises `yaml.YAMLError` for what is not YAML.
    """
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []  # anchor, and how many values came before
    values = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        anchor = getattr(event, "anchor", None)
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            sizes |= {anchor: values - before} if anchor else {}
            continue
        values += sizes.get(anchor, 1) if isinstance(event, yaml.AliasEvent) and anchor else 1
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((anchor, values - 1))
        elif isinstance(event, yaml.ScalarEvent) and anchor:
            sizes[anchor] = 1
        if values > _MOST_VALUES or len(open_nodes) > _DEEPEST:
            raise ConfigError(
                f"{place} would unfold to more than {_MOST_VALUES:,} values or {_DEEPEST} levels; expected settings: "
                "take out aliases (*name) that contain one another"
            )


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
