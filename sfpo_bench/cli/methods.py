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
        # A group inside another is in no list of defaults, and has to be added to one.
        add = "+" if "/" in group else ""
        say(f"{group} (choose with {add}{_ALGORITHM.replace('.', '/')}{group}=NAME)")
        for method in (method for method in found if method.group == group):
            say(f"  {method.kind:18} {method.changes}")
            say(f"  {'':18} {method.paper}; {method.trust}")
            say(f"  {'':18} more passes: {method.extra_passes}; more memory: {method.extra_memory}")
        say("")


def methods() -> Iterator[Method]:
    """Every registered kind of an algorithm's parts, but for classes of the user's; the outer parts come first."""
    for key, kinds in reversed(KINDS.items()):
        for kind, cls in kinds.items():
            if key.startswith(_ALGORITHM) and cls is not Custom:
                yield _method(key.removeprefix(_ALGORITHM).replace(".", "/"), kind, cls)


def _method(group: str, kind: str, cls: type) -> Method:
    said = {name: str(getattr(cls, name, getattr(Facts, name))) for name in FACTS}
    needs = getattr(cls(), "needs", None)
    if isinstance(needs, RuleNeeds):  # what plans of memory and time are made from
        said["extra_passes"] = str(needs.passes - 1) if needs.passes > 1 else "none"
        said["extra_memory"] = f"{needs.copies} x the trained weights" if needs.copies else "none"
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
