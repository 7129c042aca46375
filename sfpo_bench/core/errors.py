"""Every error this package raises on purpose.

    BenchError                    exit code 1; base of all, its message is the whole story for the user
    ├── ConfigError               exit code 2; a setting, path or name is wrong: found, expected, what to do
    │   ├── MissingDataError      a data file, model folder or cached download is not there
    │   ├── DamagedFile           a file of a run, comparison, sweep, study or evaluation cannot be read back
    │   └── ComparisonChanged     a results folder belongs to other settings or other code
    ├── Interrupted               exit code 130; stopped on request, resumable
    ├── RunFailed                 the run cannot go on; its last checkpoint holds
    │   ├── NonFiniteError        a loss or gradient is not finite
    │   ├── EngineFailed          the rollout engine died, hung or ran out of memory
    │   ├── EngineMismatch        the rollout engine's log-probs are not the trainer's: stale or wrong weights
    │   ├── PluginError           a class or function of the user's raised, or returned another thing than expected
    │   ├── RankLost              another process of the same run died or fell silent
    │   └── DiskFullError         not enough space for the next write
    ├── RunLocked                 another live process owns this run folder
    ├── CheckpointError           a checkpoint is missing, damaged or of another run
    ├── DownloadError             a fetch failed or its sha256 differs
    ├── StudyStoreError           the database of a sweep's study cannot be reached
    └── TrackingError             the tracking store cannot be used
        └── DeliveredElsewhere    another process has been delivering the same run for longer than one waits

Messages say what was found, what was expected and what to do.
"""

from __future__ import annotations


class BenchError(Exception):
    """Base class; the command line prints the message alone and exits with `exit_code`."""

    exit_code = 1


class ConfigError(BenchError):
    """A setting is unknown, mistyped, out of range or inconsistent with another."""

    exit_code = 2


class MissingDataError(ConfigError):
    """A data file, model folder or cached download is missing where the settings name it."""


class DamagedFile(ConfigError):
    """A file that this package wrote holds something else by now."""


class ComparisonChanged(ConfigError):
    """The results folder was made with other settings or other code; the message shows the difference."""


class Interrupted(BenchError):
    """Stopped on request after a checkpoint; the message says how to resume."""

    exit_code = 130


class RunFailed(BenchError):
    """The run cannot go on; its last checkpoint is whole."""


class NonFiniteError(RunFailed):
    """A loss or a gradient norm is not finite."""


class EngineFailed(RunFailed):
    """The rollout engine died, hung or ran out of memory; the run's work up to then is in a checkpoint."""


class EngineMismatch(RunFailed):
    """The rollout engine computes with other weights than the trainer."""


class PluginError(RunFailed):
    """A user's own objective, rule, task or reward raised, or returned another thing than expected."""


class RankLost(RunFailed):
    """Another process that trains the same run died or fell silent."""


class DiskFullError(RunFailed):
    """Too little space for the next write; nothing was overwritten."""


class RunLocked(BenchError):
    """Another live process works in this run folder."""


class CheckpointError(BenchError):
    """A checkpoint is missing, damaged or belongs to another run."""


class DownloadError(BenchError):
    """A download failed or its sha256 is not the pinned one."""


class StudyStoreError(BenchError):
    """The database of a sweep's study cannot be reached."""


class TrackingError(BenchError):
    """The tracking store cannot be used."""


class DeliveredElsewhere(TrackingError):
    """Another process has been delivering the same run, or making the store, for longer than one waits for it."""
