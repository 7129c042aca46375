"""Real sets of problems, which the project does not ship: beside the checkout where there are any."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"

needs_shared_data = pytest.mark.skipif(
    not SHARED.is_dir(), reason="needs ../shared/data, real problems not shipped here"
)
