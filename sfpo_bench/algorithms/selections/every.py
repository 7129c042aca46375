"""The default selection, as in GRPO: every response is trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.algorithms.selections.protocol import Candidates, Selection
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Every(Facts, Selection):
    """Selects every response with weight 1."""

    kind: str = option("every", "name of the selection")

    changes = "every response is trained on"

    @property
    def needs_weights(self) -> bool:
        return False

    def weights(self, candidates: Candidates) -> Tensor | None:
        return None
