"""`sfpo-bench methods`: every objective, update rule and the like, with paper, what it changes and what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from omegaconf import DictConfig

from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.algorithms.protocols import RuleNeeds
from sfpo_bench.cli.hydra_store import verb_settings
from sfpo_bench.cli.progress import say
from sfpo_bench.cli.settings import MethodsSettings
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.plugins import Custom
from sfpo_bench.settings.config import KINDS

_ALGORITHM = "algorithm."
FACTS = ("paper", "trust", "changes", "extra_passes", "extra_memory", "unverified")
TRUST = {"V": "verified", "T": "stated by third parties", "?": "unverified"}


@dataclass(frozen=True, slots=True)
class Method:
    """One member of a group, at its default settings: `Method("update_rule", "slow_fast", "arXiv:2510.04072", ...)`."""

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
    """How a member of the group is chosen. One inside another is in the defaults of some presets alone, and elsewhere
    has to be added."""
    own = f"{_ALGORITHM.replace('.', '/')}{group}=NAME"
    return own if "/" not in group else f"{own}, +{own} where the preset has none"


def methods() -> Iterator[Method]:
    """Every registered kind of an algorithm's parts, but for classes of the user's; the outer parts come first."""
    for key, kinds in reversed(KINDS.items()):
        for kind, cls in kinds.items():
            if key.startswith(_ALGORITHM) and cls is not Custom:
                yield _method(key.removeprefix(_ALGORITHM).replace(".", "/"), kind, cls)


def _method(group: str, kind: str, cls: type) -> Method:
    said = {name: str(getattr(cls, name, getattr(Facts, name))) for name in FACTS}
    for name, found in zip(("extra_passes", "extra_memory"), _planned(cls()), strict=True):
        said[name] = found if said[name] == getattr(Facts, name) else said[name]
    trust = f"{TRUST[said['trust']]}: {said['unverified']}".removesuffix(": ")
    return Method(
        group=group,
        kind=kind,
        paper=", ".join(f"arXiv:{number}" for number in said["paper"].split(", ")) if said["paper"] else "no paper",
        trust=trust if said["paper"] else "of this project",
        changes=said["changes"] or (cls.__doc__ or "").splitlines()[0],
        extra_passes=said["extra_passes"],
        extra_memory=said["extra_memory"],
    )


def _planned(method: object) -> tuple[str, str]:
    """Passes and memory beyond GRPO's, from what plans are made of; `none` where a method adds nothing. What a class
    says of itself goes before."""
    needs, passes, memory = getattr(method, "needs", None), "none", "none"
    if isinstance(needs, RuleNeeds):
        passes = str(needs.passes - 1) if needs.passes > 1 else passes
        memory = f"{needs.copies} x the trained weights" if needs.copies else memory
    if getattr(method, "uses_statistics", False):
        passes = "without a gradient: 1 at the start and 1 before each optimizer step"
    rounds = getattr(method, "most_rounds", 1)
    if rounds > 1:
        passes = f"rollouts: up to {rounds} times as many"
    names = getattr(method, "names", ())
    if names:
        passes = f"those of {', '.join(names)}: 1 without a gradient, 1 with one"
        memory = f"{len(names)} model{'s' * (len(names) > 1)} with an optimizer"
    if getattr(method, "moves", False) or getattr(method, "follower", None) is not None:
        memory = "1 x the weights"
    return passes, memory
