"""Does one policy update teach a language model mathematics with fewer rollouts and less time than another?

What a user may import stands in `__all__` here and in `sfpo_bench.algorithms`, `sfpo_bench.reports` and
`sfpo_bench.statistics`; every other module is internal and may change in any version.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from sfpo_bench.core.errors import BenchError, ConfigError
from sfpo_bench.core.options import option
from sfpo_bench.core.types import (
    Completion,
    FinishReason,
    Grade,
    GradeStatus,
    Message,
    Problem,
    Prompt,
    Split,
    StageStats,
)

if TYPE_CHECKING:
    from sfpo_bench.integrations.slow_fast_optimizer import SlowFastOptimizer
    from sfpo_bench.problems.protocol import Task
    from sfpo_bench.problems.splits import split_of

__all__ = [
    "BenchError",
    "Completion",
    "ConfigError",
    "FinishReason",
    "Grade",
    "GradeStatus",
    "Message",
    "Problem",
    "Prompt",
    "SlowFastOptimizer",
    "Split",
    "StageStats",
    "Task",
    "option",
    "split_of",
]

# Imported when they are first asked for: importing the package loads no torch and none of its own folders.
_LATER = {
    "SlowFastOptimizer": "sfpo_bench.integrations.slow_fast_optimizer",
    "Task": "sfpo_bench.problems.protocol",
    "split_of": "sfpo_bench.problems.splits",
}

try:
    __version__ = version("sfpo-bench")
except PackageNotFoundError:  # a source tree on sys.path that was never installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    """The public names that are imported when they are first asked for."""
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
