"""A user's own objective, update rule, task or reward, named `module:Class` in the configuration."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from sfpo_bench.errors import ConfigError
from sfpo_bench.options import option


@dataclass
class Custom:
    """Stands for a class of the user's own package. A dataclass gets its options typed and checked like our own."""

    kind: str = option("custom", "marks a class from another package")
    factory: str = option("", "the class, as `module:Class`; its package must be installed")
    options: dict[str, Any] = option({}, "fields of the class, as `{name: value}`")


def find(name: str, key: str) -> Any:
    """The object `module:attribute`; `key` is the setting that named it.

    Raises `ConfigError` when the form is wrong, the module does not import or the attribute is missing.
    """
    module_name, colon, attribute = name.partition(":")
    if not (module_name and colon and attribute):
        raise ConfigError(f"{key} = {name!r}: expected `module:Class`, for example my_package.objectives:MyObjective")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(
            f"{key} = {name!r}: importing {module_name} failed ({error}); install the package that has it into this "
            "environment"
        ) from error
    if not hasattr(module, attribute):
        names = ", ".join(name for name in vars(module) if not name.startswith("_"))
        raise ConfigError(f"{key} = {name!r}: {module_name} has no {attribute}; it has {names}")
    return getattr(module, attribute)
