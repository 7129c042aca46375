"""Modules beside the policy: what they score, how they are trained, and what must not change either."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sfpo_bench.algorithms.advantages.gae import GeneralizedAdvantage
from sfpo_bench.algorithms.modules.critic import Critic
from sfpo_bench.algorithms.modules.protocol import Modules
from sfpo_bench.algorithms.modules.value_head import with_value_head
from sfpo_bench.algorithms.objectives import Clipped
from sfpo_bench.algorithms.protocols import Rewarded
from sfpo_bench.core.costs import Costs
from sfpo_bench.core.errors import NonFiniteError
from sfpo_bench.core.metric_keys import MODULE_METRICS, is_timed
from sfpo_bench.core.seeding import generator
from sfpo_bench.core.types import Completion, FinishReason
from sfpo_bench.settings.training import LearnerSettings, NonFinite
from sfpo_bench.training.checkpoint import CheckpointStore, TrainingState
from sfpo_bench.training.learner import LocalLearner
from sfpo_bench.training.modules import TrainedModules, explained_variance, no_modules
from sfpo_bench.training.ranks import ALONE, Ranks
from tests.training.policies import GROUP, VOCABULARY, policy
from tests.training.test_learner import SGD, largest_difference, same_bits

GROUPS = 4


def completions(seed: int = 0) -> list[Completion]:
    """Four groups of four responses; prompts and responses of unequal lengths."""
    source = torch.Generator().manual_seed(seed)

    def draw(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(2, VOCABULARY, (count,), generator=source).tolist())

    found = []
    for group in range(GROUPS):
        prompt = draw(2 + group % 3)
        for sample in range(GROUP):
            response = draw(1 + (3 * group + 2 * sample) % 7)
            found.append(
                Completion(str(group), sample, prompt, response, (0.0,) * len(response), "", FinishReason.stopped)
            )
    return found


def rewards(seed: int = 0) -> Tensor:
    return torch.randn(GROUPS, GROUP, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def modules(
    kind: Modules | None = None, *, dtype: torch.dtype = torch.float64, ranks: Ranks = ALONE, **settings: Any
) -> TrainedModules:
    kind = Critic() if kind is None else kind
    built = {name: kind.build(name, policy(dtype=dtype), generator(0, "modules", name)) for name in kind.names}
    return TrainedModules(kind, built, LearnerSettings(**settings), seed=0, ranks=ranks)


def seen(trained: TrainedModules, answers: list[Completion], rewards_PG: Tensor) -> Rewarded:
    lengths_PG = torch.tensor([len(one.response_ids) for one in answers]).view(GROUPS, GROUP)
    return Rewarded(rewards_PG, lengths_PG, scores=trained.scores(answers))


def weights(trained: TrainedModules, name: str = "critic") -> dict[str, Tensor]:
    return {key: weight.detach().clone() for key, weight in trained.tensors()[f"{name}-weights"].items()}


def gae(*names: str, **settings: Any) -> GeneralizedAdvantage:
    """The advantage against these critics."""

    class Named(GeneralizedAdvantage):
        modules = names or ("critic",)

    return Named(**settings)


def train(trained: TrainedModules, steps: int = 3) -> list[dict[str, float]]:
    """What some steps on new responses each measured; mean of both critics where there are two."""
    measured = []
    for step in range(1, steps + 1):
        answers = completions(step)
        rewarded = seen(trained, answers, rewards(step))
        measured.append(trained.train(step, answers, rewarded, gae(*rewarded.scores, gamma=0.9, gae_lambda=0.8)))
    return [{key: value for key, value in one.items() if not is_timed(key)} for one in measured]


def test_a_score_is_the_head_on_the_state_from_which_its_token_is_predicted() -> None:
    model = with_value_head(policy(), np.random.default_rng(0))
    answers, head = completions(), model.get_output_embeddings()
    found = TrainedModules(Critic(), {"critic": model}, LearnerSettings(micro_batch_tokens=30), 0).scores(answers)
    assert head.weight.shape[0] == 1 and found["critic"].dtype == torch.float64
    for row, one in enumerate(answers):
        with torch.no_grad():
            hidden = model.base_model(torch.tensor([[*one.prompt_ids, *one.response_ids]])).last_hidden_state[0]
            expected = head(hidden[len(one.prompt_ids) - 1 : -1])[:, 0]
        assert found["critic"][row, : len(expected)].tolist() == pytest.approx(expected.tolist(), abs=1e-10)
        assert not found["critic"][row, len(expected) :].any()


def test_a_critic_begins_as_the_policy_with_a_head_of_its_own_seed() -> None:
    start, (one, again, other) = policy(), (with_value_head(policy(), generator(0, name)) for name in ("a", "a", "b"))
    own: dict[str, Tensor] = dict(one.named_parameters())
    body: dict[str, Tensor] = {
        name: weight for name, weight in start.named_parameters() if not name.startswith("lm_head")
    }
    assert same_bits(body, own) and set(own) == {*body, "lm_head.weight", "lm_head.bias"}
    assert torch.equal(own["lm_head.weight"], again.get_parameter("lm_head.weight"))
    assert not torch.equal(own["lm_head.weight"], other.get_parameter("lm_head.weight"))
    assert all(weight.data_ptr() != own[name].data_ptr() for name, weight in body.items()), "a copy"


@pytest.mark.parametrize("settings", [SGD, {"learning_rate": 1e-3}], ids=["sgd", "adamw"])
def test_neither_micro_batches_nor_packing_change_what_a_critic_learns(settings: dict[str, Any]) -> None:
    whole, small = (modules(**{**settings, "learning_rate": 1e-2}, micro_batch_tokens=t) for t in (16384, 24))
    start, measured = weights(whole), train(whole)
    assert train(small) == [pytest.approx(one, rel=1e-9) for one in measured]
    assert largest_difference(weights(whole), weights(small)) < 1e-10 < 1e-3 < largest_difference(weights(whole), start)


class Slower(Ranks):
    """This rank alone, told of another that has two micro-batches more in every pass."""

    def largest(self, value: float) -> float:
        return value + 2


def test_waiting_for_a_rank_that_has_more_to_do_adds_nothing_to_what_a_critic_learns() -> None:
    """What is run meanwhile counts in no loss, no score and no gradient."""
    alone, waiting = (modules(ranks=ranks, **SGD, micro_batch_tokens=24) for ranks in (ALONE, Slower()))
    assert train(alone) == train(waiting) and same_bits(weights(alone), weights(waiting))


def test_an_optimizer_step_goes_down_the_gradient_of_the_mean_squared_error_over_all_tokens() -> None:
    """Against central differences in fp64, at some weights of each part of the model."""
    rate, shift = 1e-3, 1e-5
    trained = modules(**{**SGD, "learning_rate": rate / 10}, micro_batch_tokens=24)
    answers, target = completions(), rewards()
    rewarded = seen(trained, answers, target)
    masters = trained.tensors()["critic-weights"]

    def loss() -> float:
        scores_N = trained.scores(answers)["critic"][rewarded.mask_BT]
        returns_N = (target.reshape(-1, 1) * rewarded.mask_BT)[rewarded.mask_BT]
        return float((scores_N - returns_N).square().mean())

    places = [("lm_head.bias", 0), ("lm_head.weight", 5), ("model.embed_tokens.weight", 16 * 7 + 3)]
    places += [("model.layers.0.self_attn.q_proj.weight", 20), ("model.layers.1.mlp.down_proj.weight", 33)]
    slopes = []
    for name, place in places:
        flat = masters[name].detach().view(-1)
        before, losses = float(flat[place]), []
        for sign in (1, -1):
            flat[place] = before + sign * shift
            losses.append(loss())
        flat[place] = before
        slopes.append((losses[0] - losses[1]) / (2 * shift))
    start, met = weights(trained), loss()
    measured = trained.train(1, answers, rewarded, GeneralizedAdvantage())
    assert measured["critic/loss"] == pytest.approx(met, rel=1e-12) and measured["critic/learning_rate"] == rate
    moved = weights(trained)
    found = [float((start[name] - moved[name]).view(-1)[place]) / rate for name, place in places]
    assert found == pytest.approx(slopes, rel=1e-5, abs=1e-8) and min(map(abs, slopes)) > 1e-6


def test_a_critic_fits_a_known_value_function() -> None:
    """The first token decides: before it the value is the share of right ones, from then on the reward."""
    answers, right = [], torch.tensor([[True, True, True, False]] * GROUPS)
    for place, one in enumerate(completions()):
        response = (3 if right.view(-1)[place] else 4, 5, 6 + place % 3)
        answers.append(replace(one, prompt_ids=(2, 7), response_ids=response, log_probs=(0.0,) * 3))
    trained = modules(Critic(passes=10, learning_rate=1e-2), dtype=torch.float32)
    for step in range(1, 21):
        rewarded = seen(trained, answers, right.double())
        measured = trained.train(step, answers, rewarded, GeneralizedAdvantage())
    values_BT = trained.scores(answers)["critic"]
    assert measured["critic/optimizer_steps"] == 10
    assert float((values_BT[:, 0] - 0.75).abs().max()) < 0.05
    assert float((values_BT[:, 1:] - right.view(-1, 1).double()).abs().max()) < 0.05
    # What is left of the variance of returns is that of the first token: a third of the tokens.
    assert measured["critic/explained_variance"] == pytest.approx(2 / 3, abs=0.03)


@dataclass
class Halves(Modules):
    """Two critics on disjoint halves of each prompt's responses, drawn anew each step."""

    kind: str = "halves"

    names = ("first", "second")

    def share(self, name: str, rewarded: Rewarded, source: np.random.Generator) -> Tensor:
        places_PG = source.permuted(np.indices(rewarded.rewards_PG.shape)[1], axis=1)
        return torch.from_numpy(places_PG % 2 == self.names.index(name))


