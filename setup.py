"""What pyproject.toml cannot say: folders beside the package that the wheel has inside it, as `sfpo_bench/<folder>`;
and the plugin of Hydra, whose place in the namespace package `hydra_plugins` Hydra prescribes."""

from pathlib import Path

from setuptools import find_namespace_packages, setup

HERE = Path(__file__).parent
FOLDERS = [
    folder.relative_to(HERE)
    for name in ("sweeps", "evaluations")
    for folder in (HERE / name, *sorted((HERE / name).rglob("*")))
    if folder.is_dir() and folder.name != "__pycache__"
]
# setuptools counts every folder inside a package as a package of its own.
CARRIED = {f"sfpo_bench.{'.'.join(folder.parts)}": folder.as_posix() for folder in FOLDERS}

setup(
    packages=[*find_namespace_packages(include=["sfpo_bench*", "hydra_plugins*"]), *CARRIED],
    package_dir=CARRIED,
)
