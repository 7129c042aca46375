"""`sfpo-bench study NAME --plan`: the arms, seeds and design of a study, without starting it."""

from __future__ import annotations

from omegaconf import DictConfig

from sfpo_bench.cli.progress import say
from sfpo_bench.cli.study import composed_study
from sfpo_bench.experiments.study.design import Described
from sfpo_bench.reports.markdown import plain_text


def act(node: DictConfig) -> None:
    study = composed_study(node)
    say(f"{study.name}: {study.config.description}")
    say(f"tuned: {', '.join(arm.label for arm in study.arms)}" if study.sweep else "nothing is tuned")
    compared = study.design.compared(study.config, study.config.comparison.arms)
    say(f"compared: {len(compared)} arms with {len(study.seeds)} seeds each, of {study.config.training.steps} steps")
    if isinstance(study.design, Described):
        say("")
        say(plain_text(study.design.described(study)).rstrip())
