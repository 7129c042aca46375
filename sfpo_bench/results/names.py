"""Names of files and folders below the results folder, and the check of names that users give."""

from __future__ import annotations

from collections.abc import Collection

from sfpo_bench.core.errors import ConfigError

RUNS, SWEEPS, STUDIES, EVALUATIONS, SCORES = "runs", "sweeps", "studies", "evaluations", "scores"
ARTIFACTS, STORE_DATABASE, EVENT_FILES, WANDB_FILES = "mlartifacts", "mlflow.db", "tensorboard", "wandb"
# Files of every report (comparison, sweep, study), and the score table of a study or an evaluation.
REPORT, PAGE, FIGURE, SCORES_TABLE = "report.md", "report.html", "figure.png", "scores.csv"
BREAK_EVEN_FIGURE = "break_even.png"
PAPER_SCORES_TABLE = "paper_scores.csv"  # used if `SCORES_TABLE` has other columns
WORKERS_LOG = "workers.log"
REGRADED_TABLE = "regraded.csv"  # samples that our grader and that of a sample log grade otherwise
SAMPLES_TABLE = "samples.parquet"
# Folders beside comparisons, whose names a comparison must not have.
BESIDE_COMPARISONS = frozenset(
    {RUNS, SWEEPS, STUDIES, EVALUATIONS, SCORES, ARTIFACTS, "mlruns", STORE_DATABASE, EVENT_FILES, WANDB_FILES}
)
_LONGEST_BYTES = 200


def check_name(setting: str, name: str, taken: Collection[str] = ()) -> None:
    """Raise `ConfigError` unless `name` is a valid name of a single folder and not in `taken`."""
    if is_name(name) and name.casefold() not in taken:
        return
    found = f"{setting} = {name!r}"
    if is_name(name):
        raise ConfigError(f"{found} is the name of a folder that holds something else; expected another name")
    raise ConfigError(
        f"{found} cannot be the name of a folder; expected one or more characters, at most {_LONGEST_BYTES} bytes, "
        "without / and \\, without a leading dot and without blanks at either end; set the parent folder "
        "with output_root=FOLDER"
    )


def check_root(folder: str) -> None:
    """Raise `ConfigError` for an empty `output_root`, which would silently mean the working directory."""
    if not folder.strip():
        raise ConfigError("output_root is empty; expected a folder, output_root=. for the present one")


def is_name(name: str) -> bool:
    """Return True if `name` is a visible folder name on all common file systems."""
    plain = name == name.strip() and not name.startswith(".") and not set("/\\") & set(name)
    return bool(name) and plain and name.isprintable() and len(name.encode(errors="replace")) <= _LONGEST_BYTES
