"""Runs made elsewhere in this package's form: what was logged is there, the rest is missing, what is wrong is said."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sfpo_bench.core.costs import CostAxis
from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.importing.comparison import About, common_axes, uneven_seeds, write_comparison
from sfpo_bench.importing.costs import StatedCosts
from sfpo_bench.importing.csv_log import csv_runs
from sfpo_bench.importing.curves import ImportedRun, imported_run
from sfpo_bench.importing.fields import PRESETS, Fields, Preset, settle_accuracy
from sfpo_bench.importing.json_log import json_run
from sfpo_bench.importing.log import Decimal, LogRow, RunLog, as_resumed, whole_number
from sfpo_bench.importing.naming import Names
from sfpo_bench.importing.reader import Separator, TextFormat
from sfpo_bench.reports import Summary, compare, curves_frame, load_comparison, metrics_frame, write_report

HERE = Path(__file__).parent
OWN, TRL, VERL = (PRESETS[name] for name in (Preset.own, Preset.trl, Preset.verl))
ABOUT = About("imported", "a test", "accuracy", targets=(0.5,))


def runs_of(text: str, folder: Path, keys: Names | None = None, told: StatedCosts | None = None) -> list[ImportedRun]:
    path = folder / "log.csv"
    path.write_text(text, encoding="utf-8")
    logs = csv_runs(path, keys or Names())
    fields = settle_accuracy(OWN, [name for log in logs for row in log.rows for name in row.values])
    return [imported_run(log, fields, told or StatedCosts()) for log in logs]


# --- a CSV made by hand -----------------------------------------------------------------------------------------------


def test_a_csv_becomes_a_comparison_with_every_number_of_it(tmp_path: Path) -> None:
    logs = csv_runs(HERE / "runs.csv", Names(arm="method"))
    runs = [imported_run(log, replace(OWN, accuracy="accuracy"), StatedCosts()) for log in logs]
    write_comparison(tmp_path / "imported", runs, ABOUT)
    comparison = load_comparison(tmp_path / "imported")
    frame = curves_frame(comparison)
    assert [arm.label for arm in comparison.plan.arms.values()] == ["GRPO", "SFPO (K=3)"]
    assert frame["accuracy"].tolist()[:4] == [0.10, 0.30, 0.45, 0.55]
    assert frame["responses"].tolist()[:4] == [0, 640, 1280, 1920]
    assert frame["train_seconds"].tolist()[4:8] == [0, 19.5, 39.0, 58.5]
    assert frame[["tokens", "prompts", "total_seconds", "cpu_seconds", "n"]].isna().all().all()
    row = compare(comparison).absolute.ratio("SFPO-K-3", 0.5, "responses")
    # GRPO reaches 0.5 at 1600 and at 1813.3 responses, SFPO at 960 and at 1033.8.
    assert row.point == pytest.approx(np.sqrt(1600 * (1280 + 640 * 10 / 12) / (960 * (640 + 640 * 8 / 13))))


def test_missing_axes_stay_missing_in_every_form_of_the_report(tmp_path: Path) -> None:
    rows = "".join(f"{step},{arm},{seed},{64 * step},{accuracy + seed / 50}\n" for arm in ("a", "b") for seed in (0, 1)
                   for step, accuracy in ((0, 0.1), (10, 0.4), (20, 0.6)))  # fmt: skip
    runs = runs_of("step,arm,seed,responses,accuracy\n" + rows, tmp_path)
    write_comparison(tmp_path / "imported", runs, ABOUT)
    comparison = load_comparison(tmp_path / "imported")
    summary = compare(comparison)
    assert (
        {row.axis for row in summary.absolute.costs} == {row.axis for row in summary.absolute.ratios} == {"responses"}
    )
    assert summary.axes == ("responses",)
    files = write_report(tmp_path / "imported")
    for path in (files.report, files.page, files.latex):
        text = path.read_text(encoding="utf-8")
        assert "Not recorded there" in text and "training time" in text
        assert not re.search(r"needs? (less|more) training time", text)
    assert "Training time" not in files.report.read_text(encoding="utf-8").split("## Cost")[1].split("## Arms")[0]
    assert "not recorded in these runs" in figure_texts(summary)


def figure_texts(summary: Summary) -> list[str]:
    from matplotlib.text import Text

    from sfpo_bench.reports.figures import convergence_figure

    return [text.get_text() for text in convergence_figure(summary).findobj(Text) if isinstance(text, Text)]


def test_one_run_without_n_has_no_interval_and_one_with_it_has(tmp_path: Path) -> None:
    text = "step,responses,accuracy\n0,0,0.1\n10,640,0.4\n"
    write_comparison(tmp_path / "without", runs_of(text, tmp_path), ABOUT)
    write_comparison(tmp_path / "with", runs_of(text, tmp_path, told=StatedCosts(evaluation_responses=100)), ABOUT)
    without, known = (compare(load_comparison(tmp_path / name)).arms[0].final for name in ("without", "with"))
    assert without is not None and known is not None
    assert (without.low, without.mean, without.high, without.interval.value) == (0.4, 0.4, 0.4, "none")
    assert known.low < 0.4 < known.high
    text = write_report(tmp_path / "without").report.read_text(encoding="utf-8")
    assert "0.400 (no interval: one seed, n not known)" in text and "Wilson" not in text.split("## Notes")[0]


def test_an_axis_that_only_some_runs_tell_is_left_out_and_said(tmp_path: Path) -> None:
    text = "step,arm,responses,seconds,accuracy\n0,a,0,0,0.1\n10,a,640,5,0.4\n0,b,0,,0.1\n10,b,640,,0.4\n"
    axes, notes = common_axes(runs_of(text, tmp_path))
    assert axes == ["responses"]
    assert notes == ["train_seconds is recorded by 1 of 2 runs and left out"]


def test_a_total_is_interpolated_between_rows_and_known_no_further(tmp_path: Path) -> None:
    rows = "0,0,0.1\n10,,0.2\n20,40,0.3\n30,,0.4\n"
    [run] = runs_of(f"step,seconds,accuracy\n{rows}", tmp_path, told=StatedCosts(responses_per_step=8))
    assert [one.costs.train_seconds for one in run.evaluations] == [0, 20, 40]
    assert [one.costs.responses for one in run.evaluations] == [0, 80, 160]
    assert run.notes == (f"{tmp_path / 'log.csv'}: the evaluation at step 30 is left out, no cost was logged by then",)
    [run] = runs_of(f"step,seconds,accuracy\n{rows}40,,0.5\n", tmp_path, told=StatedCosts(responses_per_step=8))
    assert run.axes == {"responses"} and len(run.evaluations) == 5
    assert run.notes == (f"{tmp_path / 'log.csv'}: train_seconds ends at step 20",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no column 'step'; found nothing"),
        ("step,accuracy,responses\n", "has a header and no rows"),
        ("iteration,accuracy,responses\n1,0.5,8\n", "has no column 'step'; found iteration, accuracy, responses"),
        ("step,reward,responses\n1,0.5,8\n", "found no 'accuracy' in the log; expected one of responses, reward"),
        ("step,step,accuracy\n1,1,0.5\n", "has the column step twice"),
        ("step,accuracy,responses\n10,0.5,80\n5,0.6,90\n", "line 3: step 5 comes after step 10 .*sort the rows"),
        ("step,accuracy,responses\n1.5,0.5,80\n", "line 2: step is '1.5'; expected a whole number"),
        ("step,accuracy,responses\n,0.5,80\n", "line 2: step is ''"),
        ("step,seed,accuracy,responses\n1,x,0.5,80\n", "line 2: seed is 'x'"),
        (
            "step,accuracy,responses\n1,43.1,80\n",
            r"line 2: accuracy is 43.1; expected a share in \[0, 1\]: percent=true",
        ),
        ("step,accuracy,responses\n1,-0.1,80\n", "line 2: accuracy is -0.1"),
        ("step,accuracy,responses\n1,0.5,80\n1,0.6,80\n", "two values of accuracy at step 1 .*line 2 and .*line 3"),
        ("step,accuracy,responses\n1,0.5,80\n2,0.6,70\n", "line 3: responses is 70 and falls from 80"),
        ("step,accuracy,seconds\n1,0.5,-2\n", "line 2: seconds is -2 and is negative"),
        ("step,accuracy,responses,n\n1,0.5,80,2.5\n", "line 2: n is 2.5"),
        ("step,arm,accuracy,responses\n1,a,0.5,80\n1,b,,80\n", "arm 'b', seed 0 has no accuracy"),
    ],
)
def test_bad_input_is_refused_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        runs_of(text, tmp_path)


def test_seeds_that_a_float_cannot_tell_apart_are_two_runs(tmp_path: Path) -> None:
    seeds = (2**53, 2**53 + 1, 2**64 + 1)
    rows = [f"1,{seed},0.5,80\n" for seed in seeds] + [f"2,{seeds[1]}.0,0.5,90\n"]
    assert [run.seed for run in runs_of("step,seed,accuracy,responses\n" + "".join(rows), tmp_path)] == list(seeds)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("100", 100), ("100.0", 100), ("1e2", 100), ("1.5", None), ("1e-400", None), ("1e400", None), ("-3", -3),
     ("9007199254740993.5", None), ("0", 0), ("", None), ("1_0", None)],
)  # fmt: skip
def test_whole_numbers_are_read_exactly(text: str, expected: int | None) -> None:
    assert whole_number(text) == expected


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("oops", "'oops'; expected a finite number$"),
        ("nan", "'nan'; expected a finite number: give what was measured in its place"),
        ("-inf", "'-inf'; expected a finite number: give what was measured"),
        ('"0,5"', "'0,5'; expected a finite number: say decimal=comma"),
        ("1_0", "'1_0'; expected a finite number$"),
        ("50 %", "'50 %'; expected a finite number$"),
        ("1e999", "'1e999'; expected a finite number$"),
    ],
)
@pytest.mark.parametrize("column", ["accuracy", "responses", "n"])
def test_a_cell_that_is_no_finite_number_is_named_by_file_line_and_column(
    cell: str, said: str, column: str, tmp_path: Path
) -> None:
    cells = ",".join({"accuracy": "0.5", "responses": "90", "n": "8", column: cell}.values())
    text = f"step,accuracy,responses,n,note\n1,0.5,80,8,fine\n2,{cells},nan\n"
    with pytest.raises(ConfigError, match=rf"log.csv, line 3, column {column}: found {said}"):
        runs_of(text, tmp_path)


def test_text_in_a_column_that_nothing_reads_is_of_no_matter(tmp_path: Path) -> None:
    [run] = runs_of("step,accuracy,responses,note\n1,0.5,80,good\n2,0.6,90,nan\n", tmp_path)
    assert [one.accuracy for one in run.evaluations] == [0.5, 0.6]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("step,accuracy,responses\n1,0,5,80\n", "line 2 has 4 cells under a header of 3; .*separator=semicolon"),
        ("step,accuracy,responses\n1,0.5,80\n2,0.6,90,\n", "line 3 has 4 cells under a header of 3"),
        ("step,accuracy,responses\n1,0.5\n2,0.6,90\n", "line 2 has 2 cells under a header of 3; [^;]*known$"),
        ("step,accuracy,responses\n1,0.5,80\n2,0.\n", "line 3 has 2 cells .*cut_last_line=true"),
        ("step;accuracy;responses\n1;0,5;80\n", "has no column 'step'.*separator=semicolon"),
        ("step\taccuracy\n1\t0.5\n", "has no column 'step'.*separator=tab"),
        ("step,arm,accuracy,responses\n1,a,0.5,80\n1,,0.5,80\n", "line 3, column arm: the name of the arm is empty"),
        ('step,accuracy,responses\n1,"0.5,80\n2,0.6,90\n', "is not CSV: unexpected end of data"),
    ],
)
def test_a_row_that_is_not_as_long_as_the_header_and_an_arm_without_a_name_are_refused(
    text: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        runs_of(text, tmp_path)


def test_columns_that_were_named_must_be_there(tmp_path: Path) -> None:
    for keys, said in ((Names(arm="methd"), "arm=NAME"), (Names(seed="sed"), "seed=NAME")):
        with pytest.raises(ConfigError, match=f"has no column '(methd|sed)'; expected {said}"):
            runs_of("step,accuracy,responses\n1,0.5,80\n", tmp_path, keys)


@pytest.mark.parametrize("separator", list(Separator))
@pytest.mark.parametrize("decimal", list(Decimal))
def test_every_separator_and_decimal_reads_the_same_numbers(
    separator: Separator, decimal: Decimal, tmp_path: Path
) -> None:
    rows = [(0, "arm, the first", 0.125, 0.0), (10, "arm, the first", 0.5, 19.5)]
    point = "." if decimal is Decimal.point else ","
    with (tmp_path / "log.csv").open("w", newline="", encoding="utf-8") as handle:
        table = csv.writer(handle, delimiter=separator.character)
        table.writerow(["step", "arm", "accuracy", "seconds"])
        table.writerows([[step, arm, *(str(one).replace(".", point) for one in told)] for step, arm, *told in rows])
    [log] = csv_runs(tmp_path / "log.csv", Names(), form=TextFormat(separator, decimal))
    assert [(row.step, log.arm, row.values["accuracy"], row.values["seconds"]) for row in log.rows] == rows


def test_with_decimal_commas_a_point_is_no_number(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("step;accuracy;seconds\n1;0,5;1.234\n", encoding="utf-8")
    [log] = csv_runs(tmp_path / "log.csv", Names(), form=TextFormat(Separator.semicolon, Decimal.comma))
    with pytest.raises(ConfigError, match=r"line 2, column seconds: found '1.234'"):
        imported_run(log, replace(OWN, accuracy="accuracy"), StatedCosts())


@pytest.mark.parametrize("end", ["2,0.", "2,0.6,9", "2", '2,"0.6'])
def test_a_cut_last_line_is_left_out_where_asked_for(end: str, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(f"step,accuracy,responses\n1,0.5,80\n{end}", encoding="utf-8")
    [log] = csv_runs(tmp_path / "log.csv", Names(), form=TextFormat(cut_last_line=True))
    assert [row.step for row in log.rows] == [1]
    assert log.notes == (f"{tmp_path / 'log.csv'}: line 3 was cut off and is left out",)
    (tmp_path / "log.csv").write_text("step,accuracy,responses\n1,0.5,80\n2,0.6,90\n", encoding="utf-8")
    [log] = csv_runs(tmp_path / "log.csv", Names(), form=TextFormat(cut_last_line=True))
    assert [row.step for row in log.rows] == [1, 2] and not log.notes


def test_a_resumed_log_is_what_an_uninterrupted_one_would_have_been(tmp_path: Path) -> None:
    """Killed at 40 after the checkpoint of 20: what was logged at 30 and 40 never came to be."""
    before = "0,0.1,0\n10,0.2,80\n20,0.3,160\n30,0.9,240\n40,0.95,320\n"
    after = "30,0.4,240\n"
    head = "step,accuracy,responses\n"
    (tmp_path / "log.csv").write_text(head + before + after, encoding="utf-8")
    [log] = csv_runs(tmp_path / "log.csv", Names())
    fields = replace(OWN, accuracy="accuracy")
    with pytest.raises(ConfigError, match=r"line 7: step 30 comes after step 40 .*later_wins=true"):
        imported_run(log, fields, StatedCosts())
    run = imported_run(as_resumed(log), fields, StatedCosts())
    [whole] = runs_of(head + "0,0.1,0\n10,0.2,80\n20,0.3,160\n" + after, tmp_path)
    assert run.evaluations == whole.evaluations
    assert run.notes == (f"{tmp_path / 'log.csv'}: 2 rows of steps 30 to 40 were replaced by later ones",)


def test_of_two_values_at_one_step_the_later_one_counts_where_asked_for(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("step,accuracy,responses\n1,0.5,80\n1,0.6,80\n", encoding="utf-8")
    [log] = csv_runs(tmp_path / "log.csv", Names())
    assert [one.accuracy for one in imported_run(as_resumed(log), OWN, StatedCosts()).evaluations] == [0.6]


def test_a_log_that_goes_on_without_an_accuracy_says_so(tmp_path: Path) -> None:
    [run] = runs_of("step,accuracy,responses\n0,0.1,0\n10,0.9,80\n20,,160\n30,,240\n", tmp_path)
    assert run.notes == (f"{tmp_path / 'log.csv'}: arm run, seed 0 continues to step 30; its last accuracy is of 10",)


@pytest.mark.parametrize("last", ["20,,160", "19,,152"])
def test_a_missing_last_evaluation_is_said_where_one_was_due(last: str, tmp_path: Path) -> None:
    [run] = runs_of(f"step,accuracy,responses\n0,0.1,0\n10,0.9,80\n{last}\n", tmp_path)
    assert len(run.notes) == (last == "20,,160")


def test_thousands_are_not_advised_to_be_read_as_decimals(tmp_path: Path) -> None:
    for cell, hint in (("1,000", "does the comma separate thousands"), ("0,125", "say decimal=comma")):
        with pytest.raises(ConfigError, match=hint):
            runs_of(f'step,accuracy,responses\n0,0.1,0\n10,0.9,"{cell}"\n', tmp_path)


def test_arms_with_different_seeds_have_no_pending_runs(tmp_path: Path) -> None:
    rows = "".join(
        f"{step},{arm},{seed},{step / 100 + seed / 50},{8 * step}\n"
        for arm, seed in (("a", 0), ("a", 1), ("b", 7))
        for step in (0, 10)
    )
    runs = runs_of(f"step,arm,seed,accuracy,responses\n{rows}", tmp_path)
    assert uneven_seeds(runs) == ["the arms have different seeds: a 0, 1; b 7"]
    assert uneven_seeds(runs[:2]) == []
    write_comparison(tmp_path / "imported", runs, ABOUT)
    comparison = load_comparison(tmp_path / "imported")
    assert [(one.arm, one.seed, one.status.value) for one in comparison.runs] == [
        ("a", 0, "finished"), ("a", 1, "finished"), ("b", 7, "finished"),
    ]  # fmt: skip
    assert "pending" not in write_report(tmp_path / "imported").report.read_text(encoding="utf-8")


def test_what_a_killed_import_left_is_no_part_of_the_next_one(tmp_path: Path) -> None:
    write_comparison(tmp_path / "killed", runs_of("step,arm,accuracy,responses\n1,other,0.5,8\n", tmp_path), ABOUT)
    (tmp_path / "killed").rename(tmp_path / ".imported.partial")
    write_comparison(tmp_path / "imported", runs_of("step,arm,accuracy,responses\n1,a,0.5,8\n", tmp_path), ABOUT)
    assert [one.name for one in (tmp_path / "imported" / "runs").iterdir()] == ["a"]


def test_what_is_no_csv_in_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(b"step,accuracy\n1,\xff\xfe\n")
    with pytest.raises(ConfigError, match="not a CSV file in UTF-8"):
        csv_runs(path, Names())
    with pytest.raises(MissingDataError, match="is not there"):
        csv_runs(tmp_path / "nothing.csv", Names())


def test_runs_without_any_cost_or_with_an_unknown_baseline_or_an_existing_folder_are_refused(tmp_path: Path) -> None:
    bare = runs_of("step,accuracy\n1,0.5\n", tmp_path)
    with pytest.raises(ConfigError, match="found no cost that every run records"):
        write_comparison(tmp_path / "a", bare, ABOUT)
    runs = runs_of("step,accuracy,responses\n1,0.5,8\n", tmp_path)
    with pytest.raises(ConfigError, match="baseline = 'b' is not an arm; expected one of run"):
        write_comparison(tmp_path / "a", runs, replace(ABOUT, baseline="b"))
    with pytest.raises(ConfigError, match="two runs of arm 'run' with seed 0"):
        write_comparison(tmp_path / "a", [*runs, replace(runs[0], source="another")], ABOUT)
    assert not (tmp_path / "a").exists()
    write_comparison(tmp_path / "a", runs, ABOUT)
    with pytest.raises(ConfigError, match="exists already"):
        write_comparison(tmp_path / "a", runs, ABOUT)


def test_the_name_of_an_arm_is_no_path(tmp_path: Path) -> None:
    runs = runs_of("step,arm,accuracy,responses\n1,../../up,0.5,8\n", tmp_path)
    plan = write_comparison(tmp_path / "a", runs, ABOUT)
    assert list(plan.arms) == ["up"] and plan.arms["up"].label == "../../up"
    clash = runs_of("step,arm,accuracy,responses\n1,a b,0.5,8\n1,a-b,0.5,8\n", tmp_path)
    with pytest.raises(ConfigError, match="names that differ in letters or digits"):
        write_comparison(tmp_path / "b", clash, ABOUT)


# --- what TRL logged --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained_by_trl() -> list[ImportedRun]:
    """GRPO and SFPO in TRL's trainer: `tests/importing/make_trl_logs.py`."""
    made = []
    for arm, per_step in (("grpo", 32.0), ("sfpo", 32 / 3)):
        for seed in (0, 1):
            log = json_run(HERE / "trl" / f"{arm}-seed{seed}.json", arm, seed)
            fields = settle_accuracy(TRL, [name for row in log.rows for name in row.values])
            made.append(imported_run(log, fields, StatedCosts(per_step, 8, 64)))
    return made


