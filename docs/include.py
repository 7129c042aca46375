"""Write into the pages what other files own: `python -m docs.include`.

A page marks the place: the code block behind `<!-- include: FILE -->` is the text of that file, the table behind
`<!-- include: REPORT.md#HEADING -->` the first one below that heading of a report, spaces written as hyphens, behind
`<!-- include: arrows -->` the one by which tests/test_structure.py holds the imports, behind `methods` that of every
registered method, behind `presets` that of the packaged algorithms.
"""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).parents[1]
_MARK = re.compile(r"(<!-- include: (\S+) -->\n)(?:```python\n.*?```\n|(?:\|[^\n]*\n)*)", re.DOTALL)


def pages() -> list[Path]:
    """The pages that include something."""
    return [page for page in sorted(ROOT.glob("docs/*.md")) if _MARK.search(page.read_text(encoding="utf-8"))]


def included(text: str) -> str:
    """The text of a page with everything it marks as it is now."""
    return _MARK.sub(lambda match: match[1] + _content(match[2]), text)


def _content(name: str) -> str:
    tables = {"arrows": arrows, "methods": methods, "presets": presets}
    if name in tables:
        return tables[name]()
    file, hash_sign, heading = name.partition("#")
    if hash_sign:
        return table_below((ROOT / file).read_text(encoding="utf-8"), heading)
    return f"```python\n{(ROOT / name).read_text(encoding='utf-8')}```\n"


def table_below(report: str, heading: str) -> str:
    """The first table below a heading of a report; raises `ValueError` where there is none."""
    words = "[- ]".join(map(re.escape, heading.split("-")))
    found = re.search(rf"^#+ {words}\n.*?((?:^\|[^\n]*\n)+)", report, re.MULTILINE | re.DOTALL)
    if found is None:
        raise ValueError(f"no table below a heading {heading}")
    return found[1]


def arrows() -> str:
    """What each part of the package may import, as a table; parts that import nothing come first."""
    from tests.test_structure import MAY_IMPORT

    rows = sorted(MAY_IMPORT.items(), key=lambda row: len(row[1]))
    lines = [
        f"| `{part}` | {', '.join(f'`{name}`' for name in sorted(allowed)) or 'nothing'} |" for part, allowed in rows
    ]
    return "\n".join(["| part | may import |", "|:--|:--|", *lines]) + "\n"


def methods() -> str:
    """Every registered method by its facts, group by group."""
    from sfpo_bench.cli.methods import methods as every

    lines = [
        f"| {one.group} | `{one.kind}` | {one.changes} | {_papers(one.paper)} | {one.trust} | {one.extra_passes} | "
        f"{one.extra_memory} |"
        for one in (replace(one, **{name: _cell(text) for name, text in asdict(one).items()}) for one in every())
    ]
    head = ["| group | kind | what it changes | paper | formula | more passes | more memory |", "|:--" * 7 + "|"]
    return "\n".join([*head, *lines]) + "\n"


def presets() -> str:
    """Every packaged algorithm with the first sentence of its comment."""
    lines = []
    for path in sorted((ROOT / "sfpo_bench/conf/algorithm").glob("*.yaml")):
        lead = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("# @")]
        comment = " ".join(
            line.removeprefix("#").strip() for line in takewhile(lambda line: line.startswith("#"), lead)
        )
        first = re.match(r".{20,}?\.(?= |$)", comment)  # "Dr." ends no sentence
        lines.append(f"| `{path.stem}` | {_cell(first[0] if first else comment)} |")
    return "\n".join(["| `algorithm=` | what it is |", "|:--|:--|", *lines]) + "\n"


def _papers(text: str) -> str:
    return re.sub(r"arXiv:(\S+?)(?=,|$)", r"[\1](https://arxiv.org/abs/\1)", text)


def _cell(text: str) -> str:
    """Text that may stand in a cell: no bar ends it, no angle bracket begins a tag."""
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    for page in pages():
        page.write_text(included(page.read_text(encoding="utf-8")), encoding="utf-8")
