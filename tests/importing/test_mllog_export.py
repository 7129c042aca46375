"""Runs as logs of MLPerf: the checker of MLPerf takes them, and imported again they are the same curves."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from sfpo_bench.cli import main
from sfpo_bench.cli.hydra_store import register
from sfpo_bench.core.costs import Costs
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.hydra_version import VERSION_BASE
from sfpo_bench.core.types import EvaluationRecord, Split
from sfpo_bench.importing.mllog import ABORTED, STATUS, SUCCESS, TOKEN, Event, Key, events
from sfpo_bench.importing.mllog_export import ExportedRun, Submission, log_text
from sfpo_bench.reports import curves_frame, load_comparison
from sfpo_bench.reports.load import SeedStatus
from sfpo_bench.results.journal import encode
from sfpo_bench.results.run_folder import RunFolder, RunState, RunStatus
from tests.extras import needs

ROOT = Path(__file__).parents[2]
ADDITION = ROOT / "notebooks" / "data" / "smollm2_addition"
ABOUT = Submission("sfpo_bench", "not stated", "not stated")


def exported() -> list[ExportedRun]:
    """Runs of this package that the notebooks are shown on."""
    comparison = load_comparison(ADDITION)
    arms = comparison.plan.arms
    return [
        ExportedRun(one, arms[one.arm].label, comparison.plan.axes, arms[one.arm].settings) for one in comparison.runs
    ]


def parsed(text: str) -> list[Event]:
    return list(events("log", text, False, []))


def test_logs_that_are_imported_again_are_the_same_curves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["export-logs", "mllog", str(ADDITION), "out=logs", "target=0.5"])
    assert "success is an accuracy of 0.5" in capsys.readouterr().out
    main(["import", "logs", "name=again"])
    columns = ["seed", "step", "accuracy", "n", "prompts", "responses", "tokens", "optimizer_steps", "train_seconds"]
    first, again = load_comparison(ADDITION), load_comparison(tmp_path / "results" / "again")
    assert {arm.label for arm in again.plan.arms.values()} == {arm.label for arm in first.plan.arms.values()}
    frames = []
    for comparison in (first, again):
        frame = curves_frame(comparison)
        frame["arm"] = [comparison.plan.arms[arm].label for arm in frame["arm"]]
        frames.append(frame.sort_values(["arm", "seed", "step"], ignore_index=True)[["arm", *columns]])
    pd.testing.assert_frame_equal(frames[0], frames[1], check_dtype=False, check_exact=True)
    assert len(frames[0]) > 20
    with pytest.raises(SystemExit):
        main(["export-logs", "mllog", str(ADDITION), "out=logs"])
    assert "out = logs exists already" in capsys.readouterr().err


def test_a_log_holds_what_every_benchmark_of_mlperf_asks_for_once_and_in_order() -> None:
    """The rules of `training_6.1.0/common.yaml` that are of the form."""
    one = exported()[0]
    lines = parsed(log_text(one, ABOUT))
    keys = [event.key for event in lines]
    counts = Counter(keys)
    once = ("submission_org", "submission_platform", "submission_division", "submission_benchmark", "init_stop",
            "run_start", "run_stop", "train_samples", "eval_samples", "micro_batch_size", "config_filename", "seed",
            "lowest_numerical_precision_in_attn", "tensor_parallelism")  # fmt: skip
    assert {key: counts[key] for key in once} == dict.fromkeys(once, 1)
    order = [
        keys.index(key) for key in ("cache_clear", "init_start", "seed", "init_stop", "run_start", "eval_accuracy")
    ]
    assert order == sorted(order) and keys[-1] == "run_stop"
    assert [event.time_ms for event in lines] == sorted(event.time_ms for event in lines)
    assert counts["eval_accuracy"] == counts["eval_start"] == counts["block_stop"] == len(one.run.curve)
    assert all(
        "samples_count" in event.metadata for event in lines if event.key.startswith(("eval_st", "block", "eval_a"))
    )
    batch = next(event.value for event in lines if event.key == Key.batch)
    assert batch == one.run.curve[1].costs.responses / one.run.curve[1].step


def test_the_checker_of_mlperf_takes_the_log(tmp_path: Path) -> None:
    needs("mlperf_logging")
    from mlperf_logging.compliance_checker import mlp_compliance, mlp_parser

    path = tmp_path / "result_0.txt"
    path.write_text(log_text(exported()[0], ABOUT))
    lines, errors = mlp_parser.parse_file(str(path), ruleset="6.1.0")
    assert errors == [] and len(lines) == path.read_text().count(TOKEN)

    def found(without: str) -> list[str]:
        checker = mlp_compliance.make_checker("training", "6.1.0", quiet=False, werror=True)
        rules = Path(mlp_compliance.__file__).parent / "training_6.1.0" / "common.yaml"
        checker.configured_checks([line for line in lines if line.key != without], str(rules))
        mlp_compliance.enqueued_configs.clear()  # those of one benchmark
        return [*checker.overwritable.values(), *checker.not_overwritable]

    assert found("") == []
    assert "run_stop" in found("run_stop")[0]  # the rules are looked at


@pytest.mark.parametrize(
    ("status", "target", "said"),
    [
        (SeedStatus.finished, 0.0, SUCCESS),
        (SeedStatus.finished, 0.001, SUCCESS),
        (SeedStatus.finished, 1.0, ABORTED),
        (SeedStatus.failed, 0.0, ABORTED),
        (SeedStatus.running, 0.0, None),
        (SeedStatus.interrupted, 0.0, None),
    ],
)
def test_how_a_run_ended_stands_at_its_end(status: SeedStatus, target: float, said: str | None) -> None:
    one = exported()[0]
    ended = replace(one, run=replace(one.run, status=status))
    stops = [e for e in parsed(log_text(ended, replace(ABOUT, target=target))) if e.key == Key.run_stop]
    assert [event.metadata[STATUS] for event in stops] == ([] if said is None else [said])


def test_a_run_that_tells_no_responses_or_has_no_evaluation_is_refused() -> None:
    one = exported()[0]
    with pytest.raises(ConfigError, match=r"did not record responses, .* found train_seconds"):
        log_text(replace(one, axes=("train_seconds",)), ABOUT)
    with pytest.raises(ConfigError, match="has no evaluation yet"):
        log_text(replace(one, run=replace(one.run, curve=())), ABOUT)


def test_a_run_of_a_comparison_and_an_imported_one_without_a_clock_are_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.csv").write_text("step,arm,seed,accuracy,responses\n0,a,3,0.1,0\n5,a,3,0.7,320\n5,b,4,0.2,320\n")
    main(["import", "log.csv", "targets=[0.5]", "name=made"])
    main(["export-logs", "mllog", "results/made/runs/a/seed-0003", "out=one"])
    [file] = (tmp_path / "one").rglob("*.txt")
    assert file.relative_to(tmp_path).as_posix() == "one/a/result_3.txt"
    told = {event.key: event for event in parsed(file.read_text())}
    assert told["target_accuracy"].value == 0.5 and told["run_stop"].metadata[STATUS] == SUCCESS
    main(["export-logs", "mllog", "results/made", "out=all"])
    main(["import", "all", "name=again"])
    again = load_comparison(tmp_path / "results" / "again")
    assert again.plan.axes == ("responses",)
    assert [
        (one.arm, one.seed, [(e.step, e.accuracy, e.costs.responses) for e in one.curve]) for one in again.runs
    ] == [
        ("a", 3, [(0, 0.1, 0), (5, 0.7, 320)]),
        ("b", 4, [(5, 0.2, 320)]),
    ]
    assert json.loads(file.read_text().splitlines()[0][len(TOKEN) :])["event_type"] == "POINT_IN_TIME"


def test_a_run_by_itself_is_exported_with_its_sampled_evaluations_on_the_report_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    register()
    with initialize_config_module("sfpo_bench.conf", **VERSION_BASE):
        node = compose("train", ["seed=5", "rollout.prompts=4", "rollout.group=8", "training.stop_at.accuracy=0.9"])
        by_report = compose(
            "train",
            ["seed=5", "rollout.prompts=4", "rollout.group=8", "training.stop_at.accuracy=0.9",
             "training.stop_at.split=report", "training.stop_at.allow_report=true"],
        )  # fmt: skip
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.config.write_text(OmegaConf.to_yaml(node, resolve=True))
    folder.write_status(RunStatus(RunState.finished, 10, 10))
    one = EvaluationRecord(0, 0.0, Costs(), Split.report, "sampled", 1.0, 0.25, 64, 64, {}, 0, 2.0)
    last = replace(one, step=10, accuracy=0.75, costs=Costs(responses=320, train_seconds=20.5, total_seconds=30.0))
    others = [replace(last, mode="greedy"), replace(last, split=Split.select, accuracy=0.95)]
    folder.journal.write_bytes(b"".join(encode(record) for record in (one, last, *others)))
    main(["export-logs", "mllog", "run", "out=other"])
    [file] = (tmp_path / "other").rglob("*.txt")
    assert "target_accuracy" not in file.read_text(), "a rule on select problems says nothing of report problems"
    folder.config.write_text(OmegaConf.to_yaml(by_report, resolve=True))
    main(["export-logs", "mllog", "run", "out=logs"])
    [file] = (tmp_path / "logs").rglob("*.txt")
    lines = parsed(file.read_text())
    told = {event.key: event for event in lines}
    assert file.name == "result_5.txt" and told[Key.batch].value == 32 and told["target_accuracy"].value == 0.9
    found = [(event.value, event.metadata["samples_count"]) for event in lines if event.key == Key.eval_accuracy]
    assert found == [(0.25, 0), (0.75, 320)]
    assert told["run_stop"].metadata[STATUS] == ABORTED  # 0.9 was not reached on the report problems
    assert (told["run_stop"].time_ms, told["run_start"].time_ms) == (32000, 0)
