"""What differs between the versions of Hydra that the project runs under."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

# Hydra 1.3 warns where no `version_base` is given, 1.4 where one is.
_WANTS_A_BASE = tuple(int(part) for part in version("hydra-core").split(".")[:2]) < (1, 4)
VERSION_BASE: Mapping[str, str] = {"version_base": "1.3"} if _WANTS_A_BASE else {}
