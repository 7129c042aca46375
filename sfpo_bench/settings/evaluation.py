"""Settings of `sfpo-bench evaluate`, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from sfpo_bench.core.options import option
from sfpo_bench.core.tracking import TrackingSettings
from sfpo_bench.grading import DEADLINE_S
from sfpo_bench.problems.data_settings import DataSettings
from sfpo_bench.settings.launcher import LauncherSettings
from sfpo_bench.settings.rollout import RolloutSettings
from sfpo_bench.settings.sampling import SampleSettings
from sfpo_bench.settings.training import Precision, Which


@dataclass
class EvaluateSettings:
    """The settings of an evaluation."""

    suite: str = option("quick", "a suite of evaluations/suites, or one benchmark")
    run: str = option(
        "", "training run whose checkpoint is evaluated instead of `model`, or a comparison: every run of it"
    )
    checkpoint: Which = option(Which.last, "checkpoint of the run: last, or best on its select problems")
    step: int = option(0, "step of a kept checkpoint, instead of `checkpoint`; 0: none", low=0)
    label: str = option("", "name in tables; empty: the arm of the run, else the model's name")
    model: Any = option(None, "the model that is evaluated")
    rollout: Any = option(None, "engine of the samples; its temperature, group and similar settings are not used")
    sampling: SampleSettings = option(SampleSettings(), "number of samples and sampling parameters")
    prompt: str = option("", "prompt template for every benchmark; empty: that of each card")
    problems: int = option(0, "largest number of problems per benchmark; 0: as in the suite", low=0)
    first: int = option(
        0, "only the first problems of each benchmark, in its order; 0: all that `problems` draws", low=0
    )
    grading_seconds: float = option(DEADLINE_S, "longest time for one grade, in seconds", above=0)
    undecided_share: float = option(
        0.01,
        "share of samples that the grader may leave undecided (timeout, error): they count as wrong, and every table "
        "shows the share; above it the evaluation ends without scores, and the same command grades again",
        low=0,
        high=1,
    )
    trained_on: list[str] = option(
        [], "training sets; scores are also shown without their problems; empty: those of the run's task"
    )
    data: DataSettings = option(DataSettings(), "source of benchmarks")
    launcher: Any = option(None, "launcher of the generation")
    slots: int = option(
        1,
        "parallel processes, each for a model or for a share of its problems; 1 with launcher=local: this process; "
        "0: one per CPU core",
        low=0,
    )
    precision: Precision = option(Precision.float32, "number format of the model: float32 or bfloat16")
    device: str = option("auto", "auto, cpu, cuda or cuda:N")
    threads: int = option(0, "torch threads; 0: torch's default", low=0)
    output_root: str = option("results", "folder for evaluations of models without a run")
    tracking: TrackingSettings = option(TrackingSettings(), "delivery to a tracking store")

    @property
    def engine(self) -> RolloutSettings:
        """The settings of the engine."""
        return cast(RolloutSettings, self.rollout)

    @property
    def launching(self) -> LauncherSettings:
        """The settings of the launcher."""
        return cast(LauncherSettings, self.launcher)
