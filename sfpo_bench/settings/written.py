"""Lists the settings that the user wrote on the command line and in files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import OmegaConf

from sfpo_bench.core.override_text import parse_overrides
from sfpo_bench.core.yaml_files import read_yaml
from sfpo_bench.settings.overruled import Written


def in_overrides(overrides: Sequence[str], where: str = "") -> Iterator[Written]:
    """The settings of overrides, with mappings flattened; `where` is prefixed to the override's text."""
    for override in parse_overrides(overrides):
        place = f"{where}{str(override.input_line).removeprefix('++')}"
        for key, value in _leaves(override.key_or_group.replace("/", "."), _value(override)):
            yield Written(key, value, place)


def in_files(config_name: str, overrides: Sequence[str], *, primary_is_shared: bool) -> Iterator[Written]:
    """The settings of the user's files that Hydra composes `config_name` from; call it inside a Hydra application.

    Files other than the primary one, such as experiments, are shared by verbs.
    """
    loader = GlobalHydra.instance().config_loader()
    sources = [source for source in loader.get_sources() if source.provider not in ("hydra", "schema")]
    if all(source.scheme() != "file" for source in sources):
        return
    for default in loader.compute_defaults_list(config_name, list(overrides), RunMode.RUN).defaults:
        path = default.config_path
        source = next((one for one in sources if path and one.is_config(path)), None)
        if source is None or source.scheme() != "file":
            continue
        is_shared = not default.primary or primary_is_shared
        yield from in_file(Path(source.path) / f"{path}.yaml", default.package or "", is_shared=is_shared)


def in_file(file: Path, package: str = "", *, is_shared: bool = False) -> Iterator[Written]:
    """The settings of one file, prefixed with `package`."""
    content = OmegaConf.to_container(read_yaml(file), resolve=False)
    assert isinstance(content, dict)
    for name, inner in content.items():
        if name == "defaults":
            continue
        inside = str(name) if not package else ".".join([package, str(name)])
        for key, value in _leaves(inside, inner):
            yield Written(key, value, f"{file}: {key}: {value}", is_shared)


def everything(config_name: str, overrides: Sequence[str], *, primary_is_shared: bool = False) -> list[Written]:
    """The settings of the command line and of the user's files."""
    return [
        *in_overrides(overrides),
        *in_files(config_name, overrides, primary_is_shared=primary_is_shared),
    ]


def _value(override: Override) -> object:
    return None if override.is_delete() or override.is_sweep_override() else override.value()


def _leaves(key: str, value: object) -> Iterable[tuple[str, object]]:
    if isinstance(value, dict) and value:
        return [leaf for name, inner in value.items() for leaf in _leaves(f"{key}.{name}", inner)]
    return [(key, value)]
