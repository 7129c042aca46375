"""Checks of the modules beside the policy: their names and their use."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sfpo_bench.algorithms.modules.names import answers_to
from sfpo_bench.algorithms.modules.protocol import Modules
from sfpo_bench.algorithms.protocols import StepMethod
from sfpo_bench.core.errors import ConfigError


def check_modules(modules: Modules, methods: Sequence[StepMethod], group: int) -> None:
    """Raise `ConfigError` for an advantage whose modules are missing, and for modules that no method uses."""
    trained = modules.names
    _check_names("algorithm.modules", trained)
    modules.check("algorithm.modules", group)
    needed: set[str] = set()
    for method in methods:
        _check_names(f"{method.place}.advantage", method.advantage.modules)
        lacking = [name for name in method.advantage.modules if not _trains(trained, name)]
        if lacking:
            raise ConfigError(
                f"{method.place}.advantage needs scores of {', '.join(lacking)}, which is not trained "
                f"(algorithm.modules trains {', '.join(trained) or 'the policy alone'}); choose "
                "algorithm/modules=critic, or another advantage"
            )
        needed |= set(method.advantage.modules)
        if len(trained) < method.objective.least_modules:
            raise ConfigError(
                f"{method.place}.objective compares the scores of at least {method.objective.least_modules} modules "
                f"beside the policy, and algorithm.modules trains {', '.join(trained) or 'the policy alone'}; choose "
                "algorithm/modules=mini_critics with algorithm/advantage=gae, or another mask and penalty"
            )
    compared = any(method.objective.least_modules for method in methods)
    idle = [] if compared else [module for module in trained if not any(answers_to(module, name) for name in needed)]
    if idle:
        raise ConfigError(
            f"algorithm.modules trains {', '.join(idle)}, whose scores no advantage needs; choose "
            "algorithm/advantage=gae, or algorithm/modules=policy"
        )


def _trains(trained: Sequence[str], name: str) -> bool:
    return any(answers_to(module, name) for module in trained)


def _check_names(key: str, found: object) -> None:
    """Raise `ConfigError` for module names that cannot be used for files and metrics."""
    each = list(found) if isinstance(found, (list, tuple)) else [found]
    right = [isinstance(name, str) and re.fullmatch("[a-z][a-z0-9_]*", name) and name != "policy" for name in each]
    if not isinstance(found, (list, tuple)) or not all(right) or len(set(each)) < len(each):
        raise ConfigError(
            f"{key} names the modules {found!r}; expected a tuple of names, each once, in lower-case letters, digits "
            "and _, and none of them policy: fix its class"
        )
