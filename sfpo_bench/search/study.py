"""A study shared by several processes that survives the kill of any of them.

Every process renews a lease on the study (a heartbeat with a timeout). A trial belongs to the process that took it. If
the lease of that process expires, its trials are orphans, and the next process that asks for a trial takes one over
with its parameters. Process ids are not used, since they may belong to another machine or to a zombie. A lease is
stored as the time at which it expires, with its length. Clocks may be set back or forward: a process renews a lease
that ends too late by its clock, and takes no lease of others for longer than its length.

Every decision (taking over an orphan, creating a trial, recording its end) is made under one file lock in the sweep's
folder, which all processes share for the checkpoints anyway. The kernel releases the lock of a killed process. A kill
at any point leaves the storage in a recoverable state:

    after a trial was created, before it has an owner or all parameters   an orphan; missing parameters are drawn with
                                                                          the same result, which depends on the
                                                                          trial number alone
    after a report, before the pruner was called                          the pruner is called for the last report
    after the run ended, before that was recorded                         an orphan with a finished run, recorded then
"""

from __future__ import annotations

import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sfpo_bench.core.file_lock import take_lock
from sfpo_bench.search.space import Space, Value
from sfpo_bench.search.trial_view import TrialView

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

_OWNER = "owner"
_LEASE = "lease:"
_CAUSE = "cause"
_CENSORED = "censored"
_RETRY_OF = "retry_of"


@dataclass(slots=True)
class HeldTrial:
    """A trial that this process runs."""

    number: int
    point: Mapping[str, Value]
    taken_over: bool
    _trial: Trial = field(repr=False)
    _reported: set[int] = field(default_factory=set)

    def report(self, step: int, value: float) -> bool:
        """Report a value at a rung; return True if the pruner prunes the trial. Each rung is reported once, and the
        pruner decides on the latest."""
        if step < max(self._reported, default=-1):
            return False
        if step not in self._reported:
            self._trial.report(value, step)
            self._reported.add(step)
        return self._trial.should_prune()


