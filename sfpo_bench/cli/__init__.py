"""The command line: `sfpo-bench VERB [Hydra overrides]`."""

from sfpo_bench.cli.main import main

__all__ = ["main"]
