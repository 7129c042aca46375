"""Does one policy update teach a language model mathematics with fewer rollouts and less time than another?"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("sfpo-bench")
except PackageNotFoundError:  # a source tree on sys.path that was never installed
    __version__ = "0+unknown"
