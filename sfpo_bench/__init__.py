"""Does one policy update teach a language model mathematics with fewer rollouts and less time than another?"""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sfpo_bench.integrations.slow_fast_optimizer import SlowFastOptimizer as SlowFastOptimizer

try:
    __version__ = version("sfpo-bench")
except PackageNotFoundError:  # a source tree on sys.path that was never installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    """`SlowFastOptimizer`, imported when it is first asked for: importing the package loads no torch."""
    if name == "SlowFastOptimizer":
        from sfpo_bench.integrations.slow_fast_optimizer import SlowFastOptimizer

        return SlowFastOptimizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
