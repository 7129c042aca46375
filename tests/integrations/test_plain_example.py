"""The plain PyTorch loop of docs/integrations.md runs as it stands there, and learns."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "integrations.md"


def test_the_loop_of_the_page_learns_what_it_is_rewarded_for() -> None:
    example = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]
    names: dict[str, Any] = {}
    exec(example, names)
    rewards = names["rewards"]
    assert rewards[0] < 0.4 < 0.8 < rewards[-1]
    assert names["optimizer"].trigger.state()["entropies"]
