"""The exception hierarchy of the package.

    BenchError                    exit code 1; base class, the command line prints only its message
    ├── ConfigError               exit code 2; a setting, path or name is wrong: found, expected, what to do
    │   ├── MissingDataError      a data file, model folder or cached download is not there
    │   ├── DamagedFile           a file of a run, comparison, sweep, study or evaluation cannot be read back
    │   └── ComparisonChanged     a results folder belongs to other settings or other code
    ├── Interrupted               exit code 130; stopped on request, resumable
    ├── RunFailed                 the run cannot continue; its last checkpoint is intact
    │   ├── NonFiniteError        a loss or gradient is not finite
    │   ├── EngineFailed          the rollout engine crashed, hung or ran out of memory
    │   ├── EngineMismatch        the rollout engine's log-probs are not the trainer's: stale or wrong weights
    │   ├── PluginError           user code raised an exception or returned an unexpected value
    │   ├── RankLost              another process of the same run crashed or stopped responding
    │   └── DiskFullError         not enough space for the next write
    ├── RunLocked                 another live process owns this run folder
    ├── CheckpointError           a checkpoint is missing, damaged or of another run
    ├── DownloadError             a fetch failed or its sha256 differs
    ├── StudyStoreError           the database of a sweep's study cannot be reached
    └── TrackingError             the tracking store cannot be used
        └── DeliveredElsewhere    another process delivers the same run, and the wait for it timed out

Messages say what was found, what was expected and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """Base class; the command line prints the message alone and exits with `exit_code`."""

    exit_code = 1


class ConfigError(BenchError):
    """A setting is unknown, mistyped, out of range or inconsistent with another."""

    exit_code = 2


class MissingDataError(ConfigError):
    """A data file, model folder or cached download is missing where the settings name it."""


class DamagedFile(ConfigError):
    """A file that this package wrote was changed or damaged."""


class ComparisonChanged(ConfigError):
    """The results folder was created with other settings or other code; the message shows the difference."""


class Interrupted(BenchError):
    """Stopped on request after a checkpoint; the message says how to resume."""

    exit_code = 130


class RunFailed(BenchError):
    """The run cannot continue; its last checkpoint is intact."""


class NonFiniteError(RunFailed):
    """A loss or a gradient norm is not finite."""


class EngineFailed(RunFailed):
    """The rollout engine crashed, hung or ran out of memory; completed steps are in a checkpoint."""


class EngineMismatch(RunFailed):
    """The rollout engine computes with other weights than the trainer."""


class PluginError(RunFailed):
    """A user's objective, rule, task or reward raised an exception or returned an unexpected value."""


class RankLost(RunFailed):
    """Another process of the same run crashed or stopped responding."""


class DiskFullError(RunFailed):
    """Too little space for the next write; nothing was overwritten."""


class RunLocked(BenchError):
    """Another process holds the lock of this run folder."""


class CheckpointError(BenchError):
    """A checkpoint is missing, damaged or belongs to another run."""


class DownloadError(BenchError):
    """A download failed or its sha256 is not the pinned one."""


class StudyStoreError(BenchError):
    """The database of a sweep's study cannot be reached."""


class TrackingError(BenchError):
    """The tracking store cannot be used."""


class DeliveredElsewhere(TrackingError):
    """Another process delivers the same run or creates the store, and the wait for it timed out."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the hint `did you mean X? ` for the known word of similar spelling; empty without one."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0]}? " if close else ""
