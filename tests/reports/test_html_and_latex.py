"""Hostile names and model text in every form of the report, its links, and the forms opened by what reads them."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from sfpo_bench.reports import ReportFiles, write_report
from sfpo_bench.reports.document import Block, Span, bullets, heading, joined, line, paragraph, plain, table
from sfpo_bench.reports.html import simple_page
from sfpo_bench.reports.latex import Columns, tables_tex, tex
from sfpo_bench.reports.markdown import markdown, plain_text
from sfpo_bench.results.csv_text import csv_bytes
from sfpo_bench.results.run_folder import RunState
from tests.reports.comparison_folder import Folder, Run

HOSTILE = (
    "<script>document.title='taken'</script>",
    r"\input{/etc/passwd}",
    "=cmd|' /C calc'!A0",
    '"><img src=x onerror=alert(1)>',
    "a | b ** c **",
    "100 % $x$ #1 ~ ^ {y} & z_1 -- ``''",
    "@SUM(1)",
    "é",
)
SLOW, FAST = Run((0.1, 0.2, 0.3, 0.4, 0.6)), Run((0.1, 0.4, 0.6, 0.6, 0.6))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> ReportFiles:
    """A report in which every arm has a hostile name and a run died of a hostile answer."""
    arms = [f"arm{number}" for number in range(len(HOSTILE))]
    runs = {arm: {0: SLOW, 1: FAST} for arm in arms}
    runs["arm0"] = {0: SLOW, 1: replace(FAST, state=RunState.failed, cause=" ".join(HOSTILE))}
    settings = {f"setting {text}": text for text in HOSTILE}
    folder = Folder(runs, baseline="arm1", labels=dict(zip(arms, HOSTILE, strict=True)), settings=settings)
    return write_report(folder.write(tmp_path_factory.mktemp("comparison")))


class Elements(HTMLParser):
    """Start tags with their attributes, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, attribute: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(attribute))]


@pytest.fixture(scope="module")
def elements(files: ReportFiles) -> Elements:
    return Elements(files.page.read_text(encoding="utf-8"))


# --- the document -----------------------------------------------------------------------------------------------------


def every_kind(text: str) -> list[Block]:
    """A block of every kind with `text` wherever a text may stand."""
    cells = table((text, Span(text, bold=True)), [(text, "1")], left=1)
    return [heading(2, text), paragraph("See ", text), *bullets([text, "b"]), cells]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_is_one_line_and_nothing_that_markdown_interprets(text: str) -> None:
    same = " ".join(text.split())
    written = markdown(every_kind(text))
    title, see, item, other, header, rule, row = written.replace("\n\n", "\n").rstrip("\n").split("\n")
    shown = re.sub(r"\\(.)", r"\1", title.removeprefix("## "))
    assert shown == same and re.sub(r"\\(.)", r"\1", see) == f"See {same}"
    assert (item[2:], other, rule) == (title[3:], "- b", "| :--- | ---: |")
    assert header == f"| {title[3:]} | **{title[3:]}** |" and row == f"| {title[3:]} | 1 |"
    # Nothing is left that Markdown interprets once every character behind a backslash is taken out.
    assert not re.search(r"[`*_{}\[\]<>|#~&$!]", re.sub(r"\\.", "", title[3:]))


@pytest.mark.parametrize("text", HOSTILE)
def test_every_form_shows_the_same_characters(text: str) -> None:
    same = " ".join(text.split())
    shown = Elements(simple_page("t", every_kind(text), {})).text
    assert shown.count(same) == 7 - 1
    assert plain_text(every_kind(text)) == f"## {same}\n\nSee {same}\n\n- {same}\n- b\n\n| {same} | {same} |\n" + (
        f"| :--- | ---: |\n| {same} | 1 |"
    )


def test_a_line_joins_its_parts_and_keeps_no_blank_at_its_ends() -> None:
    assert line(" a", " b\n", Span("c ", bold=True)) == (Span("a b "), Span("c", bold=True))
    assert plain(joined("; ", ["a", "b"])) == "a; b" and joined("; ", []) == line("", " ") == ()


# --- HTML -------------------------------------------------------------------------------------------------------------


def test_names_and_model_text_are_text_in_the_page(elements: Elements) -> None:
    assert "script" not in {tag for tag, _ in elements.tags}
    assert not [name for _, attributes in elements.tags for name in attributes if name.startswith("on")]
    assert [tag for tag, _ in elements.tags].count("img") == 2
    for text in HOSTILE:
        assert " ".join(text.split()) in elements.text


