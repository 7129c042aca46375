"""`sfpo-bench report [FOLDER]`: writes figure, tables and page of a comparison or sweep from journals or MLflow."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from sfpo_bench.cli.hydra_store import verb_settings
from sfpo_bench.cli.progress import say
from sfpo_bench.cli.settings import ReportSettings
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.reports import ReportFiles, load_from_mlflow, write_report, write_sweep_report
from sfpo_bench.reports.sweep.write import SweepFiles
from sfpo_bench.results.names import folder_name
from sfpo_bench.results.study import StudyFolder
from sfpo_bench.results.sweep import SweepFolder


def act(node: DictConfig) -> None:
    settings = verb_settings(node, ReportSettings)
    out = Path(settings.out) if settings.out else None
    if not settings.run and SweepFolder(Path(settings.folder)).exists():
        announce_sweep(write_sweep_report(Path(settings.folder), out))
        return
    if not settings.run and StudyFolder(Path(settings.folder)).exists():
        raise ConfigError(
            f"{settings.folder} is a study; its report is made again by its own command with study.redo=score, that of "
            f"its comparison by `sfpo-bench report {settings.folder}/comparison`"
        )
    if not settings.run:
        announce(write_report(Path(settings.folder), out, settings.baseline or None))
        return
    if settings.folder != ReportSettings().folder:
        raise ConfigError(f"found folder = {settings.folder!r} and run = {settings.run!r}; expected one of the two")
    comparison = load_from_mlflow(settings.run, settings.uri or None)
    announce(write_report(comparison, out or _new_folder(comparison.plan.name), settings.baseline or None))


def _new_folder(name: str) -> Path:
    """Return a folder name made from the comparison's name; raise `ConfigError` if it exists."""
    folder = Path(folder_name(name, "report"))
    if folder.exists():
        raise ConfigError(f"found {folder} here already; expected a name that is free: say where with out=FOLDER")
    return folder


def announce(files: ReportFiles) -> None:
    """Print the summary of a report and the paths of figure and tables."""
    answer = files.report.read_text(encoding="utf-8").split("\n![", 1)[0]
    say(answer.replace("\\", "").replace("**", "").rstrip())  # strip Markdown markup for the terminal
    say("")
    say(f"figure: {files.figure_png}")
    say(f"table:  {files.report}")
    say(f"page:   {files.page}")


def announce_sweep(files: SweepFiles) -> None:
    """Print the summary of a sweep report and the paths of figures and tables."""
    report = files.report.read_text(encoding="utf-8")
    answer = report.split("\n![", 1)[0].split("\n## ", 1)[0]
    say(answer.replace("\\", "").replace("**", "").rstrip())
    say("")
    for path in (*files.figures, files.trials, files.page):
        say(f"{path.suffix.removeprefix('.')}: {path}")
