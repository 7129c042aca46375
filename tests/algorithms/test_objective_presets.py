"""Presets of objectives have the published values, and DAPO's pieces together are DAPO."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hydra import compose

from sfpo_bench.algorithms.kinds import OBJECTIVES, RATIOS
from sfpo_bench.algorithms.objectives.cfpo import Cfpo
from sfpo_bench.algorithms.objectives.cispo import Cispo
from sfpo_bench.algorithms.objectives.clipped import Clipped
from sfpo_bench.algorithms.objectives.ctpo import Ctpo
from sfpo_bench.algorithms.objectives.policy_gradient import Normalization
from sfpo_bench.algorithms.objectives.position_standardized import PositionStandardized
from sfpo_bench.algorithms.objectives.prefix_minimum import PrefixMinimum
from sfpo_bench.algorithms.objectives.product_ratios import PrefixProduct, ProductRatio
from sfpo_bench.algorithms.objectives.ratios import Ratio, SequenceRatio
from sfpo_bench.algorithms.objectives.sapo import Sapo
from sfpo_bench.algorithms.objectives.topr import Topr
from sfpo_bench.algorithms.objectives.vespo import Vespo
from sfpo_bench.algorithms.penalties.llds import Divisor, Llds
from sfpo_bench.settings.config import AlgorithmSettings, from_node

TOKENS = Normalization.token_mean
PUBLISHED = {
    "sapo": Sapo(positive_temperature=1.0, negative_temperature=1.05),
    "topr": Topr(ratio=ProductRatio(), smallest_weight=0.0, largest_weight=1.0),
    "vespo": Vespo(ratio=ProductRatio(), positive_power=2.0, positive_decay=3.0, negative_power=3.0,
                   negative_decay=2.0, normalization=TOKENS),
    "cfpo": Cfpo(ratio=Ratio(largest_log_ratio=20.0), epsilon=0.2, normalization=TOKENS),
    "ctpo": Ctpo(ratio=PrefixProduct(largest_log_ratio=20.0), clip_low=0.025, clip_high=0.05, clip_dual=0.05,
                 power=0.5, normalization=TOKENS),
    "minpro": Cispo(ratio=PrefixMinimum(), smallest_weight=0.0, largest_weight=1.28, normalization=TOKENS),
    "minpro_hard": Clipped(ratio=PrefixMinimum(largest_log_ratio=20.0), clip_low=0.2, clip_high=0.28,
                           normalization=TOKENS),
    "grpo_guard": Clipped(ratio=PositionStandardized()),
    "llds": Clipped(penalty=Llds(weight=0.2, divisor=Divisor.preserved)),
    "llds_gspo": Clipped(ratio=SequenceRatio(), clip_low=3e-4, clip_high=4e-4, penalty=Llds(weight=0.2)),
    "luspo": Clipped(ratio=SequenceRatio(), clip_low=3e-4, clip_high=4e-4, normalization=Normalization.fixed_length),
    "cispo_verl": Cispo(smallest_weight=0.8, largest_weight=1.2, normalization=TOKENS),
}  # fmt: skip


pytestmark = pytest.mark.usefixtures("hydra")


@cache
def preset(name: str, *overrides: str) -> AlgorithmSettings:
    return from_node(compose("train", [f"algorithm={name}", *overrides])).algorithm


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_preset_has_the_published_values(name: str) -> None:
    assert preset(name).objective == PUBLISHED[name]


def test_verls_topr_is_a_switch_away() -> None:
    assert preset("topr", "algorithm.objective.ratio.kind=sequence").objective == Topr(ratio=SequenceRatio())


OWN_RATIO = [kind for kind, cls in OBJECTIVES.items() if getattr(cls(), "ratio", Ratio()).kind != "token"]


@pytest.mark.parametrize("kind", OWN_RATIO)
@pytest.mark.parametrize("ratio", ["sequence", "position_standardized"])
def test_another_ratio_takes_the_place_of_one_that_an_objective_begins_with(kind: str, ratio: str) -> None:
    found: Any = preset("grpo", f"algorithm/objective={kind}", f"+algorithm/objective/ratio={ratio}").objective
    assert found.ratio == RATIOS[ratio]() and type(found) is OBJECTIVES[kind]


def test_an_objective_that_begins_with_a_ratio_of_its_own_is_among_them() -> None:
    assert {"topr", "vespo", "ctpo"} <= set(OWN_RATIO)
    assert type(preset("grpo", "algorithm/objective=topr").objective.ratio) is ProductRatio


def test_each_piece_of_dapo_changes_one_thing_of_grpo_and_all_of_them_are_dapo() -> None:
    def parts(name: str) -> dict[str, object]:
        one = preset(name)
        objective = {f"objective.{key}": value for key, value in vars(one.objective).items()}
        return {"collector": one.collector, "advantage": one.advantage, "selection": one.selection, **objective}

    grpo, together = parts("grpo"), {}
    for piece, changed in {
        "dapo_clip_higher": "objective.clip_high",
        "dapo_token_mean": "objective.normalization",
        "dapo_dynamic_sampling": "collector",
        "dapo_overlong": "advantage",
    }.items():
        changes = {key: value for key, value in parts(piece).items() if value != grpo[key]}
        assert list(changes) == [changed]
        together.update(changes)
    assert {**grpo, **together} == parts("dapo")