def test_the_page_needs_nothing_but_itself(elements: Elements, files: ReportFiles) -> None:
    assert all(source.startswith("data:image/svg+xml;base64,") for source in elements.values("src"))
    assert not {"link", "iframe", "object", "embed", "form"} & {tag for tag, _ in elements.tags}
    assert "default-src 'none'" in elements.values("content")[0]
    assert "@import" not in files.page.read_text(encoding="utf-8")


def test_every_link_leads_to_a_list_of_runs_or_into_a_runs_folder(elements: Elements, files: ReportFiles) -> None:
    names = elements.values("id")
    assert len(names) == len(set(names)) == len(HOSTILE)
    links = elements.values("href")
    assert {link[1:] for link in links if link.startswith("#")} == set(names)
    places = [link for link in links if not link.startswith("#")]
    assert len(places) == 2 * len(HOSTILE)
    assert all((files.page.parent / place).is_dir() for place in places)


def test_every_number_of_a_cost_table_is_inside_a_link(tmp_path: Path) -> None:
    report = write_report(Folder({"grpo": {0: SLOW, 1: SLOW}, "sfpo": {0: FAST, 1: SLOW}}).write(tmp_path / "c"))
    text = report.page.read_text(encoding="utf-8")
    section = text[text.index("<h2>Final accuracy</h2>") : text.index("<h2>Arms</h2>")]
    cells = re.findall(r"<td>(.*?)</td>", section)
    numbers = [cell for cell in cells if re.search(r"\d", re.sub(r"<[^>]*>", "", cell))]
    assert len(numbers) > 20
    assert all(cell.startswith('<a href="#runs-') for cell in numbers)


def test_every_number_of_a_sentence_about_an_arm_is_inside_a_link_to_its_runs(tmp_path: Path) -> None:
    report = write_report(Folder({"grpo": {0: SLOW, 1: SLOW}, "sfpo": {0: FAST, 1: SLOW}}).write(tmp_path / "c"))
    text = report.page.read_text(encoding="utf-8")
    sentences = re.findall(r"<li>(.*?)</li>", text[: text.index("<figure>")])
    about = [sentence for sentence in sentences if '<a href="#runs-sfpo">SFPO</a>' in sentence]
    assert about
    for sentence in about:
        loose = re.sub(r"<a href=[^>]*>.*?</a>", "", sentence)
        constants = r"0\.50|[\d.]+ %|fewer than 3|contains 1|more than 1,000"
        assert not re.search(r"\d", re.sub(constants, "", loose)), loose
        assert not re.search(r">(?:0\.50|95)</a>", sentence), sentence
        first = re.search(r'<a href="(#runs-[^"]+)">[A-Za-z]', sentence)
        numbers = re.findall(r'<a href="([^"]+)">\d[^<]*</a>', sentence)
        assert first and first[1] in numbers and set(numbers) <= {first[1], "#runs-grpo"}


def test_a_report_elsewhere_links_back_and_one_of_no_folder_does_not(tmp_path: Path) -> None:
    folder = Folder({"a b": {0: SLOW, 1: SLOW}}, baseline="a b").write(tmp_path / "the comparison")
    elsewhere = Elements(write_report(folder, tmp_path / "out").page.read_text(encoding="utf-8"))
    assert "../the%20comparison/runs/a%20b/seed-0000/" in elsewhere.values("href")


def test_settings_and_environment_stand_in_the_page(elements: Elements) -> None:
    assert "The same in every arm" in elements.text and f"setting {HOSTILE[0]}" in elements.text
    assert "device" in elements.text and f"{2 * len(HOSTILE)} of {2 * len(HOSTILE)}" in elements.text


def test_one_page_is_like_another(files: ReportFiles, tmp_path: Path) -> None:
    again = write_report(files.page.parent, tmp_path / "deep" / "er")
    strip = re.compile(r'href="[^#][^"]*"')
    first, second = (strip.sub("", one.page.read_text(encoding="utf-8")) for one in (files, again))
    assert first == second


