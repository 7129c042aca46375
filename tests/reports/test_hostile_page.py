"""A page whose every name and text tries to be markup: parsed, and opened in a browser where there is one."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sfpo_bench.reports.html import simple_page
from sfpo_bench.reports.write import ReportFiles, write_report
from sfpo_bench.results.run_folder import RunState
from tests.reports.comparison_folder import Folder, Run
from tests.reports.test_html_and_latex import every_kind

PLAIN = "plain"
TRIES = (
    "<script>new Image().src='http://hostile.example/a'</script>",
    "</title></style><style>body{background:url(http://hostile.example/b)}</style>",
    "\"><img src=http://hostile.example/c onerror=\"document.title='taken'\">",
    "' onmouseover='x' style='background:url(http://hostile.example/d)",
    "<a href=\"javascript:document.title='taken'\">x</a>",
    "</td></tr></table><iframe src=http://hostile.example/e></iframe>",
    "<meta http-equiv=refresh content='0;url=http://hostile.example/f'><base href=http://hostile.example/>",
    "<svg onload=alert(1)><foreignObject><link rel=stylesheet href=http://hostile.example/g>",
    "<!--", "-->", "]]>", "<![CDATA[", "&lt;script&gt;", "&#x3c;script&#x3e;", "\u003cscript\u003e", "<\x00script>",
    "\u2028<script>", "\uff1cscript\uff1e", "[x](javascript:alert(1))", "![x](http://hostile.example/h)",
    "<form action=http://hostile.example/i><input autofocus onfocus=alert(1)>", "javascript:alert(1)", "{{7*7}} ${7*7}",
)  # fmt: skip
VALUES = re.compile(r"#?runs-[\w.~-]*|runs/[\w%.~-]+/seed-\d{4}/|data:image/svg\+xml;base64,[A-Za-z0-9+/=]+|left|wide")


class Parsed(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.style, self._inside = "", ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.attributes += [(tag, name, value) for name, value in attrs]
        self._inside = tag

    def handle_comment(self, data: str) -> None:
        self.elements["a comment"] += 1

    def unknown_decl(self, data: str) -> None:
        self.elements["a declaration"] += 1

    def handle_data(self, data: str) -> None:
        if self._inside == "style":
            self.style += data
        self._inside = "" if "<" not in data else self._inside

    def policy(self) -> str:
        return next(value or "" for tag, name, value in self.attributes if (tag, name) == ("meta", "content"))


def written(folder: Path, texts: tuple[str, ...]) -> ReportFiles:
    """A report with these texts as labels, settings, their values, and the cause of a failure."""
    arms = {f"arm{number}": text for number, text in enumerate(texts)}
    runs = {arm: {0: Run((0.1, 0.2, 0.6)), 1: Run((0.1, 0.4, 0.6))} for arm in arms}
    runs["arm0"][1] = replace(runs["arm0"][1], state=RunState.failed, cause=" ".join(texts))
    settings = {f"setting {number} {text}": text for number, text in enumerate(texts)}
    made = Folder(runs, baseline="arm1", labels=dict(arms), settings=settings)
    return write_report(made.write(folder))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("comparison"), TRIES[:8]).page


def test_no_element_or_attribute_of_a_block_comes_from_a_text() -> None:
    plain = Parsed(simple_page(PLAIN, every_kind(PLAIN), {}))
    for text in TRIES:
        hostile = Parsed(simple_page(text, every_kind(text), {}))
        assert hostile.elements == plain.elements and hostile.attributes == plain.attributes, text


@pytest.mark.slow
def test_no_address_of_a_whole_page_comes_from_a_text(page: Path) -> None:
    found = Parsed(page.read_text(encoding="utf-8"))
    allowed = (
        "html head meta title style body a p ul li strong div table thead tbody tr th td figure img figcaption h1 h2 h3"
    )
    assert set(found.elements) <= set(allowed.split()) and found.elements["style"] == found.elements["title"] == 1
    for tag, name, value in found.attributes:
        assert name in ("lang", "charset", "http-equiv", "content", "name", "class", "id", "href", "src", "alt"), name
        if name in ("href", "src", "id", "class"):
            assert VALUES.fullmatch(value or ""), (tag, name, value)


def test_the_policy_allows_the_style_sheet_of_the_page_and_images_inside_it() -> None:
    found = Parsed(simple_page(PLAIN, every_kind(PLAIN), {}))
    digest = base64.b64encode(hashlib.sha256(found.style.encode()).digest()).decode()
    rules = dict(rule.strip().split(" ", 1) for rule in found.policy().split(";"))
    assert rules == {
        **{"default-src": "'none'", "img-src": "data:", "style-src": f"'sha256-{digest}'"},
        **{"base-uri": "'none'", "form-action": "'none'"},
    }


def browser() -> str | None:
    return shutil.which("chromium") or shutil.which("google-chrome")


def opened(page: Path, folder: Path) -> tuple[str, str, list[str]]:
    """The document as a browser has it, what its console says, and the hosts that it asked for."""
    log = folder / "net.json"
    command = [
        str(browser()), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
        "--virtual-time-budget=3000", "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder / 'profile'}",
        f"--log-net-log={log}", page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    asked = re.findall(r"hostile\.example/?\w?", log.read_text(encoding="utf-8"))
    json.loads(log.read_text(encoding="utf-8"))
    return done.stdout, done.stderr, asked


@pytest.mark.slow
@pytest.mark.skipif(browser() is None, reason="needs chromium")
def test_a_browser_asks_for_nothing_and_finds_nothing_against_the_policy(page: Path, tmp_path: Path) -> None:
    document, said, asked = opened(page, tmp_path)
    assert asked == [] and "taken" not in re.findall(r"<title>(.*?)</title>", document)
    assert "Content Security Policy" not in said and "Refused" not in said, said[-2000:]


@pytest.mark.slow
@pytest.mark.skipif(browser() is None, reason="needs chromium")
def test_the_policy_alone_stops_what_was_not_escaped(page: Path, tmp_path: Path) -> None:
    """The same page with texts put in raw: the browser is asked to run them, and the policy refuses. Left out are a
    frame, whose host chromium looks up before it refuses the frame, and a refresh, which no policy can forbid."""
    raw = tmp_path / "raw.html"
    raw.write_text(page.read_text(encoding="utf-8").replace("<body>", "<body>" + "".join(TRIES[:5])), encoding="utf-8")
    document, said, asked = opened(raw, tmp_path)
    assert asked == [] and "Content Security Policy" in said
    assert "taken" not in re.findall(r"<title>(.*?)</title>", document)
