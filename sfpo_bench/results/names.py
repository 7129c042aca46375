"""Names of files and folders below the results folder, and the check of names that users give."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from pathlib import Path

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
_FORBIDDEN = '/\\<>:"|?*'  # on one of the common file systems
_RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))})
# Letters of other scripts that are drawn as Latin ones: Cyrillic and Greek, small and capital.
_LIKE_LATIN = frozenset(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501\u051b\u051d\u04bb\u0475"
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0425\u0406\u0408\u0405\u0423"
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u03bf\u03bd"
)


def check_name(setting: str, name: str, taken: Collection[str] = ()) -> None:
    """Raise `ConfigError` unless `name` is a valid name of a single folder and not in `taken`."""
    fault = fault_of(name)
    found = f"{setting} = {name!r}"
    if fault:
        raise ConfigError(
            f"{found} cannot be the name of a folder: {fault}; expected one or more characters, at most "
            f"{_LONGEST_BYTES} bytes, without {' '.join(_FORBIDDEN)}, without a leading dot and without a dot or "
            "blanks at the end; set the parent folder with output_root=FOLDER"
        )
    if key_of(name) in taken:
        raise ConfigError(f"{found} is the name of a folder that holds something else; expected another name")


def check_unlike(folder: Path) -> None:
    """Raise `ConfigError` if a folder beside `folder` differs from it in capitals or the form of letters alone."""
    if not folder.parent.is_dir():
        return
    key = key_of(folder.name)
    alike = [one.name for one in folder.parent.iterdir() if key_of(one.name) == key]
    if alike and folder.name not in alike:
        raise ConfigError(
            f"found {folder.parent / alike[0]} beside {folder.name!r}: some file systems take both for one folder; "
            "expected the same name, or one that differs in more than capitals"
        )


def check_distinct(setting: str, given: Iterable[str]) -> None:
    """Raise `ConfigError` if two of the names differ in capitals or the form of letters alone."""
    seen: dict[str, str] = {}
    for name in given:
        other = seen.setdefault(key_of(name), name)
        if other != name:
            raise ConfigError(
                f"{setting} has {other!r} and {name!r}: some file systems take both for one folder; expected names "
                "that differ in more than capitals"
            )


def check_root(folder: str) -> None:
    """Raise `ConfigError` for an empty `output_root`, which would silently mean the working directory."""
    if not folder.strip():
        raise ConfigError("output_root is empty; expected a folder, output_root=. for the present one")


def folder_name(text: str, otherwise: str) -> str:
    """Return a valid folder name made from any text; `otherwise` where nothing of it can stand in a name."""
    plain = re.sub(r"[^\w.-]+", "-", unicodedata.normalize("NFKC", text)).strip(".-")
    if fault_of(plain):
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", plain)[:_LONGEST_BYTES].strip(".-") or otherwise
    return f"_{plain}" if _is_reserved(plain) else plain


def key_of(name: str) -> str:
    """Return what names share that some file systems take for one."""
    return unicodedata.normalize("NFKC", name).casefold()


def is_name(name: str) -> bool:
    """Return True if `name` is a visible folder name on all common file systems."""
    return not fault_of(name)


def fault_of(name: str) -> str:
    """Return why `name` is no folder name that is visible, and the same, on all common file systems; else ""."""
    normal = unicodedata.normalize("NFKC", name)
    size = len(name.encode(errors="replace"))
    faults = {
        "it is empty": not name,
        f"it has {size} bytes": size > _LONGEST_BYTES,
        "it leads to another folder": name in (".", "..") or bool({"/", "\\"} & set(name)),
        "it is hidden": name.startswith("."),
        "it begins or ends with a blank, or ends with a dot": name != name.strip() or name.endswith("."),
        "it has a character that is not printed": not name.isprintable(),
        "it has a character that some file systems forbid": bool(set(_FORBIDDEN) & set(name)),
        "the name belongs to a device on Windows": _is_reserved(name),
        f"its letters have another plain form, {normal!r}": normal != name,
        "a word of it has letters of another script that look like Latin ones": _looks_latin(name),
    }
    return next((reason for reason, found in faults.items() if found), "")


def _is_reserved(name: str) -> bool:
    return name.split(".")[0].strip().casefold() in _RESERVED


def _looks_latin(name: str) -> bool:
    """Return True if a word mixes Latin with look-alikes, or has no other letters than look-alikes."""
    for word in re.findall(r"[^\W\d_]+", name):
        alike = [letter in _LIKE_LATIN for letter in word]
        if any(alike) and (all(alike) or any(unicodedata.name(letter, "").startswith("LATIN") for letter in word)):
            return True
    return False