class SharedStudy:
    """A process's view of a shared study."""

    def __init__(
        self,
        folder: Path,
        name: str,
        storage: BaseStorage,
        minimise: Sequence[bool],
        sampler: BaseSampler,
        pruner: BasePruner,
        lease_seconds: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._folder = folder
        self._lease_seconds = lease_seconds
        self._now = now
        self._owner = uuid.uuid4().hex[:12]
        self._lease_until = 0.0
        self._seen: dict[str, tuple[float, float]] = {}  # by owner: the expiry as stored, and as this process takes it
        self._held: dict[int, HeldTrial] = {}
        with self._lock(), warnings.catch_warnings():
            # Optuna has marked Hyperband as experimental for years.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study: Study = optuna.create_study(
                storage=storage,
                study_name=name,
                directions=["minimize" if small else "maximize" for small in minimise],
                sampler=sampler,
                pruner=pruner,
                load_if_exists=True,
            )

    # --- leases ---------------------------------------------------------------------------------------------------

    def renew(self) -> bool:
        """Renew this process's lease; cheap to call often. Returns False if the lease had expired."""
        now, before = self._now(), self._lease_until
        if not self._lease_seconds * 2 / 3 <= before - now <= self._lease_seconds:
            self._set_lease(now + self._lease_seconds)
        return before == 0.0 or now <= before

    def release(self) -> None:
        """Release the lease, so that other processes may take over its trials immediately."""
        self._set_lease(0.0)

    def _set_lease(self, until: float) -> None:
        self._study.set_user_attr(f"{_LEASE}{self._owner}", [until, self._lease_seconds])
        self._lease_until = until

    def others_until(self) -> float:
        """Return the time at which the last lease of other processes expires, in Unix seconds; 0 if there are none."""
        return max((until for owner, until in self._leases().items() if owner != self._owner), default=0.0)

    def latest_lease(self) -> float:
        """Return the time at which the last lease of any process expires, in Unix seconds; 0 if there are none."""
        return max(self._leases().values(), default=0.0)

    def _leases(self) -> dict[str, float]:
        """Return by process when its lease expires; at most its length after this process first saw it."""
        now = self._now()
        leases = {key: value for key, value in self._study.user_attrs.items() if key.startswith(_LEASE)}
        for key, (stored, seconds) in leases.items():
            before, until = self._seen.get(key, (stored, stored))
            self._seen[key] = (stored, min(until if before == stored else stored, now + seconds))
        return {key.removeprefix(_LEASE): until for key, (_, until) in self._seen.items()}

    # --- taking trials --------------------------------------------------------------------------------------------

    def take(self, space: Callable[[int], Space], wanted: int) -> HeldTrial | None:
        """Take over an orphan, or create a trial if fewer than `wanted` exist; return None if neither is possible.

        `space` maps a trial number to the space of that trial.
        """
        import optuna

        with self._lock():
            self.renew()
            orphan = self._orphan()
            if orphan is None and not self._waiting() and self._counted() >= wanted:
                return None
            # optuna.Trial joins an existing trial; ask() ends with the same call.
            trial = self._study.ask() if orphan is None else optuna.trial.Trial(self._study, orphan._trial_id)
            trial.set_user_attr(_OWNER, self._owner)
            point = space(trial.number).suggest(trial)
            reported = set(self._frozen(trial.number).intermediate_values)
            held = HeldTrial(trial.number, point, orphan is not None, trial, reported)
            self._held[trial.number] = held
            return held

    def _orphan(self) -> FrozenTrial | None:
        from optuna.trial import TrialState

        running = self._study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
        return next((trial for trial in running if self._is_lost(trial) and trial.number not in self._held), None)

    def _is_lost(self, trial: FrozenTrial) -> bool:
        owner = trial.user_attrs.get(_OWNER)
        if owner == self._owner:
            return trial.number not in self._held
        return owner is None or self._leases().get(str(owner), 0.0) < self._now()

    def _waiting(self) -> bool:
        from optuna.trial import TrialState

        return bool(self._study.get_trials(deepcopy=False, states=[TrialState.WAITING]))

    def _counted(self) -> int:
        """Return the number of trials created so far; a trial and its retries count once."""
        trials = self._study.get_trials(deepcopy=False)
        return len({int(trial.user_attrs.get(_RETRY_OF, trial.number)) for trial in trials})

    def retry_failed(self) -> int:
        """Enqueue the parameters of each failed trial again, once; return how many."""
        from optuna.trial import TrialState

        with self._lock():
            trials = self._study.get_trials(deepcopy=False)
            again = {trial.user_attrs.get(_RETRY_OF) for trial in trials if trial.state != TrialState.FAIL}
            failed = {int(t.user_attrs.get(_RETRY_OF, t.number)): t for t in trials if t.state == TrialState.FAIL}
            for number, trial in failed.items():
                if number not in again:
                    self._study.enqueue_trial(trial.params, user_attrs={_RETRY_OF: number})
            return len(failed.keys() - again)

    # --- ending trials --------------------------------------------------------------------------------------------

    def complete(self, held: HeldTrial, values: Sequence[float], *, censored: bool) -> None:
        """Record that the trial ended with these goal values."""
        self._end(held, "COMPLETE", list(values), {_CENSORED: True} if censored else {})

    def prune(self, held: HeldTrial, cause: str) -> None:
        """Record that the trial was pruned."""
        self._end(held, "PRUNED", None, {_CAUSE: cause})

    def fail(self, held: HeldTrial, cause: str) -> None:
        """Record that the trial failed."""
        self._end(held, "FAIL", None, {_CAUSE: cause[:2000]})

    def let_go(self, held: HeldTrial) -> None:
        """Release an unfinished trial, which another process, or this one later, continues."""
        self._held.pop(held.number, None)

    def owns(self, held: HeldTrial) -> bool:
        """Return False if another process took the trial over because this one's lease had expired."""
        return self._frozen(held.number).user_attrs.get(_OWNER) == self._owner

    def _end(
        self, held: HeldTrial, state: str, values: list[float] | None, attributes: Mapping[str, str | bool]
    ) -> None:
        from optuna.trial import TrialState

        with self._lock():
            if self.owns(held) and not self._frozen(held.number).state.is_finished():
                for key, value in attributes.items():
                    held._trial.set_user_attr(key, value)
                self._study.tell(held.number, values, TrialState[state])
            self._held.pop(held.number, None)

    # --- reading --------------------------------------------------------------------------------------------------

    def views(self) -> list[TrialView]:
        """Return every trial, ordered by number."""
        return [self._view(trial) for trial in self._study.get_trials(deepcopy=False)]

    def importances(self) -> dict[str, float]:
        """Return each parameter's share in the difference between good trials and all trials (PED-ANOVA).

        Empty for fewer than ten complete trials, for several goals, or if trials have no common parameters.
        """
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
        from optuna.trial import TrialState

        complete = self._study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        if len(complete) < 10 or len(self._study.directions) > 1:
            return {}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return get_param_importances(self._study, evaluator=PedAnovaImportanceEvaluator())
        except (ValueError, RuntimeError):
            return {}

    def _view(self, trial: FrozenTrial) -> TrialView:
        names = {"RUNNING": "running", "WAITING": "waiting", "COMPLETE": "complete", "PRUNED": "pruned"}
        state = names.get(trial.state.name, "failed")
        lost = state == "running" and self._is_lost(trial)
        attributes = trial.user_attrs
        retry_of = attributes.get(_RETRY_OF)
        return TrialView(
            number=trial.number,
            state="lost" if lost else state,
            point=dict(trial.params) or dict(trial.system_attrs.get("fixed_params", {})),
            values=tuple(trial.values or ()) if state in ("complete", "pruned") else (),
            rungs=dict(trial.intermediate_values),
            cause=str(attributes.get(_CAUSE, "")),
            censored=bool(attributes.get(_CENSORED, False)),
            retry_of=None if retry_of is None else int(retry_of),
            started_unix_s=trial.datetime_start.timestamp() if trial.datetime_start else None,
            ended_unix_s=trial.datetime_complete.timestamp() if trial.datetime_complete else None,
        )

    def _frozen(self, number: int) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[number]

    @contextmanager
    def _lock(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with open(self._folder / "claim.lock", "ab") as handle:
            take_lock(handle)
            yield
