"""Sample logs of other programs: the same scores from each form, grades kept or made anew, files that are refused."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sfpo_bench.cli import scores as verb
from sfpo_bench.cli.settings import ScoresSettings
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.evaluation.sample_logs.arms import LogOptions, ScoredLogs, score_logs
from sfpo_bench.evaluation.sample_logs.bounded import LONGEST_LINE
from sfpo_bench.evaluation.sample_logs.our_grades import gold_answer
from sfpo_bench.evaluation.sample_logs.read import read_sample_logs
from sfpo_bench.evaluation.sample_logs.record import GradesBy, PairBy
from sfpo_bench.evaluation.sample_logs.values import grade
from sfpo_bench.evaluation.scores import arms_of, differences, unlike
from tests.evaluation.logs_of_others import (
    STORED,
    Answered,
    inspect_members,
    lm_eval_rows,
    qwen_rows,
    write_inspect,
    write_lighteval,
    write_lines,
    write_zip,
)

LETTERS = {1.0: "C", 0.0: "I", 0.5: "P", None: None}


def said(problem: int, number: int, grade: float | None) -> str:
    return f"It is {problem + 1 if grade else problem + 7 + number}"


def answered(grades: list[list[float | None]], text: str = "What is {} + 1?") -> list[Answered]:
    """Problem i asks for i + 1; a response that is right says so, whatever its grade."""
    return [
        Answered(str(i), text.format(i), str(i + 1), tuple(said(i, n, g) for n, g in enumerate(row)), tuple(row))
        for i, row in enumerate(grades)
    ]


def lettered(found: list[Answered]) -> list[Answered]:
    return [replace(one, grades=tuple(LETTERS[g] for g in one.grades)) for one in found]  # type: ignore[index]  # graded logs


GRADES: list[list[float | None]] = [[1, 1], [0, 1], [0, 0], [1, 0], [1, 1], [0, 0]]


def score(files: dict[str, list[Path]], **options: object) -> ScoredLogs:
    return score_logs({arm: [str(file) for file in files[arm]] for arm in files}, LogOptions(**options))  # type: ignore[arg-type]  # of a test


def mean(found: ScoredLogs, metric: str = "avg", k: int = 2) -> list[float]:
    sheets = [one.graded for one in found.evaluations]
    values = [one[name].scores(metric, k) for one in sheets for name in one]
    assert all(value is not None for value in values)
    return [float(value.mean()) for value in values if value is not None]


def test_one_model_has_the_same_score_in_the_logs_of_three_programs(tmp_path: Path) -> None:
    """Before re-grading: the mean of the grades, which each program writes into its own file of results."""
    one = answered([row[:1] for row in GRADES])
    files = {
        "inspect": [write_inspect(tmp_path / "a.eval", lettered(one))],
        "lm": [write_lines(tmp_path / "m" / "samples_arith_2026-01-02T03-04-05.678.jsonl", lm_eval_rows(one))],
        "lighteval": [write_lighteval(tmp_path / "details_arith_2026-01-02T03-04-05.parquet", one)],
        "qwen": [write_lines(tmp_path / "arith.jsonl", qwen_rows(one))],
    }
    found = score(files, grade=("match", "exact_match,flex", "pass@1", "score"))
    own = sum(row[0] or 0 for row in GRADES) / len(GRADES)
    assert mean(found, k=1) == pytest.approx([own] * 4, abs=1e-9)
    keys = [one.graded[name].keys for one in found.evaluations for name in one.graded]
    assert len(set(keys)) == 1  # paired by the text of the problem, whatever prompt is around it
    assert [next(iter(one.graded)) for one in found.evaluations] == ["arith", "arith", "arith-0", "arith"]
    ours = score(files, grades=GradesBy.ours)
    assert mean(ours, k=1) == pytest.approx([own] * 4, abs=1e-9)


def test_scores_and_paired_tests_of_logs_are_those_of_their_grades(tmp_path: Path) -> None:
    other: list[list[float | None]] = [[1, 1], [1, 1], [0, 1], [1, 0], [1, 1], [0, 0]]
    files = {
        "a": [write_inspect(tmp_path / "a.eval", lettered(answered(GRADES)))],
        "b": [write_inspect(tmp_path / "b.eval", lettered(answered(other)))],
    }
    found = score(files)
    assert mean(found) == pytest.approx([0.5, 2 / 3], abs=1e-12)
    assert mean(found, "pass") == pytest.approx([4 / 6, 5 / 6]) and mean(found, "pass_all") == pytest.approx(
        [2 / 6, 0.5]
    )
    before, after = arms_of(found.evaluations)
    one = differences(after, before, "avg", 2)["arith"]
    # Two problems differ, by 1/2 each: of four patterns of signs two are as far from 0.
    assert one.mean == pytest.approx(1 / 6) and one.p_value == 0.5
    assert unlike(found.evaluations) == []


def test_a_second_file_of_a_benchmark_is_a_second_seed(tmp_path: Path) -> None:
    one, two = answered(GRADES), answered([list(reversed(row)) for row in GRADES])
    files = [write_inspect(tmp_path / f"{name}.eval", lettered(found)) for name, found in (("a", one), ("b", two))]
    found = score({"arm": files})
    assert [run.owner.seed for run in found.evaluations] == [0, 1] and len(arms_of(found.evaluations)) == 1
    more = write_inspect(tmp_path / "c.eval", lettered(one), task="other")
    with pytest.raises(ConfigError, match=r"different numbers of files .*\(arith 2, other 1"):
        score({"arm": [*files, more]})


def test_a_sample_without_a_grade_is_left_out_and_not_wrong(tmp_path: Path) -> None:
    rows = qwen_rows(answered([[1, 1], [0, 1], [1, 1]]))
    rows[1]["score"], rows[2]["score"] = [math.nan, True], [None, None]
    found = score({"a": [write_lines(tmp_path / "a.jsonl", rows)]})
    [sheet] = found.evaluations[0].graded.values()
    assert sheet.samples == 1 and len(sheet.problems) == 2
    assert mean(found, k=1) == [1.0]
    notes = " ".join(found.evaluations[0].notes)
    assert "3 samples of 1, 2 have no grade score" in notes and "without any, the problems 2 are left out" in notes
    assert "problems have 1 to 2 samples" in notes


def test_shares_count_as_they_are_and_only_on_average(tmp_path: Path) -> None:
    found = score({"a": [write_inspect(tmp_path / "a.eval", lettered(answered([[0.5, 1], [0, 0.5]])))]})
    assert mean(found) == pytest.approx([0.5])
    [sheet] = found.evaluations[0].graded.values()
    assert sheet.scores("pass", 1) is None and sheet.scores("maj", 2) is None


def test_grades_here_show_what_changed_each_way(tmp_path: Path) -> None:
    """Their grader missed that 0.5 is 1/2, and took 8 for 7."""
    one = [
        Answered("0", "half", r"\frac{1}{2}", ("It is 0.5", "It is 1/2"), (0, 0)),
        Answered("1", "seven", "7", ("It is 8", "It is 7"), (1, 1)),
        Answered("2", "open", "", ("It is 8", "It is 7"), (1, 1)),
    ]
    file = write_lines(tmp_path / "a.jsonl", qwen_rows(one))
    found = score({"a": [file]}, grades=GradesBy.ours)
    assert mean(found) == [0.75]
    [agreed] = [each.agreement for each in found.agreements]
    assert (agreed.samples, agreed.both_correct, agreed.gained, agreed.lost) == (4, 1, 2, 1)
    assert [(each.problem, each.sample, each.theirs) for each in agreed.changed] == [
        ("0", 0, False),
        ("0", 1, False),
        ("1", 0, True),
    ]
    assert "the problems 2 have no response, or no gold answer" in found.evaluations[0].notes[0]


def test_all_responses_of_a_row_are_graded_here_and_one_grade_there(tmp_path: Path) -> None:
    file = write_lighteval(
        tmp_path / "details_a_2026-01-02T03-04-05.parquet", answered([[1, 0], [1, 1], [0, 0]]), "avg"
    )
    theirs, ours = score({"a": [file]}), score({"a": [file]}, grades=GradesBy.ours)
    assert mean(theirs, k=1) == pytest.approx([0.5]) and mean(ours, k=2) == pytest.approx([0.5])
    assert "counts as one sample" in theirs.evaluations[0].notes[0]


@pytest.mark.parametrize(
    ("text", "answer"), [("so 3 + 4\n#### 7", "7"), (r"Thus \boxed{\frac12}.", r"\frac12"), ("(1, 2)", "(1, 2)")]
)
def test_a_gold_solution_says_its_answer(text: str, answer: str) -> None:
    assert gold_answer(text) == answer


@pytest.mark.parametrize(
    ("value", "share"),
    [("C", 1), ("I", 0), ("P", 0.5), ("N", 0), (True, 1), (0.25, 0.25), ("0.5", 0.5), (None, None), (math.nan, None)],
)
def test_grades_of_every_kind(value: object, share: float | None) -> None:
    assert grade("here", "g", value) == share


@pytest.mark.parametrize("value", [math.inf, -1, 37.2, "maybe", [1], {"a": 1}])
def test_what_is_no_grade_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match=r"here: the grade g is .*grades=ours"):
        grade("here", "g", value)


def test_a_log_with_several_grades_asks_which_one(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "samples_t_2026-01-02T03-04-05.jsonl", lm_eval_rows(answered([[1], [0]])))
    with pytest.raises(ConfigError, match=r"the grades exact_match,strict, exact_match,flex.*grade=\[NAME\]"):
        score({"a": [file]})
    with pytest.raises(ConfigError, match="it has none"):
        score({"a": [file]}, grade=("f1",))
    assert mean(score({"a": [file]}, grade=("exact_match,flex",)), k=1) == [0.5]


def test_problems_are_paired_by_text_or_by_name(tmp_path: Path) -> None:
    grades: list[list[float | None]] = [[1], [0], [1]]
    one, two = answered(grades), answered(grades, "{} and one?")
    files = {
        "a": [write_lines(tmp_path / "t.jsonl", qwen_rows(one))],
        "b": [write_lines(tmp_path / "u" / "t.jsonl", qwen_rows(two))],
    }
    settings = ScoresSettings(logs={arm: [str(each[0])] for arm, each in files.items()}, out=str(tmp_path / "out"))
    with pytest.raises(ConfigError, match=r"share no problem of t .*pair_by=id"):
        verb.report(settings)
    by_id = score(files, pair_by=PairBy.id)
    assert len({one.graded["t"].keys for one in by_id.evaluations}) == 1
    same = [replace(each, text="the same") for each in one]
    twice = score({"a": [write_lines(tmp_path / "v.jsonl", qwen_rows(same))]})
    assert len(set(twice.evaluations[0].graded["v"].keys)) == 3  # a problem that stands there thrice counts thrice


def test_problems_with_one_text_are_not_paired_crosswise(tmp_path: Path) -> None:
    """The same grades in another order, or without one of the two, give no difference."""
    same = [replace(one, text="the same") for one in answered([[1], [0]])]
    whole = [*same, *answered([[1], [0], [1], [0]])[2:]]
    turned = [whole[1], whole[0], *whole[2:]]
    for other in (turned, whole[1:]):
        files = {
            "a": [write_lines(tmp_path / "t.jsonl", qwen_rows(whole))],
            "b": [write_lines(tmp_path / "u" / "t.jsonl", qwen_rows(other))],
        }
        arms = arms_of(score(files).evaluations)
        assert differences(arms[1], arms[0], "avg", 1)["t"].mean == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": "Another?"}, "the problem 0 has another text"),
        ({"gt": "77"}, "the problem 0 has another gold answer"),
        ({"data_name": "gsm8k"}, "the benchmark is 'gsm8k', and '' in"),
        ({"idx": None}, "expected the name of the problem on every line"),
    ],
)
def test_different_problems_under_one_name_are_refused(change: dict[str, object], message: str, tmp_path: Path) -> None:
    rows = qwen_rows(answered([[1], [0]]))
    with pytest.raises(ConfigError, match=message):
        score({"a": [write_lines(tmp_path / "t.jsonl", [*rows, {**rows[0], **change}])]})


def test_the_verb_writes_tables_and_the_samples_that_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = answered(GRADES)
    wrong = [replace(each, grades=tuple(1 - float(g or 0) for g in each.grades)) for each in one[:1]] + one[1:]
    files = {
        "a": [write_lines(tmp_path / "a" / "t.jsonl", qwen_rows(one))],
        "b": [write_lines(tmp_path / "b" / "u.jsonl", qwen_rows(wrong))],
    }
    logs = {arm: [str(each[0])] for arm, each in files.items()}
    with pytest.raises(ConfigError, match=r"share no benchmark: found u and t.*names\.A=B"):
        verb.report(ScoresSettings(logs=logs, out=str(tmp_path / "out")))
    verb.report(ScoresSettings(logs=logs, names={"u": "t"}, grades=GradesBy.ours, out=str(tmp_path / "out")))
    said = capsys.readouterr().out
    assert "Our grades against those of the logs" in said and "b on t, score: correct only by ours: problems 0." in said
    changed = (tmp_path / "out" / "regraded.csv").read_text().splitlines()
    assert changed[1:] == ["b,t,0,0,score,False,True,1,1,correct", "b,t,0,1,score,False,True,1,1,correct"]
    # Two arms by two graders are not compared unless asked for.
    with pytest.raises(ConfigError, match=r"grades: score of gold and prediction and match of inspect"):
        inspect = write_inspect(tmp_path / "i.eval", lettered(one), "t")
        verb.report(ScoresSettings(logs={"a": logs["a"], "i": [str(inspect)]}, out=str(tmp_path / "other")))


COLUMNS = ("doc", "metric", "model_response")
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "leaves its folder": (lambda p: write_zip(p, {"header.json": b"{}", "../x": b"{}"}), "leaves the folder"),
    "absolute": (lambda p: write_zip(p, {"header.json": b"{}", "/etc/x": b"{}"}), "leaves the folder"),
    "bomb": (lambda p: zipped(p, {"header.json": b"{}", "samples/a.json": bytes(66 << 20)}), "out of proportion"),
    "no samples": (lambda p: write_zip(p, {"header.json": b'{"status": "success"}'}), "holds no sample"),
    "no id": (lambda p: write_zip(p, {"header.json": b"{}", "samples/a.json": b"{}"}), "samples/a.json: found no id"),
    "other checksum": (lambda p: p.write_bytes(spoiled(p)), "header.json is damaged .Bad CRC"),
    "cut": (lambda p: p.write_bytes(write_inspect(p, lettered(answered([[1]]))).read_bytes()[:-40]), "is damaged"),
    "other zip": (lambda p: write_zip(p, {"word/a.xml": b"", "b": b""}), "a zip with b, word/a.xml. Looked for ins"),
    "empty": (lambda p: p.write_bytes(b""), "found an empty file"),
    "noise": (lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64)), r"begins with b'.x89PNG"),
    "other lines": (lambda p: p.write_text('{"a": 1}\n{"a": 2}\n'), "lines of JSON with a. Looked for"),
    "cut line": (lambda p: p.write_text('{"gt": "1", "pred": "1"}\n{"gt": "1", "pr'), "line 2: .*cut_last_line=true"),
    "other row": (lambda p: p.write_text('{"gt": "1", "pred": "1"}\n[1]\n{}'), "line 2: found a JSON list"),
    "no gold": (lambda p: p.write_text('{"gt": "1", "pred": "1"}\n{"pred": "1"}\n'), "line 2: found no gold answer"),
    "deep": (lambda p: p.write_text('{"gt": "1", "pred": "1"}\n' + "[" * 10**6 + "\n{}"), "line 2: found no JSON"),
    "cut Parquet": (lambda p: p.write_bytes(b"PAR1" + bytes(40)), "is damaged"),
    "other Parquet": (lambda p: pq.write_table(pa.table({"x": [1]}), p), "a Parquet file with x. Looked for"),
    "flat Parquet": (lambda p: pq.write_table(pa.table({n: [1] for n in COLUMNS}), p), "row 1"),
}  # fmt: skip


def zipped(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def spoiled(path: Path) -> bytes:
    """A stored zip whose header is of other letters than its checksum is of."""
    write_zip(path, inspect_members(lettered(answered([[1]]))), STORED)
    return path.read_bytes().replace(b'"status": "success"', b'"status": "succesS"')


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_is_no_log_is_refused_by_name(tmp_path: Path, damage: str) -> None:
    write, message = DAMAGES[damage]
    path = tmp_path / "log.eval"
    write(path)
    with pytest.raises(ConfigError, match=message) as caught:
        read_sample_logs(path)
    assert str(path) in str(caught.value) and len(str(caught.value)) < 1500


def test_a_member_that_unfolds_to_more_than_it_says_is_refused(tmp_path: Path) -> None:
    """Its sizes are in proportion; what is packed is not what they say."""
    path = tmp_path / "a.eval"
    members = inspect_members(lettered(answered([[1]])))
    name = "samples/0_epoch_1.json"
    write_zip(path, {**members, name: members[name]})
    packed = pa.compress(members[name], "zstd", asbytes=True)
    bomb = pa.compress(bytes(len(packed) << 12), "zstd", asbytes=True)
    assert len(bomb) <= len(packed)
    path.write_bytes(path.read_bytes().replace(packed, bomb + bytes(len(packed) - len(bomb))))
    with pytest.raises(ConfigError, match=f"{name} is damaged"):
        read_sample_logs(path)


def test_a_parquet_file_of_huge_counts_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """A million rows that are all alike take a few bytes on disk."""
    path = tmp_path / "details.parquet"
    one = pa.DictionaryArray.from_arrays(pa.array([0] * 2_000_001, pa.int32()), pa.array(["x"]))
    pq.write_table(pa.table({name: one for name in COLUMNS}), path)
    assert path.stat().st_size < 20_000
    with pytest.raises(ConfigError, match="says that it holds 2,000,001 rows"):
        read_sample_logs(path)


def test_a_line_without_an_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfpo_bench.evaluation.sample_logs.bounded.LONGEST_LINE", 1 << 20)
    path = tmp_path / "a.jsonl"
    path.write_text('{"gt": "1", "pred": "1"}\n{"gt": "' + "1" * (2 << 20))
    assert LONGEST_LINE > 1 << 20
    with pytest.raises(ConfigError, match="line 2: found a line of more than 1 MiB"):
        read_sample_logs(path)


def test_a_cut_last_line_is_left_out_where_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"gt": "1", "pred": "1"}\n{"gt": "1", "pr')
    [log] = read_sample_logs(path, cut_last_line=True)
    assert len(log.samples) == 1


def test_a_sample_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    rows = lm_eval_rows(answered([[1], [0]]))
    with pytest.raises(ConfigError, match="line 5: the problem 0 occurs twice with exact_match,strict"):
        read_sample_logs(write_lines(tmp_path / "a.jsonl", [*rows, rows[0]]))
    members = inspect_members(lettered(answered([[1]])))
    again = {**members, "samples/other.json": members["samples/0_epoch_1.json"]}
    with pytest.raises(ConfigError, match="sample 1 of the problem 0 occurs twice"):
        score({"a": [write_zip(tmp_path / "a.eval", again)]})


def test_a_log_of_inspect_that_was_not_finished_is_read_and_says_so(tmp_path: Path) -> None:
    members = inspect_members(lettered(answered(GRADES)))
    del members["header.json"]
    found = score({"a": [write_zip(tmp_path / "a.eval", members)]})
    assert mean(found) == [0.5] and "was not finished" in found.evaluations[0].notes[0]


def test_likelihoods_are_grades_without_text(tmp_path: Path) -> None:
    rows = lm_eval_rows(answered([[1], [0]]))[2:]
    for row in rows:
        row["resps"], row["filtered_resps"] = [[[-1.0, False]], [[-2.0, True]]], [[-1.0, False], [-2.0, True]]
    file = write_lines(tmp_path / "a.jsonl", rows)
    assert mean(score({"a": [file]}), k=1) == [0.5]
    with pytest.raises(ConfigError, match="found no response with a gold answer"):
        score({"a": [file]}, grades=GradesBy.ours)


def test_half_a_surrogate_pair_is_text_like_any_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON can hold what UTF-8 cannot."""
    rows = qwen_rows(answered([[1], [0]]))
    rows[0] |= {"question": "\ud800?", "idx": "\ud800", "gt": "\ud800", "code": ["\ud800"], "pred": ["\ud800"]}
    file = write_lines(tmp_path / "a.jsonl", rows)
    for grades in GradesBy:
        verb.report(ScoresSettings(logs={"a": [str(file)]}, grades=grades, out=str(tmp_path / grades)))
    assert "\\ud800" not in capsys.readouterr().out  # Markdown's backslashes are taken out for the terminal


