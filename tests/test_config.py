"""The configuration: everything packaged composes, a saved one reads back as itself, every setting is documented."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hydra import compose
from omegaconf import DictConfig, OmegaConf

from sfpo_bench.algorithms.advantages.gae import GeneralizedAdvantage
from sfpo_bench.algorithms.advantages.group import GroupAdvantage
from sfpo_bench.algorithms.advantages.group_overlong import GroupOverlong
from sfpo_bench.algorithms.advantages.leave_one_out import LeaveOneOut
from sfpo_bench.algorithms.advantages.whitened_returns import WhitenedReturns
from sfpo_bench.algorithms.collectors.dynamic_sampling import DynamicSampling
from sfpo_bench.algorithms.collectors.group import GroupCollector
from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.algorithms.gradient_triggers import GradientNormAverage, GradientNormWindow
from sfpo_bench.algorithms.gxpo import Gxpo
from sfpo_bench.algorithms.modules.critic import Critic
from sfpo_bench.algorithms.modules.policy_alone import PolicyAlone
from sfpo_bench.algorithms.objectives import Clipped, Normalization
from sfpo_bench.algorithms.objectives.cispo import Cispo
from sfpo_bench.algorithms.objectives.dpo import Dpo
from sfpo_bench.algorithms.objectives.ratios import SequenceRatio
from sfpo_bench.algorithms.protocols import Moments
from sfpo_bench.algorithms.recorded import StepQuantity
from sfpo_bench.algorithms.selections.dppo_prune import DppoPrune
from sfpo_bench.algorithms.selections.every import Every
from sfpo_bench.algorithms.triggers import EntropyZScore, Trigger
from sfpo_bench.algorithms.update_rules import EntropySource, Lookahead, OnePass, Repeat, SlowFast
from sfpo_bench.cli.hydra_store import VERB_SETTINGS
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.metric_keys import STEP_METRICS
from sfpo_bench.core.options import Option, check_ranges, option, settings
from sfpo_bench.core.tracking import TrackingStore
from sfpo_bench.experiments.comparison.arms import compose_arms
from sfpo_bench.results.identity import Identity
from sfpo_bench.settings import config as configuration
from sfpo_bench.settings.collector_checks import check_collector
from sfpo_bench.settings.config import KINDS, RunConfig, from_node
from sfpo_bench.settings.module_checks import check_modules
from sfpo_bench.training.run import identity, plain_node

CONF = Path(configuration.__file__).parents[1] / "conf"
ALGORITHMS = sorted(path.stem for path in (CONF / "algorithm").glob("*.yaml"))
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


pytestmark = pytest.mark.usefixtures("hydra")


def composed(*overrides: str) -> DictConfig:
    return compose("train", list(overrides))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_packaged_configuration_composes_and_reads_back_as_itself(
    algorithm: str, experiment: str, tmp_path: Path
) -> None:
    node = composed(f"algorithm={algorithm}", f"experiment={experiment}", *NAMED_BY_THE_USER.get(experiment, []))
    config = from_node(node)
    saved = tmp_path / "config.yaml"
    saved.write_text(configuration.to_yaml(plain_node(node, {})))
    assert configuration.read(saved) == config
    assert config.algorithm.name == algorithm


# Experiments whose model the user names; they have no arms.
NAMED_BY_THE_USER = {name: ["model.path=x/y"] for name in ("own", "own_quick")}


@pytest.mark.parametrize("experiment", [name for name in EXPERIMENTS if name not in NAMED_BY_THE_USER])
def test_every_arm_of_every_experiment_composes(experiment: str) -> None:
    config = from_node(composed(f"experiment={experiment}"))
    assert len(config.comparison.arms) >= 3
    for arm in config.comparison.arms.values():
        from_node(composed(f"experiment={experiment}", *arm.overrides))


def test_the_presets_say_what_they_are() -> None:
    rules = {name: from_node(composed(f"algorithm={name}")).algorithm.update_rule for name in ALGORITHMS}
    assert type(rules["grpo"]) is type(rules["dr_grpo"]) is OnePass
    assert rules["repeat"] == Repeat(passes=4)
    assert rules["sfpo"] == SlowFast(fast_passes=3, alpha=0.8, trigger=EntropyZScore(window=30, threshold=1.0))
    assert rules["sfpo_paper"] == SlowFast(fast_passes=3, alpha=0.8, trigger=EntropyZScore(two_sided=True))
    assert rules["lookahead"] == Lookahead(sync_every=5, alpha=0.5)
    average, window = GradientNormAverage(decay=0.1, threshold=0.5), GradientNormWindow(window=30, threshold=0.5)
    assert rules["gxpo"] == Gxpo(fast_passes=5, alpha=0.5, ratio=StepQuantity.raw_gradient, trigger=average)
    assert rules["prepo"] == Gxpo(moments=Moments.restore, ratio=StepQuantity.optimizer_step, trigger=window)
    assert rules["repeat_kl_stop"] == Repeat(passes=4, kl_limit=0.01)
    dr_grpo = from_node(composed("algorithm=dr_grpo")).algorithm
    assert dr_grpo.objective.normalization is Normalization.fixed_length and dr_grpo.advantage.scale.value == "none"
    assert from_node(composed("algorithm=rloo")).algorithm.advantage == LeaveOneOut()
    whitened = [from_node(composed(f"algorithm=reinforce_plus_plus{name}")).algorithm for name in ("", "_baseline")]
    assert [one.advantage for one in whitened] == [WhitenedReturns(), WhitenedReturns(group_baseline=True)]
    assert {one.objective.normalization for one in whitened} == {Normalization.token_mean}
    gspo, cispo = (from_node(composed(f"algorithm={name}")).algorithm.objective for name in ("gspo", "cispo"))
    assert gspo == Clipped(ratio=SequenceRatio(), clip_low=3e-4, clip_high=4e-4)
    assert cispo == Cispo(largest_weight=5.0, normalization=Normalization.token_mean)
    dapo = from_node(composed("algorithm=dapo")).algorithm
    assert (dapo.collector, dapo.advantage) == (DynamicSampling(max_rounds=10), GroupOverlong(penalty=0.5))
    assert dapo.objective == Clipped(clip_low=0.2, clip_high=0.28, normalization=Normalization.token_mean)
    assert from_node(composed("algorithm=sfpo")).algorithm.collector == GroupCollector()
    assert from_node(composed("algorithm=dppo_prune")).algorithm.selection == DppoPrune(rate=0.5)
    assert from_node(composed("algorithm=sfpo")).algorithm.selection == Every()
    ppo = from_node(composed("algorithm=ppo")).algorithm
    assert (ppo.modules, ppo.advantage) == (Critic(), GeneralizedAdvantage(whiten=True))
    assert from_node(composed("algorithm=sfpo")).algorithm.modules == PolicyAlone()
    crossed = from_node(composed("algorithm=cispo", "algorithm.objective.ratio.kind=sequence")).algorithm.objective
    assert crossed == replace(cispo, ratio=SequenceRatio())


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["algorithm=grpo", "algorithm/advantage=gae"], "needs scores of critic, .*the policy alone.*modules=critic"),
        (["algorithm=ppo", "algorithm/modules=policy"], "algorithm.advantage needs scores of critic"),
        (["algorithm.objective.mask.kind=critic_spread"], "at least 2 modules .*the policy alone.*=mini_critics"),
        (["algorithm=asyppo", "algorithm/modules=critic"], "at least 2 modules .* trains critic;"),
        (["algorithm=asyppo", "rollout.group=5"], "critics = 2 does not divide 5 responses to a prompt"),
        (["algorithm=grpo", "algorithm/modules=mini_critics"], "trains critic_1, critic_2, .*no advantage needs"),
        (["algorithm/objective=dpo", "algorithm/selection=dppo_prune"], "a pair of which one is dropped has no loss"),
        (["learner=sgd", "learner.beta2=0.5"], "learner.beta2 = 0.5 has no effect with learner.optimizer=sgd"),
        (["learner=sgd", "learner.weight_decay=0.1"], "leave it at 0, or use learner=adamw"),
        (["algorithm/objective=dpo", "learner.engine_correction=truncate"], "does not say that it applies"),
        (
            ["algorithm/objective=dpo", "algorithm/advantage=gae", "algorithm/modules=critic", "rollout.group=1"],
            "a pair is two responses to one prompt",
        ),
        (["algorithm=grpo", "algorithm/modules=critic"], "trains critic, .*no advantage needs.*advantage=gae"),
        (["algorithm=ppo", "algorithm.modules.model_path=nowhere"], "model_path = nowhere has no config.json"),
        (["algorithm=ppo", "algorithm.modules.passes=0"], "algorithm.modules.passes = 0 is out of range"),
    ],
)
def test_an_advantage_and_the_modules_that_it_needs_come_together_or_not_at_all(
    overrides: list[str], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        from_node(composed(*overrides))


def test_a_critic_is_needed_where_one_phase_needs_it_and_lacking_where_one_does() -> None:
    plain = from_node(composed("algorithm=grpo")).method
    valued = replace(plain, advantage=GeneralizedAdvantage(), place="algorithm.phases.named.second")
    check_modules(Critic(), (plain, valued), group=4)
    with pytest.raises(ConfigError, match=r"algorithm\.phases\.named\.second\.advantage needs scores of critic"):
        check_modules(PolicyAlone(), (plain, valued), group=4)


def test_pairs_of_parts_of_responses_are_refused() -> None:
    class Parts(GroupCollector):
        whole_responses = False

    config = from_node(composed("algorithm=grpo"))
    paired = replace(config.method, objective=Dpo())
    check_collector(GroupCollector(), (paired,), config.rollouts, config.learner)
    check_collector(Parts(), (config.method,), config.rollouts, config.learner)
    with pytest.raises(ConfigError, match=r"collector = group returns parts .*algorithm\.objective compares"):
        check_collector(Parts(), (paired,), config.rollouts, config.learner)


@pytest.mark.parametrize("names", ["critic", ["critic", "critic"], ["policy"], ["a/b", 3]])
def test_names_of_modules_must_be_able_to_name_files(names: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Critic, "names", names)
    with pytest.raises(ConfigError, match=r"algorithm\.modules names the modules .*expected a tuple of names"):
        from_node(composed("algorithm=ppo"))


def test_an_algorithm_that_names_no_advantage_has_grpos() -> None:
    node = composed("algorithm=sfpo")
    node.algorithm.advantage = None
    assert from_node(node).algorithm.advantage == GroupAdvantage()


def test_every_method_says_what_it_changes_and_how_sure_its_formula_is() -> None:
    for cls in (cls for kinds in KINDS.values() for cls in kinds.values() if issubclass(cls, Facts)):
        assert cls.changes and cls.extra_passes and cls.extra_memory, cls
        assert cls.trust in ("V", "T", "?") and (cls.trust == "?") == bool(cls.unverified), cls


def test_the_released_code_is_sfpo_with_each_quirk_a_setting_of_its_own() -> None:
    plain, released = (
        configuration.flatten(configuration.to_plain(composed(f"algorithm={name}")))
        for name in ("sfpo", "sfpo_released_code")
    )
    assert Identity(plain).differences(Identity(released)) == [
        "algorithm.name: sfpo -> sfpo_released_code",
        "algorithm.objective.entropy_coefficient: 0.0 -> 0.001",
        "algorithm.objective.normalization: response_mean -> block_token_mean",
        "algorithm.update_rule.trigger_entropy: start -> slow_pass",
        "learner.mini_batches: 1 -> 4",
        "learner.weight_decay: 0.0 -> 0.01",
        "training.wrong_answer_reward: 0.0 -> 0.1",
    ]
    rule = from_node(composed("algorithm=sfpo_released_code")).algorithm.update_rule
    assert rule.trigger == EntropyZScore(window=30, threshold=1.0, two_sided=False, eps=1e-9)
    off = from_node(composed("algorithm=sfpo_released_code", "algorithm/update_rule/trigger=none"))
    assert off.algorithm.update_rule == SlowFast(trigger_entropy=EntropySource.slow_pass)


@pytest.mark.parametrize("name", ["grpo", "repeat"])
def test_a_control_of_equal_displacement_differs_from_its_rule_by_the_reach_of_sfpo_alone(name: str) -> None:
    plain, reaching = (from_node(composed(f"algorithm={one}")) for one in (name, f"{name}_equal_displacement"))
    sfpo = from_node(composed("algorithm=sfpo")).algorithm.update_rule
    factor = sfpo.reach / reaching.algorithm.update_rule.needs.passes
    assert reaching.learner.learning_rate_factor == pytest.approx(factor)
    assert reaching.learner == replace(plain.learner, learning_rate_factor=reaching.learner.learning_rate_factor)
    assert reaching.algorithm == replace(plain.algorithm, name=f"{name}_equal_displacement")


@pytest.mark.parametrize(
    "overrides", [["learner.mini_batches=3"], ["learner.mini_batches=4", "learner.mini_batch_prompts=8"]], ids=str
)
def test_mini_batches_that_do_not_divide_or_are_said_twice_are_refused(overrides: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"learner\.mini_batches = \d .* expected a divisor of rollout\.prompts"):
        from_node(composed("rollout.prompts=32", *overrides))


def test_a_trigger_is_a_group_of_its_own() -> None:
    off = from_node(composed("algorithm=sfpo", "algorithm/update_rule/trigger=none"))
    assert off.algorithm.update_rule == SlowFast(trigger=Trigger())


def test_arms_may_be_measured_on_the_select_problems_alone() -> None:
    overrides = ["comparison.split=select", "evaluation.responses=0"]
    arms = compose_arms(from_node(composed(*overrides)), "train", overrides)
    assert [arm.key for arm in arms] == ["grpo", "sfpo", "repeat", "grpo_sfpo_rate"]


def test_an_arm_of_ones_own_is_checked_like_any_other() -> None:
    node = composed("++comparison.arms.mine.overrides=[algorithm\\=repeat]", "++comparison.arms.mine.label=Mine")
    assert from_node(node).comparison.arms["mine"].label == "Mine"
    with pytest.raises(ConfigError, match="did you mean overrides"):
        from_node(composed("++comparison.arms.mine.override=[]"))


def all_settings() -> Iterator[tuple[str, Option]]:
    classes = [RunConfig, *VERB_SETTINGS.values(), *(cls for kinds in KINDS.values() for cls in kinds.values())]
    for cls in classes:
        for setting in settings(cls()):
            yield f"{cls.__name__}.{setting.key}", setting.option


def test_every_setting_has_a_line_of_documentation() -> None:
    assert not [key for key, declared in all_settings() if not declared.doc]


def test_every_number_has_a_range() -> None:
    classes = [RunConfig, *(cls for kinds in KINDS.values() for cls in kinds.values())]
    for cls in classes:
        for setting in settings(cls()):
            number = isinstance(setting.value, (int, float)) and not isinstance(setting.value, bool)
            assert not number or setting.option.range_text(), f"{cls.__name__}.{setting.key}"


def test_defaults_are_in_range() -> None:
    for kinds in KINDS.values():
        for cls in kinds.values():
            check_ranges(cls())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, 1.1])
def test_numbers_outside_their_range_are_refused_with_it(value: float) -> None:
    with pytest.raises(ConfigError, match=r"alpha = .* is out of range: expected \[0, 1\]"):
        check_ranges(SlowFast(alpha=value))


def test_options_do_not_share_mutable_defaults() -> None:
    assert option([], "x").default_factory() is not option([], "x").default_factory()
    assert SlowFast().trigger is not SlowFast().trigger


def test_identity_leaves_out_what_does_not_change_a_step() -> None:
    first = configuration.flatten(configuration.to_plain(composed()))
    second = configuration.flatten(
        configuration.to_plain(composed("training.steps=9", "output_root=x", "tracking=none", "description=other"))
    )
    assert identity(first) == identity(second)
    third = configuration.flatten(configuration.to_plain(composed("learner.learning_rate=3e-4")))
    assert identity(first).differences(identity(third)) == ["learner.learning_rate: 0.0004 -> 0.0003"]


@pytest.mark.parametrize(("mlflow", "store"), [("true", TrackingStore.mlflow), ("false", TrackingStore.none)])
def test_a_configuration_saved_by_version_0_2_says_whether_it_is_delivered(
    tmp_path: Path, mlflow: str, store: TrackingStore
) -> None:
    saved = tmp_path / "config.yaml"
    saved.write_text(configuration.to_yaml(composed()).replace("store: mlflow", f"mlflow: {mlflow}"))
    assert configuration.read(saved).tracking.store is store


def test_a_saved_configuration_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    node = OmegaConf.create(configuration.to_yaml(composed()))
    OmegaConf.update(node, "learner.momentum", 0.9, force_add=True)
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(node))
    with pytest.raises(ConfigError, match=r"learner\.momentum is not a setting"):
        configuration.read(tmp_path / "config.yaml")


def test_metric_keys_are_named_with_their_unit() -> None:
    assert all(doc for doc in STEP_METRICS.values())
    assert [key for key in STEP_METRICS if "time" in key] == []


REFUSED_METHODS = {
    "algorithm.reference follows the policy, but no step measures a KL": ("algorithm/reference=soft",),
    "algorithm.phases.named.late.update_rule returns to weights of earlier steps": (
        "algorithm/phases=in_order",
        "+algorithm.phases.named={early: {last_step: 9}, late: {first_step: 10, update_rule: {kind: lookahead}}}",
    ),
    "algorithm.phases.named.all.objective.clip_low = 7 is out of range": (
        "algorithm/phases=in_order",
        "+algorithm.phases.named={all: {objective: {kind: clipped, clip_low: 7}}}",
    ),
    "algorithm.phases.named.late.update_rule.kind=<name>": (
        "algorithm/phases=in_order",
        "+algorithm.phases.named={early: {last_step: 9}, late: {first_step: 10, update_rule: {kind: lookback}}}",
    ),
    "algorithm.phases.named.late.objekt is not a setting; did you mean objective": (
        "algorithm/phases=in_order",
        "+algorithm.phases.named={early: {last_step: 9}, late: {first_step: 10, objekt: {kind: clipped}}}",
    ),
    "algorithm.phases.named: no phase has steps 10 to 60": (
        "algorithm/phases=in_order",
        "+algorithm.phases.named={early: {last_step: 9}}",
    ),
    "algorithm.collector = replay returns parts of responses, or some of earlier steps": (
        "algorithm/collector=replay",
        "algorithm/objective=dpo",
    ),
    "algorithm.collector = branches returns parts of responses": ("algorithm=branch_grpo", "algorithm/objective=dpo"),
    "rollout.group = 6 with algorithm.collector.splits = 2": ("algorithm=branch_grpo", "rollout.group=6"),
    "algorithm.objective.dual_clip = 1.1": ("algorithm=replay", "algorithm.objective.dual_clip=1.1"),
    "algorithm.update_rule.moments = interpolate": ("algorithm=gxpo", "algorithm.update_rule.moments=interpolate"),
}


@pytest.mark.parametrize(("message", "overrides"), REFUSED_METHODS.items())
def test_methods_that_make_no_sense_together_are_refused_by_name(message: str, overrides: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as refused:
        from_node(composed(*overrides))
    assert message in str(refused.value)


def test_lookahead_in_every_phase_is_one_rule_and_may_carry_its_weights() -> None:
    later = "{a: {last_step: 9}, b: {first_step: 10, objective: {kind: cispo}}}"
    config = from_node(composed("algorithm=lookahead", "algorithm/phases=in_order", f"+algorithm.phases.named={later}"))
    assert [type(method.objective) for method in config.methods.used] == [Clipped, Cispo]
    assert len({id(method.rule) for method in config.methods.used}) == 1
