"""The folders that results lie in: each file has one name, one writer and one reader, and knows who it belongs to."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from sfpo_bench.core.errors import ComparisonChanged, ConfigError
from sfpo_bench.core.types import Split
from sfpo_bench.results import codec
from sfpo_bench.results.codec import to_json
from sfpo_bench.results.comparison import ComparisonFolder, ComparisonPlan, PlannedArm
from sfpo_bench.results.containers import container_at, container_of, study_of
from sfpo_bench.results.evaluation import (
    Asked,
    EvaluationFolder,
    ModelPin,
    Owner,
    ServerRecord,
    read_asked,
    read_server,
    write_asked,
    write_server,
)
from sfpo_bench.results.identity import Identity, refuse
from sfpo_bench.results.run_folder import RunFolder, RunState, RunStatus, TakenFrom
from sfpo_bench.results.sample_store import SampleStore, SamplingIdentity
from sfpo_bench.results.stored_files import write_atomically
from sfpo_bench.results.study import PartRecord, StudyFolder, StudyPlan
from sfpo_bench.results.sweep import SweepFolder, SweepPlan, TrialsRecord

ARMS = {"sfpo": PlannedArm("SFPO", "slow", ("a=1",), {"learner.learning_rate": 1e-4, "targets": [0.5, None]})}
PLAN = ComparisonPlan(1, "x", "sfpo", "é", "", (0.5, 0.25), Split.report, "sampled", 1.0, (0, 3), 60, "abc", ARMS)
SWEEP = SweepPlan(1, "s", "", 6, 2, {"x": {"low": 0.0}}, "", False, {"g": {"axis": "tokens"}}, {"seeds": 1}, {}, "abc")
TRIALS = TrialsRecord(({"number": 0, "values": [None]},), 12.5, {"x": 0.75})
STUDY = StudyPlan("t", "", {"sfpo": "SFPO"}, "sfpo", (0, 1), 60, "embedded", 4, "", "tokens", "abc")
PART = PartRecord({"seeds": [0, 1]}, "up", {"rows": 3}, {"a.csv": "0" * 64})
SAMPLING = SamplingIdentity("0" * 64, "transformers", "float32", 1.0, 0.9, 256, 7)
ASKED = Asked("embedded", "report", 4, {"a": "boxed"}, {"a": 40}, ("a",), {"t": ("1", "2")}, 1.5)
SERVER = ServerRecord("http://h/v1", "m", "folder/m", "vllm", "m", "messages", ("seed",), 4096, "é")
OWNER = Owner("sfpo 0", "sfpo", 0, None, "uid", ModelPin("m", "", "1" * 64))


def test_no_two_modules_spell_the_same_file_name() -> None:
    spec = importlib.util.spec_from_file_location("house", Path(__file__).parents[2] / "benchmarks" / "house.py")
    assert spec is not None and spec.loader is not None
    house = sys.modules["house"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(house)
    spelled = house.file_names(house.read(Path(codec.__file__).parents[1]))
    assert {name: places for name, places in spelled.items() if len(places) > 1} == {}


def written_and_read(folder: Path) -> dict[str, tuple[object, Callable[[], object], Path]]:
    """Every record with its reader and its file, once it is written."""
    comparison, sweep, study = ComparisonFolder(folder), SweepFolder(folder), StudyFolder(folder)
    evaluation, store, run = EvaluationFolder(folder), SampleStore(folder / "samples"), RunFolder(folder)
    status = RunStatus(RunState.failed, 3, 60, "out of memory: “é”")
    comparison.write_plan(PLAN)
    sweep.write_plan(SWEEP)
    sweep.write_trials(TRIALS)
    study.write_plan(STUDY)
    study.write_part("tune", PART)
    evaluation.write_owner(OWNER)
    write_asked(store, SAMPLING, ASKED)
    write_server(store, SERVER)
    run.write_status(status)
    taken = TakenFrom("results/studies/é/comparison/runs/sfpo/seed-0003")
    write_atomically(run.taken_from_file, to_json(taken))
    return {
        "comparison": (PLAN, comparison.plan, comparison.plan_file),
        "sweep": (SWEEP, sweep.plan, sweep.plan_file),
        "trials": (TRIALS, sweep.trials, sweep.trials_file),
        "study": (STUDY, study.plan, study.plan_file),
        "part": (PART, lambda: study.part("tune"), study.part_file("tune")),
        "owner": (OWNER, evaluation.owner, evaluation.owner_file),
        "asked": (ASKED, lambda: read_asked(store).asked, store.identity_file),
        "server": (SERVER, lambda: read_server(store), store.server_file),
        "status": (status, run.status, run.status_file),
        "taken from": (taken, run.taken_from, run.taken_from_file),
    }


def test_what_is_written_is_read_back_equal(tmp_path: Path) -> None:
    for name, (record, reader, _) in written_and_read(tmp_path).items():
        assert reader() == record, name


@pytest.mark.parametrize("content", [b"", b"{}", b'{"schema_version": 1}', b"[1, 2]", b"\xff\xfe", b'{"a": '])
def test_damage_is_one_error_that_names_the_file_and_says_what_to_do(content: bytes, tmp_path: Path) -> None:
    for name, (_, reader, file) in written_and_read(tmp_path).items():
        file.write_bytes(content)
        if name == "trials" and content.startswith(b"{") and content.endswith(b"}"):
            continue  # a sweep without trials yet
        with pytest.raises(ConfigError) as found:
            reader()
        assert str(file) in str(found.value) and "; " in str(found.value), name


def test_runs_know_who_they_belong_to_and_a_run_by_itself_belongs_to_nobody(tmp_path: Path) -> None:
    study = StudyFolder(tmp_path / "study")
    comparison, sweep = ComparisonFolder(study.comparison), SweepFolder(study.path / "sweeps" / "s")
    of_comparison, of_trial = comparison.run("sfpo", 3), sweep.run(7, 100)
    assert container_of(of_comparison) is None, "nothing was started yet"
    study.write_plan(STUDY)
    comparison.write_plan(PLAN)
    sweep.write_plan(SWEEP)
    for run in (of_comparison, of_trial):
        run.path.mkdir(parents=True)
        run.config.write_text("seed: 0\n")
    assert container_of(of_comparison) == comparison and container_of(of_trial) == sweep
    assert study_of(comparison) == study and study_of(sweep) == study
    assert container_at(study.path) == study and container_at(tmp_path) is None
    assert container_of(RunFolder(tmp_path / "runs" / "alone")) is None
    assert comparison.started_runs() == [of_comparison] and sweep.runs() == [of_trial]


def test_one_way_to_compare_names_every_difference_and_takes_json_as_what_was_written() -> None:
    made = Identity.of({"training": {"steps": 60, "seeds": (0, 1)}, "name": "x"})
    assert made == Identity.of({"training.steps": 60, "training.seeds": [0, 1], "name": "x"})
    assert made == Identity(json.loads(json.dumps(dict(made.values))))
    asked = Identity.of({"training": {"steps": 80, "seeds": (0, 1)}, "split": "report"})
    changed = made.differences(asked)
    assert changed == ["name: x -> (absent)", "split: (absent) -> report", "training.steps: 60 -> 80"]
    with pytest.raises(ComparisonChanged, match=r"here: name: x -> \(absent\); .*60 -> 80\. Undo it"):
        refuse("here", changed, "Undo it")
    refuse("here", made.differences(made), "Undo it")
    assert made.without(["name"]).differences(asked.without(["split"])) == ["training.steps: 60 -> 80"]


def test_equal_identities_have_equal_digests_and_samples_are_found_where_they_always_lay() -> None:
    assert Identity.of({"a": 1, "b": 2}).digest == Identity.of({"b": 2, "a": 1}).digest
    assert Identity.of({"a": 1}).digest != Identity.of({"a": 2}).digest
    text = json.dumps(asdict(SAMPLING), sort_keys=True)
    assert SAMPLING.digest == hashlib.sha256(text.encode()).hexdigest()[:12]


def test_another_models_samples_are_refused_by_the_difference_and_kept(tmp_path: Path) -> None:
    folder = EvaluationFolder(tmp_path)
    folder.write_owner(OWNER)
    folder.write_owner(replace(OWNER, label="renamed"))
    other = replace(OWNER, model=ModelPin("m", "", "2" * 64))
    with pytest.raises(ComparisonChanged, match=f"holds samples of another model: sha256: {'1' * 64} -> {'2' * 64}"):
        folder.write_owner(other)
    assert folder.owner().label == "renamed"
