"""Makes child Python processes import the same modules as this one, in any working directory.

`python -m` puts the working directory first on the search path. A folder or module there with the name of this package,
or of a dependency, would be imported instead.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sfpo_bench.core.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parents[1]


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` for a Python process with this process's search path and without an implicit working directory."""
    places = dict.fromkeys(os.path.abspath(place) for place in sys.path if os.path.exists(place or os.curdir))
    return {**environ, "PYTHONPATH": os.pathsep.join(places), "PYTHONSAFEPATH": "1"}


def refuse_another_package(first: Sequence[str] = ()) -> None:
    """Raise `ConfigError` when a process with the search path `first` plus this one's would import another copy of the
    package."""
    found = _found(first)
    if found == _PACKAGE:
        return
    where = f"take {found.parent} off" if found else f"put {_PACKAGE.parent} onto"
    raise ConfigError(
        f"the processes that train would import {_PACKAGE.name} from {found or 'nowhere'}; expected {_PACKAGE}, which "
        f"this process has imported: run the command from another folder, or {where} the search path (PYTHONPATH)"
    )


def _found(first: Sequence[str]) -> Path | None:
    """The first folder on the search path with the package's name, including namespace packages."""
    before = list(sys.path)
    sys.path[:0] = first
    try:
        specs = (finder.find_spec(_PACKAGE.name, None) for finder in sys.meta_path if hasattr(finder, "find_spec"))
        spec = next((spec for spec in specs if spec is not None), None)
    finally:
        sys.path[:] = before
    places = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(places))).resolve() if places else None
