"""Lay out the pages of the site and build it: `make docs`, or `python docs/make_site.py`.

The pages link to each other, to figures and to files of the repository as a checkout has them. MkDocs reads one folder
of pages; so every page, and every file that a page links to, is copied to build/pages at its own path, and every link
holds there as it does in the checkout. A link to a folder leads to the README.md in it. A link that leads nowhere is an
error, and so is a public name without its place in the API reference.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES, SITE = Path("build", "pages"), Path("build", "site")
_TOP = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def sources(root: Path) -> list[Path]:
    """Every page of the site by its path in the repository."""
    found = [*(root / name for name in _TOP), *root.glob("docs/**/*.md"), *root.glob("[!.]*/README.md")]
    return sorted(path.relative_to(root) for path in found if path.is_file())


def links(text: str) -> Iterator[str]:
    """Targets of a page's links that are files or folders, without the anchor; no web addresses, nothing in code."""
    for target in sorted(set(re.findall(r"\]\(([^)#\s]+)[)#]", _CODE.sub("", text)))):
        if "://" not in target:
            yield target


def lay_out(root: Path, into: Path) -> list[str]:
    """Fill the folder `into` with the pages; returns a line for each link that leads nowhere."""
    shutil.rmtree(into, ignore_errors=True)
    faults = []
    for page in sources(root):
        text = (root / page).read_text(encoding="utf-8")
        for link in links(text):
            target = Path(os.path.normpath(page.parent / link))
            if (root / target / "README.md").is_file():
                text = re.sub(rf"\]\({re.escape(link)}(?=[)#])", f"]({link.rstrip('/')}/README.md", text)
            elif not (root / target).is_file():
                faults.append(f"{page}: the link to {link} leads nowhere")
            elif target.suffix != ".md":
                shutil.copyfile(root / target, _place(into / target))
        _place(into / page).write_text(text, encoding="utf-8")
    return faults


def _place(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def unexplained(root: Path, site: Path) -> list[str]:
    """A line for each public name that the built API reference lacks."""
    faults = []
    for page in sorted(root.glob("docs/api/*.md")):
        [package] = re.findall(r"^::: (sfpo_bench(?:\.\w+)?)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        built = (site / page.relative_to(root).with_suffix(".html")).read_text(encoding="utf-8")
        for name in import_module(package).__all__:
            if not re.search(rf'id="{re.escape(package)}\.(?:\w+\.)?{name}"', built):
                faults.append(f"{page.relative_to(root)}: {package}.{name} is missing")
    return faults


def main() -> int:
    faults = lay_out(ROOT, ROOT / PAGES)
    if not faults:
        # Material's word on the future of MkDocs is not about these pages.
        environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
        # Not --quiet: with it, warnings are not counted and --strict fails on nothing.
        build = [sys.executable, "-m", "mkdocs", "build", "--strict"]
        if subprocess.run(build, cwd=ROOT, env=environment).returncode:
            return 1
        faults = unexplained(ROOT, ROOT / SITE)
    if faults:
        print(*faults, sep="\n", file=sys.stderr)
        return 1
    print(SITE / "index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
