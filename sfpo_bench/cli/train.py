"""`sfpo-bench train`: trains one run, or resumes it from its last checkpoint."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from sfpo_bench.cli.progress import RunProgress, say
from sfpo_bench.core.errors import CheckpointError, TrackingError
from sfpo_bench.core.types import Split
from sfpo_bench.models.load import pinned
from sfpo_bench.results.names import check_unlike
from sfpo_bench.results.run_folder import RunFolder, RunState
from sfpo_bench.settings.config import RunConfig, from_node
from sfpo_bench.settings.overruled import SettingsReader, refuse_overruled
from sfpo_bench.settings.written import everything
from sfpo_bench.tracking.store_warnings import StoreWarnings
from sfpo_bench.training.processes import is_first, world_size
from sfpo_bench.training.run import code_changed, is_finished, prepare, target_step, train, wait_until_prepared
from sfpo_bench.training.run import plain_node as resolved

if TYPE_CHECKING:
    from sfpo_bench.core.stop import StopRequest


def act(node: DictConfig) -> None:
    refuse_ignored()
    config = from_node(node)
    folder = RunFolder(config.run_folder)
    check_unlike(folder.path)
    check_before_torch(config)
    prepared = resolved(node, {"comparison": {}, "sweep": {}, "study": {}, **pinned(config.model)})
    if not is_first(os.environ):
        _follow(folder, prepared, config)
        return
    changed = code_changed(folder)
    prepare(folder, prepared, config.device)
    if is_finished(folder, config.training):
        say(f"{folder.path} is finished already; `sfpo-bench list` shows it, {_what_makes_longer(folder, config)}")
        _Tracking(config, folder).complete()
        return
    warn_of_few_problems(config, Split.report)
    if changed:
        say(f"warning: {folder.path} was started by other code; its first and last steps will not be of one kind")
    _train(config, folder)
    status = folder.status()
    say(f"finished{f' at its target, step {status.step}' if status.at_target else ''}: {folder.path}")


def _what_makes_longer(folder: RunFolder, config: RunConfig) -> str:
    """Return how to continue a finished run."""
    at = target_step(folder, config.training)
    if at is None:
        return "a larger training.steps makes it longer"
    return (
        f"and was at its target, {config.training.stop_at}, at step {at}: a larger training.steps changes nothing, "
        "training.stop_at.accuracy=0 (or a higher one) lets it continue"
    )


def refuse_ignored() -> None:
    """Raise `ConfigError` for a setting on the command line that a single run does not read."""
    hydra = HydraConfig.get()
    written = everything(str(hydra.job.config_name), list(hydra.overrides.task), primary_is_shared=True)
    refuse_overruled(SettingsReader.train, written)


def _follow(folder: RunFolder, prepared: DictConfig, config: RunConfig) -> None:
    """Train in a process that is not rank 0: it writes and prints nothing."""
    wait_until_prepared(folder, prepared)
    if not is_finished(folder, config.training):
        train(folder.path, _stop_request(folder))


def _stop_request(folder: RunFolder) -> StopRequest:
    """Return a stop request by signal; with several ranks also by file, since torchrun kills soon after a signal, and
    by the end of torchrun. Ranks that were started by hand may outlive the shell that started them."""
    from sfpo_bench.core.stop import StopRequest

    if world_size(os.environ) == 1:
        return StopRequest()
    torchrun = os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else None
    return StopRequest(parent_pid=torchrun, file=folder.stop_file)


def check_before_torch(config: RunConfig) -> None:
    """Raise for an invalid tracking store or missing data or models, before torch is imported."""
    from sfpo_bench.models.load import locate
    from sfpo_bench.rollout.vllm_environment import require_vllm
    from sfpo_bench.settings.rollout import VllmRollout
    from sfpo_bench.tracking.stores import check_store

    check_store(config.tracking, Path(config.output_root))
    if isinstance(config.rollout, VllmRollout):
        require_vllm(config.rollout)
    locate(config.model)
    for split in Split:
        for problem in config.policy_task.problems(split)[:1]:
            config.policy_task.prompt(problem)


def warn_of_few_problems(config: RunConfig, split: Split) -> None:
    """Warn if the accuracies of a run are measured on few problems."""
    from sfpo_bench.statistics.few_problems import few_problems

    evaluation = config.evaluation
    responses = evaluation.responses if split.value == "report" else evaluation.select_responses
    asked = min(responses, len(config.policy_task.problems(split)))
    warning = few_problems(asked, split.value) if asked else None
    if warning:
        say(f"warning: {warning}")


def _train(config: RunConfig, folder: RunFolder) -> None:
    from sfpo_bench.training.build import Hooks

    tracking = _Tracking(config, folder)
    with RunProgress(folder.path.name, config.training.steps) as progress:
        try:
            train(folder.path, _stop_request(folder), Hooks(progress.observe, tracking.deliver))
        finally:
            tracking.finish()


class _Tracking:
    """Delivers a run at its checkpoints. A failing store causes one warning and never stops the run."""

    def __init__(self, config: RunConfig, folder: RunFolder) -> None:
        from sfpo_bench.tracking.stores import delivery_of

        self._warnings = StoreWarnings()
        self._folder = folder
        self._opened = False
        self._delivery = delivery_of(config.tracking, Path(config.output_root))

    def deliver(self, covered_bytes: int) -> None:
        """Deliver the journal up to `covered_bytes`, the length that the new checkpoint covers."""
        from sfpo_bench.tracking.feed import key_of

        if self._delivery is None:
            return
        try:
            if not self._opened:
                key = key_of(self._folder)
                assert key is not None
                self._delivery.open_run(self._folder, key)
                self._opened = True
            self._delivery.deliver(self._folder, covered_bytes)
        except TrackingError as error:
            self._warnings.tracking(error)
            self._delivery = None

    def complete(self) -> None:
        """Deliver the end of a finished run unless the store has it: a kill can come between the two."""
        from sfpo_bench.tracking.cursor import Cursor

        known = Cursor.load(self._folder)
        if known is None or not known.ended:
            self.finish()

    def finish(self) -> None:
        """Deliver the rest of a run that has ended, and its end; a process that wrote no checkpoint opens it first."""
        from sfpo_bench.training.checkpoint import covered_bytes

        status = self._folder.status()
        if self._delivery is None or status.state in (RunState.pending, RunState.running):
            return
        with suppress(CheckpointError):  # of a run that failed by it
            self.deliver(covered_bytes(self._folder))
        if self._delivery is None or not self._opened:
            return
        try:
            self._delivery.finish(self._folder, status.state, cause=status.cause)
        except TrackingError as error:
            self._warnings.tracking(error)
