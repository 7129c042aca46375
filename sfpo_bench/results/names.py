"""Names that people give to what becomes a folder, and the names that are taken below the folder of results."""

from __future__ import annotations

from collections.abc import Collection

from sfpo_bench.core.errors import ConfigError

RUNS, SWEEPS, STUDIES, EVALUATIONS, SCORES = "runs", "sweeps", "studies", "evaluations", "scores"
ARTIFACTS, STORE_DATABASE = "mlartifacts", "mlflow.db"
# What every report has, of a comparison, a sweep or a study, and the table of scores of a study or an evaluation.
REPORT, PAGE, FIGURE, SCORES_TABLE = "report.md", "report.html", "figure.png", "scores.csv"
PAPER_SCORES_TABLE = "paper_scores.csv"  # where `SCORES_TABLE` has other columns
WORKERS_LOG = "workers.log"
SAMPLES_TABLE = "samples.parquet"
# What lies beside comparisons, so that none may have its name.
BESIDE_COMPARISONS = frozenset({RUNS, SWEEPS, STUDIES, EVALUATIONS, SCORES, ARTIFACTS, "mlruns", STORE_DATABASE})
_LONGEST_BYTES = 200


def check_name(setting: str, name: str, taken: Collection[str] = ()) -> None:
    """Raise `ConfigError` unless `name` names one folder, inside of the one it is meant for, and is not in `taken`."""
    if is_name(name) and name.casefold() not in taken:
        return
    found = f"{setting} = {name!r}"
    if is_name(name):
        raise ConfigError(f"{found} is the name of a folder that holds something else; expected another name")
    raise ConfigError(
        f"{found} cannot be the name of a folder; expected one or more characters, at most {_LONGEST_BYTES} bytes, "
        "without / and \\, without a dot in front and without blanks at its ends: where folders are written is said "
        "with output_root=FOLDER"
    )


def check_root(folder: str) -> None:
    """Raise `ConfigError` for an empty `output_root`, which would be the present folder unasked."""
    if not folder.strip():
        raise ConfigError("output_root is empty; expected a folder, output_root=. for the present one")


def is_name(name: str) -> bool:
    """True for text that names one folder on every usual file system, and no hidden one."""
    plain = name == name.strip() and not name.startswith(".") and not set("/\\") & set(name)
    return bool(name) and plain and name.isprintable() and len(name.encode(errors="replace")) <= _LONGEST_BYTES
