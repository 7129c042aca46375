"""`sfpo-bench methods`: lists every algorithm component with its paper, what it changes and what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from omegaconf import DictConfig

from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.cli.hydra_store import verb_settings
from sfpo_bench.cli.progress import say
from sfpo_bench.cli.settings import MethodsSettings
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.plugins import Custom
from sfpo_bench.reports.method_facts import TRUST, planned
from sfpo_bench.settings.config import KINDS

_ALGORITHM = "algorithm."
FACTS = ("paper", "trust", "changes", "extra_passes", "extra_memory", "unverified")


@dataclass(frozen=True, slots=True)
class Method:
    """A component at its default settings: `Method("update_rule", "slow_fast", "arXiv:2510.04072", ...)`."""

    group: str
    kind: str
    paper: str
    trust: str
    changes: str
    extra_passes: str
    extra_memory: str


def act(node: DictConfig) -> None:
    settings = verb_settings(node, MethodsSettings)
    found = list(methods())
    groups = list(dict.fromkeys(method.group for method in found))
    if settings.of and settings.of not in groups:
        raise ConfigError(f"of = {settings.of!r} is no group of methods; expected one of {', '.join(groups)}")
    for group in [settings.of] if settings.of else groups:
        say(f"{group} (choose with {choice(group)})")
        for method in (method for method in found if method.group == group):
            say(f"  {method.kind:18} {method.changes}")
            say(f"  {'':18} {method.paper}; {method.trust}")
            say(f"  {'':18} more passes: {method.extra_passes}; more memory: {method.extra_memory}")
        say("")


def choice(group: str) -> str:
    """Return the override that chooses a member of the group.

    Only some presets contain a nested group in their defaults; elsewhere it has to be added with `+`.
    """
    own = f"{_ALGORITHM.replace('.', '/')}{group}=NAME"
    return own if "/" not in group else f"{own}, +{own} where the preset has none"


def methods() -> Iterator[Method]:
    """Yield every registered algorithm component except custom classes, outer components first."""
    for key, kinds in reversed(KINDS.items()):
        for kind, cls in kinds.items():
            if key.startswith(_ALGORITHM) and cls is not Custom:
                yield _method(key.removeprefix(_ALGORITHM).replace(".", "/"), kind, cls)


def _method(group: str, kind: str, cls: type) -> Method:
    facts = {name: str(getattr(cls, name, getattr(Facts, name))) for name in FACTS}
    for name, found in zip(("extra_passes", "extra_memory"), planned(cls()), strict=True):
        facts[name] = found if facts[name] == getattr(Facts, name) else facts[name]
    trust = f"{TRUST[facts['trust']]}: {facts['unverified']}".removesuffix(": ")
    return Method(
        group=group,
        kind=kind,
        paper=", ".join(f"arXiv:{number}" for number in facts["paper"].split(", ")) if facts["paper"] else "no paper",
        trust=trust if facts["paper"] else "of this project",
        changes=facts["changes"] or (cls.__doc__ or "").splitlines()[0],
        extra_passes=facts["extra_passes"],
        extra_memory=facts["extra_memory"],
    )
