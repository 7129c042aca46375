"""Entry point: dispatches to the verb, prints help, and turns errors into a message and an exit code."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import time
from collections.abc import Callable, Sequence

from sfpo_bench.cli.usage import USAGE, VERBS
from sfpo_bench.core.errors import BenchError, ConfigError, did_you_mean
from sfpo_bench.training.processes import is_first

_WAIT_FOR_FIRST_RANK_SECONDS = 20.0
_FROM_FILES = ("compare", "sweep", "study")  # verbs whose first argument is a name or a YAML file
_PLANS = {"train": "plan", "study": "study_plan"}  # what `--plan` does after a verb
_MODULES = {"import": "import_runs", "export-logs": "export_logs"}  # verbs that cannot be names of modules


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exits with 0, or with the exit code of the error (2 for a wrong setting)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        try:
            _dispatch(arguments)
        except OSError as error:
            raise _too_long(error) from error
    except BenchError as error:
        # Every rank finds the same configuration errors; only rank 0 prints them.
        if is_first(os.environ) or error.exit_code == BenchError.exit_code:
            print(f"sfpo-bench: {error}", file=sys.stderr, flush=True)
        else:
            # torchrun kills all ranks once one exits. Wait until rank 0 has printed; torchrun ends this sleep.
            time.sleep(_WAIT_FOR_FIRST_RANK_SECONDS)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # Whatever reads our output is gone. Point stdout at /dev/null so that the flush at exit does not raise again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def _too_long(error: OSError) -> Exception:
    """Return the error for a name that was looked up as a file and is too long for one; any other error unchanged."""
    if error.errno != errno.ENAMETOOLONG:
        return error
    name = os.path.basename(str(error.filename))
    return ConfigError(f"{name[:60]}... is a name of {len(name)} characters; expected 200 at most")


def _dispatch(arguments: list[str]) -> None:
    if arguments[:1] and arguments[0].startswith("-sc"):
        arguments = _completion(arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE.format(verbs="\n".join(f"  {verb:11} {what}" for verb, what in VERBS.items())))
        return
    if arguments[0] == "--version":
        from sfpo_bench import __version__

        print(__version__)
        return
    verb, rest = arguments[0], arguments[1:]
    if verb not in VERBS:
        hint = did_you_mean(verb, VERBS)
        raise ConfigError(f"{verb!r} is not a verb; {hint}expected one of {', '.join(VERBS)} (sfpo-bench --help)")
    if any(argument in ("-h", "--help") for argument in rest):
        from sfpo_bench.cli.verb_help import verb_help

        print(verb_help(verb, rest))
        return
    from sfpo_bench.cli.hydra_app import run

    action = verb
    costs: dict[str, str] = {}
    for argument in [argument for argument in rest if argument == "--plan" or argument.startswith("--plan=")]:
        if verb not in _PLANS or (verb == "study" and argument != "--plan"):
            raise ConfigError(
                f"{argument} after {verb}; expected --plan after train or study, or --plan=COSTS after train"
            )
        action = _PLANS[verb]
        rest = [other for other in rest if other != argument]
        costs = {"costs": argument.partition("=")[2]} if verb == "train" else {}
    if verb in _FROM_FILES:
        name, rest = importlib.import_module(f"sfpo_bench.cli.{verb}_file").primary(rest)
        run(verb, rest, _action(action), name)
    else:
        run(verb, _named(verb, rest), _action(action, **costs))


def _action(verb: str, **more: str) -> Callable[..., None]:
    """Return the verb's function, imported on call so that configuration errors appear before torch is imported."""

    def act(node: object) -> None:
        importlib.import_module(f"sfpo_bench.cli.{_MODULES.get(verb, verb)}").act(node, **more)

    return act


def _named(verb: str, arguments: list[str]) -> list[str]:
    """Add the keys to positional names and paths: `RUN` becomes `run=RUN`."""
    from sfpo_bench.cli.places import with_names
    from sfpo_bench.core.override_text import quoted

    if verb == "list" and "--watch" in arguments[:-1]:
        at = arguments.index("--watch")
        arguments = [*arguments[:at], f"watch={quoted(arguments[at + 1])}", *arguments[at + 2 :]]
    return with_names(verb, arguments)


def _completion(arguments: list[str]) -> list[str]:
    """Remove the verb from COMP_LINE, since Hydra's shell completion (`-sc query=bash`) expects overrides only."""
    words = os.environ.get("COMP_LINE", "").split(" ")
    verb = words[1] if len(words) > 2 and words[1] in VERBS else ""
    if verb:
        os.environ["COMP_LINE"] = " ".join([words[0], *words[2:]])
        return [verb, *arguments]
    if len(words) == 2 and not words[1].count("="):
        print("\n".join(name for name in VERBS if name.startswith(words[1])))
        sys.exit(0)
    return ["train", *arguments]