def test_trl_evaluations_are_those_of_its_log(trained_by_trl: list[ImportedRun]) -> None:
    for run in trained_by_trl:
        history = json.loads(Path(run.source).read_text(encoding="utf-8"))["log_history"]
        logged = {row["step"]: row["eval_rewards/correct/mean"] for row in history if "eval_reward" in row}
        assert {one.step: one.accuracy for one in run.evaluations} == logged
        assert [one.n for one in run.evaluations] == [64] * 7


def test_trl_costs_add_up_to_what_it_counted_itself(trained_by_trl: list[ImportedRun]) -> None:
    for run in trained_by_trl:
        history = json.loads(Path(run.source).read_text(encoding="utf-8"))["log_history"]
        end = run.evaluations[-1].costs
        assert end.responses == 960 and end.prompts == 120
        assert end.optimizer_steps == run.evaluations[-1].step
        # TRL counts prompts too: two tokens before each response.
        counted = max(row["num_tokens"] for row in history if "num_tokens" in row)
        assert end.tokens == counted - 2 * end.responses
        # Training seconds leave evaluations out; the whole run took longer.
        runtime = next(row["train_runtime"] for row in history if "train_runtime" in row)
        evaluations = sum(row.get("eval_runtime", 0.0) for row in history)
        assert end.train_seconds <= runtime - evaluations
        assert end.train_seconds > 0.5 * (runtime - evaluations)