@pytest.mark.slow
def test_a_browser_shows_the_page_and_runs_nothing_of_it(files: ReportFiles, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium on this machine; on Debian: apt-get install chromium")
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", "--timeout=20000",
        "--window-size=1200,2000",
    ]  # fmt: skip
    address = files.page.as_uri()
    shown = subprocess.run([*command, "--dump-dom", address], capture_output=True, text=True, timeout=300, check=True)
    page = Elements(shown.stdout)
    assert "taken" not in re.findall(r"<title>(.*?)</title>", shown.stdout)
    assert "Environment" in page.text and "script" not in {tag for tag, _ in page.tags}
    picture = tmp_path / "page.png"
    subprocess.run([*command, f"--screenshot={picture}", address], capture_output=True, timeout=300, check=True)
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 20_000


# --- LaTeX ------------------------------------------------------------------------------------------------------------


def test_names_and_model_text_give_tex_no_command() -> None:
    assert tex(r"\input{x}") == r"\textbackslash{}input\{x\}"
    assert tex("50 % $a$ b_1 #") == r"50 \% \$a\$ b\_\allowbreak{}1 \#"
    assert tex("a\n\\\\ b") == r"a \textbackslash{}\textbackslash{} b"
    assert tex("中é") == "[U+4E2D]é"


def test_no_command_comes_from_a_name(files: ReportFiles) -> None:
    for path in (files.latex, files.latex_tables, files.latex_tables_two_column):
        text = path.read_text(encoding="utf-8")
        assert r"\input{" not in text.split("\n", 1)[1]
        assert r"\textbackslash{}input\{" in text
        assert text.count(r"\begin{tabularx}") == text.count(r"\bottomrule") == 10


def test_two_column_papers_get_narrow_tables_in_a_column_and_wide_ones_over_both(files: ReportFiles) -> None:
    narrow: list[Block] = [heading(2, "Narrow"), table(("a", "b"), [("x", "1")], left=1)]
    long = ["a rather long cell of a great many words and some more"] * 3
    wide: list[Block] = [heading(2, "Wide"), table(("a", "b", "c"), [long], left=1)]
    text = tables_tex([heading(1, "t"), *narrow, *wide], Columns.two)
    assert text.count(r"\begin{table}[htbp]") == text.count(r"\begin{table*}[htbp]") == 1
    assert text.index(r"\caption{Narrow}") < text.index(r"{\columnwidth}") < text.index(r"{\textwidth}")
    assert r"\begin{table*}" not in tables_tex(wide, Columns.one)


@pytest.mark.slow
@pytest.mark.parametrize("paper", ["report", "one", "two"])
def test_the_latex_compiles(files: ReportFiles, tmp_path: Path, paper: str) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex on this machine; on Debian: apt-get install texlive-latex-recommended")
    for path in (files.latex, files.latex_tables, files.latex_tables_two_column, files.figure_pdf, files.anatomy_pdf):
        shutil.copy(path, tmp_path)
    body = {"one": ("", "tables"), "two": ("[twocolumn]", "tables-two-column")}
    if paper in body:
        option, name = body[paper]
        packages = r"\usepackage{booktabs,tabularx}"
        document = rf"\documentclass{option}{{article}}{packages}\begin{{document}}\input{{{name}}}\end{{document}}"
        (tmp_path / f"{paper}.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", f"{paper}.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:].decode("utf-8", "replace")
    assert (tmp_path / f"{paper}.pdf").read_bytes().startswith(b"%PDF")


# --- CSV --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["=cmd", "+1", "-1+2", "@SUM(1)", "\t=cmd", " =cmd", "\r=cmd"])
def test_no_text_of_a_csv_file_is_a_formula(text: str) -> None:
    written = csv_bytes(pd.DataFrame({"text": [text], "number": [-1.5]})).decode()
    [_, row] = csv.reader(io.StringIO(written, newline=""))
    assert row == ["'" + text.replace("\r", "\n"), "-1.5"]


def test_numbers_stay_numbers_and_other_texts_as_they_are() -> None:
    assert csv_bytes(pd.DataFrame({"text": ["a=b", None], "number": [-1.5, 2.0]})) == b"text,number\na=b,-1.5\n,2.0\n"


def test_no_cell_of_the_reports_tables_is_a_formula(files: ReportFiles) -> None:
    for path in (files.costs, files.final, files.curves, files.anatomy):
        frame = pd.read_csv(path)
        names: list[str] = [str(name) for name in frame.columns if pd.api.types.is_string_dtype(frame[name])]
        assert names, path
        for name in names:
            assert not frame[name].dropna().astype(str).str.match(r"[=+\-@]").any()
