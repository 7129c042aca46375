"""The site of `make docs`: every link between its pages holds, and one that does not is named."""

from __future__ import annotations

import re
from pathlib import Path

from docs import make_site

ROOT = Path(__file__).parents[1]


def test_every_link_of_every_page_leads_somewhere(tmp_path: Path) -> None:
    assert make_site.lay_out(ROOT, tmp_path / "pages") == []
    assert (tmp_path / "pages" / "docs" / "figures" / "arithmetic.png").is_file()


def test_a_link_that_leads_nowhere_is_named_and_a_folder_leads_to_its_readme(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "README.md").write_text("[up](../README.md)")
    (tmp_path / "README.md").write_text("[a](docs/a.md#part) [b](docs/b.md) [n](notebooks/) `[c](c.md)` [w](https://x)")
    (tmp_path / "docs" / "a.md").write_text("[home](../README.md)")
    assert make_site.lay_out(tmp_path, tmp_path / "out") == ["README.md: the link to docs/b.md leads nowhere"]
    assert "[n](notebooks/README.md)" in (tmp_path / "out" / "README.md").read_text()


def test_every_page_is_reached_from_the_readme_in_a_plain_checkout() -> None:
    reached, waiting = set(), [Path("README.md")]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        for link in make_site.links((ROOT / page).read_text()):
            target = (ROOT / page.parent / link).resolve()
            waiting.append((target / "README.md" if target.is_dir() else target).relative_to(ROOT))
    assert [page for page in make_site.sources(ROOT) if page not in reached] == []


def test_a_public_name_without_its_place_in_the_reference_is_named(tmp_path: Path) -> None:
    built = tmp_path / "docs" / "api"
    built.mkdir(parents=True)
    for page in (ROOT / "docs" / "api").glob("*.md"):
        [package] = re.findall(r"^::: ([\w.]+)$", page.read_text(), re.MULTILINE)[:1]
        names = __import__(package, fromlist=["__all__"]).__all__
        shown = [name for name in names if name != "verdict"]
        (built / page.with_suffix(".html").name).write_text("".join(f'<a id="{package}.{name}">' for name in shown))
    assert make_site.unexplained(ROOT, tmp_path) == ["docs/api/statistics.md: sfpo_bench.statistics.verdict is missing"]