def test_trl_runs_are_reported(trained_by_trl: list[ImportedRun], tmp_path: Path) -> None:
    write_comparison(tmp_path / "trl", trained_by_trl, replace(ABOUT, targets=(0.6,)))
    comparison = load_comparison(tmp_path / "trl")
    summary = compare(comparison)
    assert summary.axes == ("prompts", "responses", "tokens", "optimizer_steps", "train_seconds")
    for axis in (CostAxis.responses, CostAxis.train_seconds):
        assert summary.absolute.ratio("sfpo", 0.6, axis.value).point is not None
    keys = set(metrics_frame(comparison)["key"])
    assert {"entropy", "reward_mean", "groups_without_signal_share", "gradient_norm"} <= keys
    assert write_report(tmp_path / "trl").report.is_file()


def test_of_several_accuracies_one_must_be_named() -> None:
    names = ["eval_rewards/correct/mean", "eval_rewards/format/mean", "reward"]
    with pytest.raises(
        ConfigError, match=r"found 2 names that may be the accuracy, eval_rewards/correct/mean, eval_rew"
    ):
        settle_accuracy(TRL, names)
    with pytest.raises(ConfigError, match="found no accuracy; expected one: say which with accuracy=NAME, one of loss"):
        settle_accuracy(TRL, ["loss"])
    assert settle_accuracy(replace(TRL, accuracy="reward"), names).accuracy == "reward"


