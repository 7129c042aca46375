"""Write into the pages what other files own: `python -m docs.include`.

A page marks the place: the code block behind `<!-- include: FILE -->` is the text of that file, the table behind
`<!-- include: arrows -->` is the one by which tests/test_structure.py holds the imports.
"""

from __future__ import annotations

import re
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
    if name == "arrows":
        return arrows()
    return f"```python\n{(ROOT / name).read_text(encoding='utf-8')}```\n"


def arrows() -> str:
    """What each part of the package may import, as a table; parts that import nothing come first."""
    from tests.test_structure import MAY_IMPORT

    rows = sorted(MAY_IMPORT.items(), key=lambda row: len(row[1]))
    lines = [
        f"| `{part}` | {', '.join(f'`{name}`' for name in sorted(allowed)) or 'nothing'} |" for part, allowed in rows
    ]
    return "\n".join(["| part | may import |", "|:--|:--|", *lines]) + "\n"


if __name__ == "__main__":
    for page in pages():
        page.write_text(included(page.read_text(encoding="utf-8")), encoding="utf-8")