def test_each_response_trains_one_of_two_critics_and_the_other_does_not_know_its_reward() -> None:
    ends = []
    for changed in (None, "first", "second"):
        trained, answers, advantage = modules(Halves()), completions(), gae(*Halves.names)
        rewarded = seen(trained, answers, rewards())
        shares = {name: Halves().share(name, rewarded, generator(0, "modules", 1)) for name in Halves.names}
        assert torch.equal(shares["first"], ~shares["second"]) and (shares["first"].sum(dim=1) == GROUP // 2).all()
        if changed is not None:
            rewarded = replace(rewarded, rewards_PG=rewarded.rewards_PG + 3.0 * shares[changed])
        measured = trained.train(1, answers, rewarded, advantage)
        assert measured["first/optimizer_steps"] == measured["second/optimizer_steps"] == 1
        ends.append([weights(trained, name) for name in Halves.names])
    plain, first, second = ends
    assert not same_bits(plain[0], first[0]) and same_bits(plain[1], first[1])
    assert same_bits(plain[0], second[0]) and not same_bits(plain[1], second[1])


def test_a_module_without_a_response_takes_no_step() -> None:
    class Idle(Critic):
        def share(self, name: str, rewarded: Rewarded, source: np.random.Generator) -> Tensor:
            return super().share(name, rewarded, source) & False

    trained = modules(Idle())
    start, [measured] = weights(trained), train(trained, 1)
    assert measured["critic/optimizer_steps"] == 0 and same_bits(start, weights(trained))


def test_in_bf16_the_masters_are_fp32_and_learn_what_those_of_an_fp32_model_do() -> None:
    ends: list[Tensor] = []
    for dtype in (torch.float32, torch.bfloat16):
        trained = modules(dtype=dtype, learning_rate=1e-3)
        start = weights(trained)
        train(trained)
        ends.append(torch.cat([(weights(trained)[name] - start[name]).flatten() for name in start]))
        assert {weight.dtype for weight in start.values()} == {torch.float32}
    assert float(torch.nn.functional.cosine_similarity(ends[0], ends[1], dim=0)) > 0.9


def test_recomputed_layers_change_nothing() -> None:
    kept, again = (modules(**{**SGD, "learning_rate": 1e-2}, recompute_layers=on) for on in (False, True))
    train(kept), train(again)
    assert largest_difference(weights(kept), weights(again)) < 1e-12


def test_the_learning_rate_is_its_own_and_warms_up_as_the_policys_does() -> None:
    own, tenfold = (modules(kind, learning_rate=1e-3, warmup_steps=4) for kind in (Critic(learning_rate=0.5), Critic()))
    assert [one["critic/learning_rate"] for one in train(own, 5)] == pytest.approx([0.125, 0.25, 0.375, 0.5, 0.5])
    assert [one["critic/learning_rate"] for one in train(tenfold, 1)] == pytest.approx([2.5e-3])


def test_a_loss_that_is_not_finite_stops_the_run_or_is_left_out() -> None:
    endless = rewards().masked_fill(torch.eye(GROUPS).bool(), float("inf"))
    for policy_of_failures in NonFinite:
        trained, answers = modules(non_finite=policy_of_failures), completions()
        start, rewarded = weights(trained), seen(trained, answers, endless)
        if policy_of_failures is NonFinite.stop:
            with pytest.raises(NonFiniteError, match=r"module critic: loss inf .* lower its learning rate"):
                trained.train(1, answers, rewarded, GeneralizedAdvantage())
        else:
            assert trained.train(1, answers, rewarded, GeneralizedAdvantage())["critic/optimizer_steps"] == 0
        assert same_bits(start, weights(trained))


def test_explained_variance_is_1_of_the_truth_0_of_a_constant_and_none_where_nothing_varies() -> None:
    returns_BT, mask_BT = rewards(), torch.ones(GROUPS, GROUP).bool()
    assert explained_variance(returns_BT + 2, returns_BT, mask_BT) == pytest.approx(1)
    assert explained_variance(returns_BT * 0 + 2, returns_BT, mask_BT) == pytest.approx(0, abs=1e-12)
    assert explained_variance(returns_BT, returns_BT * 0 + 2, mask_BT) is None


def test_every_measurement_is_declared() -> None:
    trained, answers = modules(), completions()
    measured = trained.train(1, answers, seen(trained, answers, rewards()), GeneralizedAdvantage())
    assert set(measured) == {f"critic/{key}" for key in MODULE_METRICS}


def test_the_policy_alone_scores_measures_and_writes_nothing() -> None:
    alone, answers = no_modules(), completions()
    rewarded = seen(alone, answers, rewards())
    assert rewarded.scores == {} and alone.tensors() == {} and alone.size_bytes == 0
    assert alone.train(1, answers, rewarded, GeneralizedAdvantage()) == {}


def test_weights_and_optimizer_come_back_from_a_checkpoint_bit_for_bit_and_go_on_alike(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep_last=1)
    learner = LocalLearner(policy(), Clipped(), LearnerSettings(), 1.0)
    written, read = modules(Halves(), learning_rate=1e-3), modules(Halves(), learning_rate=1e-3)
    train(written)
    state = TrainingState(3, Costs(), {}, 0, 0, 3, 0.5)
    checkpoint = store.write(learner.masters, state, written.tensors())
    assert {path.name for path in checkpoint.path.glob("*.safetensors")} == {
        *("weights.safetensors", "optimizer.safetensors"),
        *(f"{name}-{part}.safetensors" for name in Halves.names for part in ("weights", "optimizer")),
    }
    checkpoint.load_into(learner.masters, read.load)
    assert train(written, 2) == train(read, 2)
    for part, tensors in written.tensors().items():
        assert all(torch.equal(tensors[name], found) for name, found in read.tensors()[part].items()), part
    store.write(learner.masters, replace(state, step=4), written.tensors())
    assert {path.name for path in checkpoint.path.glob("*.safetensors")} == {"weights.safetensors"}, "the best one's"