def test_a_json_that_is_no_log_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trainer_state.json"
    for content, said in (
        ("{", "is not JSON"),
        ("[]", "holds no logged row"),
        ("{}", "has no log_history"),
        ('{"log_history": []}', "holds no logged row"),
        ('{"log_history": [{"loss": 1.0}]}', r"log_history\[0\]: step is None"),
        ('{"log_history": [{"loss": 1.0, "step": NaN}]}', r"log_history\[0\]: step is nan"),
        ('{"log_history": [{"loss": 1.0, "step": 1}, 2]}', r"log_history\[1\] is no JSON object"),
    ):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(ConfigError, match=said):
            json_run(path, "a", 0)


@pytest.mark.parametrize("value", ["NaN", "Infinity", '"nan"', "true", "[0.5]"])
def test_an_accuracy_in_json_that_is_no_finite_number_is_named_by_its_place(value: str, tmp_path: Path) -> None:
    path = tmp_path / "trainer_state.json"
    good = '{"step": 1, "eval_rewards/correct/mean": 0.5}'
    path.write_text(
        f'{{"log_history": [{good}, {{"step": 2, "eval_rewards/correct/mean": {value}}}]}}', encoding="utf-8"
    )
    log = json_run(path, "a", 0)
    with pytest.raises(ConfigError, match=r"log_history\[1\], column eval_rewards/correct/mean: found"):
        imported_run(log, settle_accuracy(TRL, ["eval_rewards/correct/mean"]), StatedCosts())


