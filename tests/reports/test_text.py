"""Sentences, tables and numbers as text."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from sfpo_bench.core.costs import CostAxis
from sfpo_bench.reports import Summary, load_comparison
from sfpo_bench.reports.answer import sentence
from sfpo_bench.reports.axes import TABLE_ORDER
from sfpo_bench.reports.document import line, plain
from sfpo_bench.reports.formats import count_text, ratio_text, seconds_text, target_text
from sfpo_bench.reports.markdown import line_markdown
from sfpo_bench.reports.notes import clock_warning, figure_caption, trigger_text
from sfpo_bench.reports.summarise import build_summary
from sfpo_bench.reports.summary import IntervalKind
from sfpo_bench.reports.tables import costs_table, final_table, report_markdown
from sfpo_bench.results.run_folder import RunState
from sfpo_bench.statistics import Claim, Verdict, wilson_interval
from tests.reports.comparison_folder import Folder, Run

SLOW = {0: Run((0.1, 0.2, 0.3, 0.4, 0.6)), 1: Run((0.1, 0.2, 0.3, 0.45, 0.55)), 2: Run((0.1, 0.2, 0.32, 0.4, 0.6))}
FAST = {0: Run((0.1, 0.4, 0.6, 0.6, 0.6)), 1: Run((0.1, 0.3, 0.6, 0.6, 0.65)), 2: Run((0.1, 0.4, 0.62, 0.6, 0.6))}
NEVER = {seed: Run((0.1, 0.2, 0.3, 0.3, 0.3)) for seed in range(3)}


def summary_of(path: Path, labels: dict[str, str] | None = None, **arms: dict[int, Run]) -> Summary:
    folder = Folder(arms, seeds=(0, 1, 2), labels={"grpo": "GRPO", "sfpo": "SFPO", **(labels or {})})
    return build_summary(load_comparison(folder.write(path)))


def said(summary: Summary, arm: str = "sfpo") -> str:
    return plain(sentence(summary, arm, 0.5, CostAxis.responses))


def test_an_interval_above_one_says_by_what_factor_fewer(tmp_path: Path) -> None:
    summary = summary_of(tmp_path, grpo=SLOW, sfpo=FAST)
    row = summary.absolute.ratio("sfpo", 0.5, "responses")
    assert row.low is not None and row.high is not None and row.low > 1
    assert said(summary) == (
        f"SFPO reached 0.50 with fewer responses than GRPO, by a factor between {row.low:.2f} and {row.high:.2f} "
        "(95 % interval, 3 and 3 seeds)."
    )


def test_an_interval_below_one_says_by_what_factor_more(tmp_path: Path) -> None:
    text = said(summary_of(tmp_path, grpo=FAST, sfpo=SLOW))
    factor = r"by a factor between 1\.\d\d and \d\.\d\d \(95 % .*\)\."
    assert re.fullmatch(rf"SFPO reached 0\.50 with more responses than GRPO, {factor}", text)


def test_an_interval_around_one_cannot_tell(tmp_path: Path) -> None:
    near = {**SLOW, 1: Run((0.1, 0.2, 0.35, 0.6, 0.6))}
    text = said(summary_of(tmp_path, grpo=SLOW, sfpo=near))
    assert text.startswith("Cannot tell whether SFPO needs fewer responses than GRPO: the interval 0.")
    assert re.search(r"contains 1; (more than )?[\d,]+ seeds per arm would be needed to confirm \d\.\d\d \(95 %", text)


def row_like(summary: Summary, **fields: object) -> Summary:
    """The summary with other numbers in the row of responses at 0.50."""
    rows = [
        replace(row, **fields) if row.axis == "responses" else row  # type: ignore[arg-type]  # fields of the row
        for row in summary.absolute.ratios
    ]
    return replace(summary, absolute=replace(summary.absolute, ratios=tuple(rows)))


def test_a_narrow_interval_around_one_says_how_large_a_difference_is_compatible(tmp_path: Path) -> None:
    summary = summary_of(tmp_path, grpo=SLOW, sfpo=FAST)
    narrow = row_like(summary, point=1.02, low=0.85, high=1.10, verdict=Verdict.alike)
    assert said(narrow) == (
        "SFPO and GRPO: no difference in responses to 0.50 larger than a factor of 1.18 is compatible "
        "(95 % interval, 3 and 3 seeds)."
    )


def test_an_interval_that_does_not_survive_its_family_says_so(tmp_path: Path) -> None:
    summary = summary_of(tmp_path, grpo=SLOW, sfpo=FAST)
    weak = row_like(summary, point=1.3, low=1.05, high=1.60, verdict=Verdict.unclear, family=18, seeds_needed=21)
    assert said(weak) == (
        "Cannot tell whether SFPO needs fewer responses than GRPO: the interval 1.05 to 1.60 of the ratio excludes 1 "
        "alone but not among 18 statements; 21 seeds per arm would be needed to confirm 1.30 "
        "(95 % interval, 3 and 3 seeds)."
    )
    hopeless = row_like(weak, seeds_needed=None)
    assert "more than 1,000 seeds per arm would be needed" in said(hopeless)


def test_the_answer_names_its_family(tmp_path: Path) -> None:
    summary = summary_of(tmp_path, grpo=SLOW, sfpo=FAST, never=NEVER)
    assert {row.family for row in summary.absolute.ratios if row.verdict} == {2}  # 2 arms, 1 target, each axis apart
    assert "2 statements (arms and targets, of responses and of training time each)" in report_markdown(summary)


def judged_on(summary: Summary, axis: str) -> list[tuple[object, ...]]:
    rows = [row for row in summary.absolute.ratios if row.axis == axis]
    return [(row.arm, row.verdict, row.p_value, row.adjusted_p, row.family, row.seeds_needed) for row in rows]


def test_the_verdict_on_responses_does_not_depend_on_the_clock(tmp_path: Path) -> None:
    # What a busy machine does: CPU seconds far below wall-clock seconds, in every arm.
    def busy(runs: dict[int, Run]) -> dict[int, Run]:
        return {seed: replace(run, cpu_per_wall=0.4) for seed, run in runs.items()}

    quiet = summary_of(tmp_path / "quiet", grpo=SLOW, sfpo=FAST, never=NEVER)
    loud = summary_of(tmp_path / "loud", grpo=busy(SLOW), sfpo=busy(FAST), never=busy(NEVER))
    assert clock_warning(quiet) is None and clock_warning(loud) is not None
    assert judged_on(loud, "responses") == judged_on(quiet, "responses")
    assert judged_on(loud, "train_seconds") != judged_on(quiet, "train_seconds")


def test_one_reason_is_said_once(tmp_path: Path) -> None:
    waiting = {seed: replace(run, cpu_per_wall=0.4) for seed, run in SLOW.items()}
    faster = {seed: replace(run, cpu_per_wall=0.4) for seed, run in FAST.items()}
    summary = summary_of(tmp_path, grpo=waiting, sfpo=faster, never=faster)
    reason = "CPU and wall-clock seconds disagree by 60 %"
    head, tables = report_markdown(summary).split("## Final accuracy")
    # The warning, the answer and the figure's caption; then once below the tables of each block.
    assert (head.count(reason), tables.count(reason)) == (3, 2)
    assert "Training time: no arm is compared with GRPO: " + reason in head
    assert reason in figure_caption(summary)


def test_two_seeds_are_too_few_for_a_verdict(tmp_path: Path) -> None:
    folder = Folder({"grpo": {s: SLOW[s] for s in (0, 1)}, "sfpo": {s: FAST[s] for s in (0, 1)}}, seeds=(0, 1))
    summary = build_summary(load_comparison(folder.write(tmp_path)))
    row = summary.absolute.ratio("sfpo", 0.5, "responses")
    assert row.verdict is Verdict.unclear
    assert "fewer than 3 seeds of an arm, too few for a verdict" in said(summary)


def with_problems(runs: dict[int, Run], problems: int) -> dict[int, Run]:
    return {seed: replace(run, problems=problems) for seed, run in runs.items()}


def test_few_problems_are_said_beside_the_responses(tmp_path: Path) -> None:
    summary = summary_of(tmp_path, grpo=with_problems(SLOW, 6), sfpo=with_problems(FAST, 6))
    text = report_markdown(summary)
    assert "n = 100 to 6 problems, over which it is" in text
    assert "of 6 report problems" in text and "off by up to 40 points" in text
    assert "100 responses to 6 problems" in text
    own = report_markdown(summary_of(tmp_path / "own", grpo=SLOW, sfpo=FAST))
    assert "problems, over which" not in own and "of 6 report problems" not in own


def test_the_interval_of_one_run_is_over_its_problems_where_they_are_fewer(tmp_path: Path) -> None:
    summary = summary_of(tmp_path, grpo=with_problems({0: SLOW[0]}, 6))
    final = summary.arm("grpo").final
    assert final is not None and final.interval is IntervalKind.problems
    expected = wilson_interval(6 * final.mean, 6).interval
    assert expected is not None and (final.low, final.high) == (expected.low, expected.high)


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_seconds_of_a_processor_are_expected_of_each_process(tmp_path: Path, processes: int) -> None:
    together = {seed: replace(r, cpu_per_wall=float(processes), processes=processes) for seed, r in SLOW.items()}
    summary = summary_of(tmp_path, grpo=together, sfpo=together)
    assert summary.arm("grpo").cpu_per_wall == pytest.approx(1.0)
    assert clock_warning(summary) is None


def test_times_of_unlike_numbers_of_processes_are_not_compared(tmp_path: Path) -> None:
    together = {seed: replace(run, cpu_per_wall=2.0, processes=2) for seed, run in FAST.items()}
    warning = clock_warning(summary_of(tmp_path, grpo=SLOW, sfpo=together))
    assert warning is not None and "runs differ in processes (1, 2)" in warning


def test_runs_that_are_there_at_first_are_not_called_too_few(tmp_path: Path) -> None:
    there = {seed: Run((0.6, 0.7, 0.8)) for seed in range(3)}
    text = report_markdown(summary_of(tmp_path, grpo=SLOW, sfpo=there))
    assert "a run was already there at its first evaluation" in text
    assert "too few runs for a limit" not in text


def test_an_imported_arm_has_a_trigger_that_nobody_recorded(tmp_path: Path) -> None:
    summary = replace(summary_of(tmp_path, grpo=SLOW, sfpo=FAST), origin="runs.csv")
    assert trigger_text(summary.arm("sfpo"), summary.origin) == "not recorded"
    assert "did not fire" not in report_markdown(summary)


def test_ratios_of_times_are_withheld_and_costs_and_counts_are_not(tmp_path: Path) -> None:
    waiting = {seed: replace(run, cpu_per_wall=0.7) for seed, run in FAST.items()}
    summary = summary_of(tmp_path, grpo=SLOW, sfpo=waiting)
    for axis in CostAxis:
        row = summary.absolute.ratio("sfpo", 0.5, axis.value)
        assert (row.claim is Claim.none) is axis.is_time
        assert summary.absolute.cost("sfpo", 0.5, axis.value).claim is Claim.estimate
    reason = "CPU and wall-clock seconds disagree by 43 % (bound 10 %)"
    assert f"needs less training time than GRPO: {reason}" in plain(
        sentence(summary, "sfpo", 0.5, CostAxis.train_seconds)
    )
    assert f"ratios on time axes are withheld: {reason}" in report_markdown(summary)


def test_each_ratio_stands_beside_what_would_be_detected(tmp_path: Path) -> None:
    summary = summary_of(tmp_path, grpo=SLOW, sfpo=FAST, never=NEVER)
    row = summary.absolute.ratio("sfpo", 0.5, "responses")
    assert row.detectable is not None and row.detectable > 1
    assert f"| {row.detectable:.2f} |" in report_markdown(summary)
    assert summary.absolute.ratio("never", 0.5, "responses").detectable is None  # a bound


def test_seeds_without_spread_are_called_that(tmp_path: Path) -> None:
    alike = {seed: SLOW[0] for seed in range(3)}
    text = said(summary_of(tmp_path / "same", grpo=alike, sfpo=alike))
    assert "larger than a factor of 1.00 is compatible" in text and "no spread between seeds" in text
    same = {seed: FAST[0] for seed in range(3)}
    assert "no spread between seeds" in said(summary_of(tmp_path / "each", grpo=same, sfpo=same))


def test_one_seed_cannot_tell(tmp_path: Path) -> None:
    assert "one seed has no spread" in said(summary_of(tmp_path, grpo=SLOW, sfpo={0: FAST[0]}))


def test_a_baseline_that_does_not_arrive_gives_a_bound(tmp_path: Path) -> None:
    summary = summary_of(tmp_path, grpo=NEVER, sfpo=FAST)
    limit = summary.absolute.ratio("sfpo", 0.5, "responses").low
    assert limit is not None
    assert said(summary) == (
        f"To 0.50 SFPO needs fewer responses than GRPO, by a factor of at least {limit:.2f} "
        "(a bound at 97.5 %; SFPO reached it in 3 of 3 runs, GRPO in 0 of 3)."
    )


def test_an_arm_that_does_not_arrive_gives_a_bound(tmp_path: Path) -> None:
    text = said(summary_of(tmp_path, grpo=FAST, sfpo=NEVER))
    assert re.match(r"To 0\.50 SFPO needs more responses than GRPO, by a factor of at least \d\.\d\d \(a bound", text)


def test_a_bound_on_the_wrong_side_cannot_tell(tmp_path: Path) -> None:
    stopped = {**FAST, 2: replace(FAST[2], accuracies=(0.1, 0.4), state=RunState.failed)}
    text = said(summary_of(tmp_path, grpo=SLOW, sfpo=stopped))
    assert text.startswith("Cannot tell") and "all that is known is a ratio of at most" in text


def test_when_both_do_not_arrive_nothing_is_said(tmp_path: Path) -> None:
    assert "no run of either arm reached it" in said(summary_of(tmp_path, grpo=NEVER, sfpo=NEVER))
    partly = {**FAST, 2: NEVER[2]}
    assert "in both arms some runs did not reach it" in said(summary_of(tmp_path, grpo=partly, sfpo=NEVER))


def test_sentences_of_time_speak_of_time(tmp_path: Path) -> None:
    text = plain(sentence(summary_of(tmp_path, grpo=SLOW, sfpo=FAST), "sfpo", 0.5, CostAxis.train_seconds))
    assert "with less training time than GRPO, by a factor" in text


def test_the_report_answers_before_it_explains(tmp_path: Path) -> None:
    summary = summary_of(tmp_path, grpo=SLOW, sfpo=FAST)
    text = report_markdown(summary)
    order = ["# synthetic", "Runs finished: GRPO 3 of 3; SFPO 3 of 3.", "## Answer", said(summary), "figure.png"]
    order += ["## Final accuracy", "## Cost to the targets fixed", "Read with care", "## Arms", "## Notes"]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert "Not complete" not in text
    assert "Device: cpu." in text and "Costs are made up too." in text


def test_unfinished_runs_are_named_with_their_cause(tmp_path: Path) -> None:
    failed = Run((0.1, 0.2), state=RunState.failed, cause="loss is not finite at step 3")
    text = report_markdown(summary_of(tmp_path, grpo=SLOW, sfpo={0: FAST[0], 1: failed}))
    assert "**Not complete.**" in text
    assert "- SFPO, seed 1: failed at step 2 of 10: loss is not finite at step 3" in text
    assert "- SFPO, seed 2: pending at step 0 of 10, no evaluation" in text


def test_every_table_row_has_as_many_cells_as_its_header(tmp_path: Path) -> None:
    names = {"sfpo": "a|b *c* _d_ <e>\nf", "never": "[x](y) `z`"}
    text = report_markdown(summary_of(tmp_path, names, grpo=SLOW, sfpo=FAST, never=NEVER))
    for block in re.findall(r"(?:^\|.*\|\n)+", text, flags=re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1
    assert r"a\|b \*c\* \_d\_ \<e\> f" in text


def test_tables_show_every_axis_in_cells_a_reader_can_use(tmp_path: Path) -> None:
    text = report_markdown(summary_of(tmp_path, grpo=SLOW, sfpo=FAST, never=NEVER))
    assert set(TABLE_ORDER) == set(CostAxis)
    assert re.search(r"\| 0\.50 \| GRPO \| 2\d\d \(\d+ to \d+\) \| 3 of 3 \| baseline \|", text)
    assert "| NEVER | at least 256 in these runs (a) | 0 of 3 |" in text and "(a) too few runs for a limit." in text
    assert re.search(r"\| 0 of 3 \| at most \d\.\d\d \(97\.5 % limit\) \|", text)


def test_without_targets_or_rivals_the_answer_says_so(tmp_path: Path) -> None:
    alone = summary_of(tmp_path / "alone", grpo=SLOW)
    assert "There is only the baseline" in report_markdown(alone)
    folder = Folder({"grpo": SLOW, "sfpo": FAST}, targets=(), seeds=(0, 1, 2))
    free = build_summary(load_comparison(folder.write(tmp_path / "free")))
    assert "No target was fixed" in report_markdown(free)


def test_costs_table_holds_every_row_of_both_blocks(tmp_path: Path) -> None:
    summary = summary_of(tmp_path, grpo=SLOW, sfpo=FAST)
    frame = costs_table(summary)
    assert len(frame) == 2 * len(CostAxis) * 2
    row = frame.query("block == 'absolute' and axis == 'responses' and arm == 'sfpo'").iloc[0]
    expected = summary.absolute.ratio("sfpo", 0.5, "responses")
    assert (row["ratio"], row["ratio_low"], row["baseline_reached"]) == (expected.point, expected.low, 3)
    assert set(frame.query("arm == 'grpo'")["ratio_claim"]) == {"baseline"}


def test_final_table_holds_sampled_and_greedy(tmp_path: Path) -> None:
    greedy = {seed: replace(run, greedy=0.9) for seed, run in FAST.items()}
    frame = final_table(summary_of(tmp_path, grpo=SLOW, sfpo=greedy))
    assert frame[["arm", "mode"]].to_numpy().tolist() == [["grpo", "sampled"], ["sfpo", "sampled"], ["sfpo", "greedy"]]
    assert frame["responses"].tolist() == ["100"] * 3


@pytest.mark.parametrize(
    ("shares", "size"), [((1.0, 1.05), None), ((0.8, 0.8), "20 %"), ((1.0, 1.2), "20 %"), ((0.93, 1.05), "13 %")]
)
def test_clocks_that_disagree_by_more_than_a_tenth_are_reported(
    tmp_path: Path, shares: tuple[float, float], size: str | None
) -> None:
    arms = [{seed: replace(run, cpu_per_wall=share) for seed, run in SLOW.items()} for share in shares]
    warning = clock_warning(summary_of(tmp_path, grpo=arms[0], sfpo=arms[1]))
    if size is None:
        assert warning is None
    else:
        assert warning is not None and f"disagree by {size} (bound 10 %)" in warning


def test_several_threads_need_only_agree_between_arms(tmp_path: Path) -> None:
    same = {seed: replace(run, cpu_per_wall=1.9) for seed, run in SLOW.items()}
    other = {seed: replace(run, cpu_per_wall=1.5) for seed, run in SLOW.items()}

    def warned(place: str, sfpo: dict[int, Run]) -> str | None:
        folder = Folder({"grpo": same, "sfpo": sfpo}, seeds=(0, 1, 2), settings={"threads": 2})
        return clock_warning(build_summary(load_comparison(folder.write(tmp_path / place))))

    assert warned("a", same) is None
    warning = warned("b", other)
    assert warning is not None and warning.endswith("expected is the same in every arm")


def test_different_devices_are_reported(tmp_path: Path) -> None:
    other = {seed: replace(run, device="gpu") for seed, run in FAST.items()}
    assert "withheld: runs differ in device (cpu; gpu)" in report_markdown(summary_of(tmp_path, grpo=SLOW, sfpo=other))


def test_the_trigger_is_reported_with_its_steps(tmp_path: Path) -> None:
    fired = {**FAST, 1: replace(FAST[1], trigger_step=5), 2: replace(FAST[2], trigger_step=7)}
    text = report_markdown(summary_of(tmp_path, grpo=SLOW, sfpo=fired))
    assert "steps 5, 7 (2 of 3 runs)" in text and "did not fire" in text


@pytest.mark.parametrize(
    ("value", "text"), [(2560.4, "2,560"), (61.44, "61.4"), (7.0, "7"), (0.0, "0"), (123456.0, "123,456")]
)
def test_counts(value: float, text: str) -> None:
    assert count_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1204.4, "1,204"),
        (99.96, "100"),
        (35.23, "35.2"),
        (9.996, "10.0"),
        (3.1, "3.10"),
        (0.99996, "1.00"),
        (0.42, "0.420"),
    ],
)
def test_seconds(value: float, text: str) -> None:
    assert seconds_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.306, "2.31"),
        (1.0, "1.00"),
        (1.004, "1.004"),
        (0.9996, "0.9996"),
        (15.42, "15.4"),
        (120.4, "120"),
        (0.004, "0.004"),
    ],
)
def test_a_ratio_near_one_is_told_from_one(value: float, text: str) -> None:
    assert ratio_text(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.7, "0.70"), (0.725, "0.725"), (1.0, "1.00"), (0.75349, "0.7535")])
def test_targets(value: float, text: str) -> None:
    assert target_text(value) == text


def test_plain_text_is_left_alone_and_marks_are_escaped() -> None:
    assert line_markdown(line("SFPO (K = 3, \u03b1 = 0.8)")) == "SFPO (K = 3, \u03b1 = 0.8)"
    assert line_markdown(line("a|b\n$c$")) == r"a\|b \$c\$"


def test_no_statement_kind_is_without_a_cell(tmp_path: Path) -> None:
    stopped = {**FAST, 2: replace(FAST[2], accuracies=(0.1, 0.4), state=RunState.failed)}
    summary = summary_of(tmp_path, grpo=SLOW, sfpo=FAST, stopped=stopped, never=NEVER, absent={})
    claims = {row.claim for row in summary.absolute.ratios}
    assert claims == {Claim.estimate, Claim.at_most, Claim.none}
    assert "None" not in report_markdown(summary)
