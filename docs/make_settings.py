"""Write docs/settings.md from the declared settings: `python docs/make_settings.py`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from enum import Enum
from itertools import groupby
from pathlib import Path

from sfpo_bench.algorithms.facts import first_line
from sfpo_bench.algorithms.phases import PhaseSettings
from sfpo_bench.cli.hydra_store import VERB_SETTINGS
from sfpo_bench.cli.usage import VERBS
from sfpo_bench.core.options import IsDataclass, Option, Setting, settings
from sfpo_bench.settings.comparison import ArmSettings
from sfpo_bench.settings.config import KINDS, RunConfig
from sfpo_bench.settings.evaluation import EvaluateSettings
from sfpo_bench.settings.reposition import ConditionSettings
from sfpo_bench.settings.search import GoalSettings, ParameterSettings

PAGE = Path(__file__).parent / "settings.md"
# What an entry of a mapping may have; NAME is yours.
ENTRIES: dict[str, type] = {
    "algorithm.phases.named.NAME.": PhaseSettings,
    "comparison.arms.NAME.": ArmSettings,
    "sweep.parameters.NAME.": ParameterSettings,
    "sweep.goals.NAME.": GoalSettings,
    "study.reposition.conditions.NAME.": ConditionSettings,
}
HEAD = """# Settings

After this page you know every setting, its default, its range and what it means. The page is made from the declarations
in the code by `python docs/make_settings.py`; edit those, not the page.

A setting is changed with `key=value` on the command line, in an arm's `overrides`, or in a file of yours. A group is
chosen with `group=kind`, such as `task=jsonl` or `algorithm/objective=clipped`; a part of an objective with a `+`, as
in `+algorithm/objective/ratio=sequence`. An experiment has values of its own: `sfpo-bench train --cfg job` prints those
that a run would get. Each verb lists its settings with `--help`. A value outside its range is an error before
anything runs. What the terms mean: [glossary](glossary.md).
"""


def page() -> str:
    """The whole page: settings of runs by section, kinds of each group, settings of the other verbs."""
    parts = [HEAD, "## Runs, comparisons, sweeps and studies\n"]
    for section, rows in groupby(_shown(RunConfig()), key=_section):
        parts += [f"### `{section}`\n"] if section else []
        parts.append(_table(list(rows)))
    parts.append(
        "## Entries of `algorithm.phases.named`, `comparison.arms`, `sweep` and `study.reposition.conditions`\n"
    )
    parts += [_table(list(settings(schema(), prefix))) for prefix, schema in ENTRIES.items()]
    parts.append("## Kinds\n")
    for group, kinds in reversed(KINDS.items()):
        parts.append(f"### Kinds of `{group}`\n")
        for kind, cls in kinds.items():
            parts.append(f"**`{kind}`**: {_cell(first_line(cls))}\n")
            own = [setting for setting in _shown(cls(), f"{group}.") if not setting.key.endswith(".kind")]
            parts += [_table(own)] if own else []
    parts.append("## Other verbs\n")
    for verb, schema in {"evaluate": EvaluateSettings, **VERB_SETTINGS}.items():
        parts += [f"### `sfpo-bench {verb}`\n", f"{VERBS[verb]}\n", _table(list(_shown(schema())))]
    return "\n".join(parts)


def _shown(node: IsDataclass, prefix: str = "") -> Iterator[Setting]:
    """Settings that have a value of their own; a group's value is one of its kinds."""
    for setting in settings(node, prefix):
        if setting.value is not None and not dataclasses.is_dataclass(setting.value):
            yield setting


def _section(setting: Setting) -> str:
    first, dot, _ = setting.key.partition(".")
    return first if dot else ""


def _table(rows: list[Setting]) -> str:
    lines = ["| setting | default | range | meaning |", "|:--|:--|:--|:--|"]
    lines += [f"| `{row.key}` | {_default(row.value)} | {_range(row)} | {_cell(row.option.doc)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _default(value: object) -> str:
    if isinstance(value, Enum):
        value = value.value
    return "(empty)" if value in ("", None) else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _range(row: Setting) -> str:
    if isinstance(row.value, Enum):
        return ", ".join(f"`{member.value}`" for member in type(row.value))
    return _cell(_range_text(row.option))


def _range_text(declared: Option) -> str:
    return declared.range_text().replace("inf", "∞")


def _cell(text: str) -> str:
    """Text that may stand in a cell: no bar ends it, no angle bracket begins a tag."""
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.exit(0)