def test_a_step_metric_that_is_no_finite_number_is_left_out_and_said(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1, "accuracy": 0.5, "grad_norm": 2.0}\n{"step": 2, "grad_norm": NaN}\n', encoding="utf-8")
    run = imported_run(json_run(path, "a", 0), replace(TRL, accuracy="accuracy"), StatedCosts())
    assert [(one.step, one.metrics) for one in run.steps] == [(1, {"gradient_norm": 2.0})]
    assert f"{path}, line 2, column grad_norm: NaN is left out, with 0 others like it" in run.notes


def test_a_cut_last_line_of_json_is_left_out_where_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1, "accuracy": 0.5}\n{"step": 2, "accu', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"line 2 is not JSON.*cut_last_line=true"):
        json_run(path, "a", 0)
    log = json_run(path, "a", 0, cut_last_line=True)
    assert [row.step for row in log.rows] == [1] and log.notes == (f"{path}: line 2 was cut off and is left out",)


# --- verl -------------------------------------------------------------------------------------------------------------


def verl_lines(folder: Path, testing: float) -> RunLog:
    """Lines as verl's file logger writes them: two steps, the second with validation and a checkpoint."""
    lines = [
        {"step": 0, "data": {"val-core/math/acc/mean@4": 0.25}},
        {"step": 1, "data": {"timing_s/step": 30.0, "response_length/mean": 100.0, "actor/entropy": 1.5}},
        {
            "step": 2,
            "data": {
                "timing_s/step": 37.0, "timing_s/save_checkpoint": 5.0, "timing_s/testing": testing,
                "response_length/mean": 120.0, "val-core/math/acc/mean@4": 0.5, "training/global_step": 2,
            },
        },
    ]  # fmt: skip
    path = folder / "verl.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    return json_run(path, "grpo", 0)


def verl_run(log: RunLog, fields: Fields) -> ImportedRun:
    found = settle_accuracy(fields, [name for row in log.rows for name in row.values])
    return imported_run(log, found, StatedCosts(responses_per_step=64))


def test_verl_seconds_leave_out_checkpoints_and_where_they_are_inside_validation(tmp_path: Path) -> None:
    log = verl_lines(tmp_path, testing=12.0)
    assert [one.costs.train_seconds for one in verl_run(log, VERL).evaluations] == [0, 62]
    inside = PRESETS[Preset.verl_2025]
    assert [one.costs.train_seconds for one in verl_run(log, inside).evaluations] == [0, 50]
    with pytest.raises(ConfigError, match="are longer; expected them inside of it: choose another preset, preset=verl"):
        verl_run(verl_lines(tmp_path, testing=40.0), inside)


def test_verl_tokens_follow_from_lengths_and_responses(tmp_path: Path) -> None:
    run = verl_run(verl_lines(tmp_path, testing=12.0), VERL)
    assert run.evaluations[-1].costs.responses == 128
    assert run.evaluations[-1].costs.tokens == 64 * 220
    assert run.steps[0].metrics == {"entropy": 1.5, "response_tokens_mean": 100.0, "step_seconds": 30.0}
    assert "optimizer_steps" not in run.axes


def test_verl_names_are_found_as_mlflow_holds_them() -> None:
    assert settle_accuracy(VERL, ["val-core/math/acc/mean_at_4"]).accuracy == "val-core/math/acc/mean_at_4"


# --- rows of any log --------------------------------------------------------------------------------------------------


def test_means_hold_for_the_steps_since_the_row_before() -> None:
    rows = [LogRow(4, {"step_time": 2.0}, "a"), LogRow(10, {"step_time": 3.0}, "b"), LogRow(10, {"accuracy": 0.5}, "c")]
    fields = replace(TRL, accuracy="accuracy")
    run = imported_run(RunLog("a", 0, "log", tuple(rows)), fields, StatedCosts())
    assert run.evaluations[0].costs.train_seconds == 4 * 2 + 6 * 3


def test_in_a_store_the_later_of_two_values_counts() -> None:
    rows = (LogRow(1, {"accuracy": 0.5}, "a"), LogRow(1, {"accuracy": 0.6}, "b"))
    log = RunLog("a", 0, "log", rows, one_value_a_step=True)
    run = imported_run(log, OWN, StatedCosts(responses_per_step=8))
    assert [one.accuracy for one in run.evaluations] == [0.6]
