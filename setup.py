"""What pyproject.toml cannot say: folders beside the package that the wheel has inside it, as `sfpo_bench/<folder>`;
and the plugin of Hydra, whose place in the namespace package `hydra_plugins` Hydra prescribes."""

from pathlib import Path

from setuptools import find_namespace_packages, setup

CARRIED = [name for name in ("sweeps", "evaluations") if (Path(__file__).parent / name).is_dir()]

setup(
    packages=[
        *find_namespace_packages(include=["sfpo_bench*", "hydra_plugins*"]),
        *(f"sfpo_bench.{name}" for name in CARRIED),
    ],
    package_dir={f"sfpo_bench.{name}": name for name in CARRIED},
)