def test_two_benchmarks_of_an_arm_do_not_become_seeds_by_a_name(tmp_path: Path) -> None:
    for name in ("s", "t"):
        write_lines(tmp_path / f"{name}.jsonl", qwen_rows(answered([[1], [0]])))
    with pytest.raises(ConfigError, match="the benchmarks s and t, which are both named t"):
        score({"a": [tmp_path]}, names={"s": "t"})
    with pytest.raises(ConfigError, match=r"names\.x is no benchmark of these logs; found s, t"):
        score({"a": [tmp_path]}, names={"x": "t"})


def test_a_folder_is_all_logs_below_it(tmp_path: Path) -> None:
    write_lines(tmp_path / "out" / "samples_a_2026-01-02T03-04-05.jsonl", lm_eval_rows(answered([[1]])))
    write_lines(tmp_path / "out" / "samples_b_2026-01-02T03-04-05.jsonl", lm_eval_rows(answered([[1]])))
    (tmp_path / "out" / "results_2026-01-02T03-04-05.json").write_text(json.dumps({"results": {}}))
    assert [log.benchmark for log in read_sample_logs(tmp_path / "out")] == ["a", "b"]
    with pytest.raises(ConfigError, match="is not there; expected a sample log"):
        read_sample_logs(tmp_path / "nowhere")
