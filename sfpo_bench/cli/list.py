"""`sfpo-bench list`: prints the comparisons, sweeps, studies and runs of an output folder with their state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from omegaconf import DictConfig

from sfpo_bench.cli.hydra_store import verb_settings
from sfpo_bench.cli.progress import say
from sfpo_bench.cli.settings import ListSettings
from sfpo_bench.cli.sweep_list import describe_sweep, watch
from sfpo_bench.core.errors import BenchError
from sfpo_bench.core.types import EvaluationRecord, Split
from sfpo_bench.results.comparison import ComparisonFolder
from sfpo_bench.results.journal import read_journal
from sfpo_bench.results.run_folder import RunFolder, RunState
from sfpo_bench.results.stored_files import reading
from sfpo_bench.results.study import StudyFolder
from sfpo_bench.results.sweep import SweepFolder


def act(node: DictConfig) -> None:
    settings = verb_settings(node, ListSettings)
    root = Path(settings.output_root)
    if settings.watch:
        watch(root, settings.watch)
        return
    comparisons = ComparisonFolder.inside(root)
    single = RunFolder.inside(root)
    sweeps, studies = SweepFolder.inside(root), StudyFolder.inside(root)
    if not comparisons and not single and not sweeps and not studies:
        say(f"nothing below {root} yet; `sfpo-bench compare` makes the first comparison")
    for comparison in comparisons:
        say(f"comparison {comparison.path}")
        for arm in comparison.arm_folders():
            states = Counter(_state(RunFolder(path)) for path in sorted(arm.glob("seed-*")))
            say(f"  {arm.name:20} {', '.join(f'{count} {state}' for state, count in states.items())}")
    for sweep in sweeps:
        say(_readable(sweep.path, "sweep", describe_sweep))
    for study in studies:
        say(_readable(study.path, "study", _describe_study))
    for run in single:
        say(_readable(run.path, "run", lambda path: f"run {path}  {describe(RunFolder(path))}"))


def _readable(path: Path, what: str, line: Callable[[Path], str]) -> str:
    """Return the line for a folder, or the error for a damaged one, so that the others are still listed."""
    try:
        return line(path)
    except BenchError as error:
        return f"{what} {path}  unreadable: {error}"


def _state(folder: RunFolder) -> str:
    try:
        return _alive(folder, folder.status().state)
    except BenchError as error:
        return f"unreadable ({error})"


def _describe_study(path: Path) -> str:
    status = RunFolder(path).status()
    return f"study {path}  {_alive(RunFolder(path), status.state)}, {status.step} of {status.steps} parts done"


def describe(folder: RunFolder) -> str:
    """Return the state, step and latest report accuracy of a run as one line."""
    status = folder.status()
    with reading(folder.journal):
        curve = [r for r in read_journal(folder.journal) if isinstance(r, EvaluationRecord)]
        latest = next((r for r in reversed(curve) if r.split is Split.report and r.mode == "sampled"), None)
        accuracy = f", accuracy {latest.accuracy:.3f} (n = {latest.n}) at step {latest.step}" if latest else ""
    if curve and not folder.status_file.is_file():
        return f"status.json is gone (the same command resumes the run){accuracy}"
    cause = f": {status.cause}" if status.cause else ""
    target = " at its target" if status.at_target else ""
    return f"{_alive(folder, status.state)}{target}, step {status.step} of {status.steps}{accuracy}{cause}"


def _alive(folder: RunFolder, state: RunState) -> str:
    """Return the state as text; a run recorded as running that no process has locked was killed."""
    if state is RunState.running and not folder.is_held():
        return "killed (the same command resumes it)"
    return state.value
