"""User-defined objectives, update rules, tasks and rewards, configured as `module:Class`."""

from __future__ import annotations

import functools
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfpo_bench.core.errors import BenchError, ConfigError, PluginError
from sfpo_bench.core.options import option

# Checks a method's result, given its arguments; returns what was expected, or an empty text if valid.
Check = Callable[..., str]

_OURS = str(Path(__file__).parents[1])


@dataclass
class Custom:
    """Settings of a user-defined class. Options of a dataclass are typed and checked like built-in settings."""

    kind: str = option("custom", "marks a class from another package")
    factory: str = option("", "the class, as `module:Class`; its package must be installed")
    options: dict[str, Any] = option({}, "fields of the class, as `{name: value}`")


# Variable with further folders to search for user modules; worker processes inherit it.
BESIDE = "SFPO_BENCH_PLUGIN_FOLDERS"


def look_beside(file: Path) -> None:
    """Add the folder of `file` to the search for user modules, in this process and its children."""
    folders = [folder for folder in os.environ.get(BESIDE, "").split(os.pathsep) if folder]
    folder = str(file.resolve().parent)
    if folder not in folders:
        os.environ[BESIDE] = os.pathsep.join([*folders, folder])


def find(name: str, key: str, beside: Path | None = None) -> Any:
    """The object `module:attribute`; `key` is the setting that named it.

    The module may be installed, in a folder added by `look_beside`, or in the folder of the file `beside`. Raises
    `ConfigError` when the form is wrong, the module does not import or the attribute is missing.
    """
    module_name, colon, attribute = name.partition(":")
    if not (module_name and colon and attribute):
        raise ConfigError(f"{key} = {name!r}: expected `module:Class`, for example my_package.objectives:MyObjective")
    try:
        with folders_last(beside):
            module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(
            f"{key} = {name!r}: importing {module_name} failed ({error}); install the package that has it into this "
            "environment, put the module beside the file that names it, or name its folder in PYTHONPATH"
        ) from error
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{key} = {name!r}: importing {module_name} {raised(error)}; fix the module") from error
    if not hasattr(module, attribute):
        names = ", ".join(name for name in vars(module) if not name.startswith("_"))
        raise ConfigError(f"{key} = {name!r}: {module_name} has no {attribute}; it has {names}")
    return getattr(module, attribute)


@contextmanager
def folders_last(beside: Path | None) -> Iterator[None]:
    """Append the folders of user modules to `sys.path` inside the block."""
    folders = [folder for folder in os.environ.get(BESIDE, "").split(os.pathsep) if folder]
    folders += [str(beside.resolve().parent)] if beside is not None else []
    before = list(sys.path)
    sys.path += [folder for folder in folders if folder not in sys.path]
    try:
        yield
    finally:
        sys.path[:] = before


def called(function: Callable[..., Any], name: str, check: Check, *arguments: Any, **named: Any) -> Any:
    """Call the user's `function` and return its result; raises `PluginError` when it raises or `check` fails."""
    try:
        found = function(*arguments, **named)
    except BenchError:
        raise
    except (Exception, SystemExit) as error:
        # User code may raise anything; an exit would end the run as if it were done.
        raise PluginError(f"{name} {raised(error)}; fix it, and run the same command again") from error
    expected = check(found, *arguments)
    if expected:
        raise PluginError(f"{name} returned {_shown(found)}; expected {expected}: fix it, and run the command again")
    return found


def guarded(made: Any, checks: Mapping[str, Check], name: str, defaults: Mapping[str, Any] | None = None) -> Any:
    """The user's object with checked methods and with the `defaults` that its class lacks.

    The methods in `checks` raise a one-line `PluginError` instead of other exceptions. A subclass with these methods
    replaces the object's class, so `isinstance` and `==` are unchanged.
    """
    try:
        kind: Any = type(made)  # mypy considers a class unhashable
        made.__class__ = _guarded_class(kind, tuple(checks.items()), name, tuple((defaults or {}).items()))
    except TypeError as error:  # it has __slots__ or is a built-in class
        raise ConfigError(
            f"{name} cannot be wrapped for checks ({error}); expected a class without __slots__"
        ) from error
    return made


@functools.cache
def _guarded_class(
    cls: Any, checks: tuple[tuple[str, Check], ...], name: str, defaults: tuple[tuple[str, Any], ...]
) -> type:
    methods = {
        method: _checked(getattr(cls, method), f"{name}.{method}()", check)
        for method, check in checks
        if hasattr(cls, method)
    }
    own = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return type(cls.__name__, (cls,), {**dict(defaults), **methods, **own})


def _checked(method: Callable[..., Any], name: str, check: Check) -> Callable[..., Any]:
    @functools.wraps(method)
    def checked(self: object, *arguments: Any, **named: Any) -> Any:
        return called(functools.partial(method, self), name, check, *arguments, **named)

    return checked


def raised(error: BaseException) -> str:
    """The error and its line in user code: `raised ValueError (…) at my_methods.py line 12: return 1 / 0`."""
    ours = (_OURS, "<", importlib.__file__)  # "<": generated code, such as the __init__ of a dataclass
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/omegaconf/" not in frame.filename]
    theirs = [frame for frame in frames if not frame.filename.startswith(ours)]
    # Frames of libraries may follow; the user's file is the first one entered.
    last = next((frame for frame in reversed(theirs) if frame.filename == theirs[0].filename), None)
    where = f" at {last.filename} line {last.lineno}: {last.line}" if last else ""
    text = " ".join(str(error).split())[:300]
    return f"raised {type(error).__name__}{f' ({text})' if text else ''}{where}"


def a(kind: type) -> Check:
    """A check for an instance of `kind`."""
    return lambda found, *_: "" if isinstance(found, kind) else f"a {kind.__module__}.{kind.__qualname__}"


def many(kind: type, *, like: int | None = None) -> Check:
    """A check for a list or tuple of `kind`, as long as the argument number `like` if given."""

    def check(found: object, *arguments: Any) -> str:
        wanted = f"a list of {kind.__module__}.{kind.__qualname__}"
        if not isinstance(found, (list, tuple)) or not all(isinstance(one, kind) for one in found):
            return wanted
        length = len(found) if like is None else len(arguments[like])
        return "" if len(found) == length else f"{wanted} of length {length}, not {len(found)}"

    return check


def _shown(value: object) -> str:
    return f"a {type(value).__name__} ({' '.join(repr(value).split())[:80]})"
