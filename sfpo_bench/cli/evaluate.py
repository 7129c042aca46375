"""`sfpo-bench evaluate`: sample a model on a suite, keep every sample, grade, and write the scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from sfpo_bench.cli.progress import say
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.stop import StopRequest
from sfpo_bench.evaluation import run
from sfpo_bench.evaluation.record import Evaluation, runs_of
from sfpo_bench.evaluation.sample_board import SampleBoard
from sfpo_bench.results.sample_store import SampleStore
from sfpo_bench.settings.config import to_settings
from sfpo_bench.settings.evaluation import EvaluateSettings
from sfpo_bench.settings.launcher import LocalLauncher
from sfpo_bench.tracking.store_warnings import StoreWarnings
from sfpo_bench.tracking.stores import EMBEDDED, check_store, delivery_of
from sfpo_bench.workers.build import slot_count

_STOPPING = "stopping after the responses in progress, which are kept. Ctrl-C again ends at once"


def act(node: DictConfig) -> None:
    settings = to_settings(node, EvaluateSettings)
    check_store(settings.tracking, _store_folder(settings))
    processes = settings.launching.processes_per_run
    if processes != 1:
        raise ConfigError(
            f"launcher.processes_per_run = {processes} with evaluate, which runs one process per slot; expected 1: "
            "raise the number of slots instead"
        )
    runs = runs_of(Path(settings.run)) if settings.run else []
    arms = sorted({place.parent.name for place in runs})
    if settings.label and len(arms) > 1:
        raise ConfigError(
            f"label = {settings.label!r} for the arms {', '.join(arms)}, which tables would hold to be one; expected "
            "no label: the arms have names"
        )
    each = [replace(settings, run=str(place)) for place in runs] or [settings]
    plans = [run.plan(one) for one in each]  # check every run before the first one is evaluated
    texts = _evaluate_all(settings, plans)
    if runs:
        say(f"{len(runs)} runs evaluated; sfpo-bench scores folders=[{settings.run}] compares their arms")
    else:
        say(texts[0])


def _evaluate_all(settings: EvaluateSettings, plans: Sequence[run.EvaluationPlan]) -> list[str]:
    """Evaluate in this process or in the slots of a launcher; return one text of scores per plan."""
    texts: list[str] = []
    warnings = StoreWarnings()

    def done(plan: run.EvaluationPlan, found: Evaluation) -> None:
        texts.append(_report(plan.settings, found, warnings))

    slots = slot_count(settings.launching, settings.slots)
    if slots > 1 or not isinstance(settings.launching, LocalLauncher):
        from sfpo_bench.evaluation.in_slots import evaluate_in_slots

        name = plans[0].owner.label if len(plans) == 1 else f"{len(plans)} runs"
        with SampleBoard(f"{name} on {plans[0].suite.name}, {slots} slots") as board:
            evaluate_in_slots(
                plans, slots, StopRequest(acknowledgement=_STOPPING), run.SampleProgress(board.start, board.done), done
            )
        return texts
    for plan in plans:
        with SampleBoard(f"{plan.owner.label} on {plan.suite.name}") as board:
            found = run.evaluate(
                plan, StopRequest(acknowledgement=_STOPPING), run.SampleProgress(board.start, board.done)
            )
        done(plan, found)
    return texts


def _report(settings: EvaluateSettings, found: Evaluation, warnings: StoreWarnings) -> str:
    from sfpo_bench.evaluation.publish import publish

    files = publish(found, delivery_of(settings.tracking, _store_folder(settings)), warnings)
    text = files.markdown.read_text(encoding="utf-8").replace("\\", "").replace("**", "").rstrip()
    return f"{text}\n\nsamples: {SampleStore(found.folder).graded_file}\ntable:   {files.markdown}"


def _store_folder(settings: EvaluateSettings) -> Path:
    """Return the folder of the tracking store's files: the nearest one above the run, else `output_root`."""
    file = EMBEDDED.get(settings.tracking.store)
    if settings.run and file:
        place = Path(settings.run).absolute()
        for above in place.parents:
            if (above / file).exists():
                return above
    return Path(settings.output_root)
