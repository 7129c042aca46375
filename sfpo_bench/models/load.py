"""Loads a causal language model and its tokenizer; remote code is never run."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING

from sfpo_bench.core.content import MODEL_CONFIG
from sfpo_bench.core.errors import ConfigError, DamagedFile, MissingDataError
from sfpo_bench.models.shapes import PUBLISHED, Shape, read_shape
from sfpo_bench.settings.models import EmbeddedModel, HuggingFaceModel, SmolLM2Model
from sfpo_bench.settings.training import Precision

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_HUB_SECONDS = 10.0

ModelSettings = EmbeddedModel | HuggingFaceModel | SmolLM2Model


@dataclass(frozen=True, slots=True)
class Policy:
    """A model to train, with its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def locate(settings: ModelSettings) -> str:
    """The model's local folder or hub name, without loading it.

    Raises `MissingDataError` for a folder that does not exist or is not a model folder.
    """
    if isinstance(settings, EmbeddedModel):
        from sfpo_bench.models.arithmetic_character import FOLDER

        return str(FOLDER)
    if isinstance(settings, SmolLM2Model):
        from sfpo_bench.models import smollm2

        return str(smollm2.locate(_cache(settings), settings.source))
    path = Path(os.path.expanduser(settings.path))
    if path.is_dir():
        if not (path / MODEL_CONFIG).is_file():
            raise MissingDataError(
                f"model.path = {settings.path} has no config.json; expected a folder that save_pretrained wrote"
            )
        return str(path)
    if not _is_hub_name(settings.path):
        raise MissingDataError(
            f"model.path = {settings.path} does not exist; name a model folder, or a hub model as NAME or OWNER/NAME"
        )
    check_hub(settings.path, settings.revision)
    return settings.path


def _is_hub_name(name: str) -> bool:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # its docs name it there

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def check_hub(name: str, revision: str) -> None:
    """Check that the model is in the local cache or on the hub; one request, no retries.

    Raises `MissingDataError` when the hub does not respond, is disabled, or has no such model for this user.
    """
    from huggingface_hub import constants, get_token, hf_hub_url, try_to_load_from_cache

    if isinstance(try_to_load_from_cache(name, MODEL_CONFIG, revision=revision or None), str):
        return
    remedy = "download the model where the hub can be reached and set model.path to its folder"
    if constants.HF_HUB_OFFLINE:
        raise MissingDataError(f"model.path = {name} is not in the local cache and HF_HUB_OFFLINE is set; {remedy}")
    url = hf_hub_url(name, MODEL_CONFIG, revision=revision or None)
    token = get_token()
    headers = {"authorization": f"Bearer {token}"} if token else {}
    question = urllib.request.Request(url, method="HEAD", headers=headers)
    try:
        urllib.request.urlopen(question, timeout=_HUB_SECONDS).close()
    except urllib.error.HTTPError as error:
        raise MissingDataError(
            f"model.path = {name}: the hub answers {error.code} for its config.json"
            f"{f' at revision {revision}' if revision else ''}; check name and revision, and HF_TOKEN for a gated model"
        ) from error
    except (OSError, ValueError) as error:
        raise MissingDataError(
            f"model.path = {name} is not a local folder or in the local cache, and the hub does not answer ({error}); "
            f"check the network, or {remedy}"
        ) from error


def pinned(settings: ModelSettings) -> dict[str, object]:
    """Settings, by dotted key, to resolve before a run is saved: the SmolLM2 source for `auto`."""
    if isinstance(settings, SmolLM2Model):
        from sfpo_bench.models import smollm2

        return {"model.source": smollm2.available(_cache(settings), settings.source).value}
    return {}


def shape_of(settings: ModelSettings) -> Shape:
    """The model's shape, from the table of published models or from its config.json."""
    if isinstance(settings, HuggingFaceModel) and settings.path in PUBLISHED:
        return PUBLISHED[settings.path]
    place = Path(locate(settings))
    if place.is_dir():
        return read_shape(place / MODEL_CONFIG)
    from huggingface_hub import hf_hub_download

    return read_shape(Path(hf_hub_download(str(place), MODEL_CONFIG, revision=revision_of(settings) or None)))


def revision_of(settings: ModelSettings) -> str:
    """The configured hub revision; empty for the default and for models that are not on the hub."""
    return settings.revision if isinstance(settings, HuggingFaceModel) else ""


def aliases(model: PreTrainedModel) -> dict[str, str]:
    """Checkpoint names of tied weights, such as `lm_head.weight`, mapped to the parameters they alias."""
    named = {parameter.data_ptr(): name for name, parameter in model.named_parameters()}
    return {
        name: named[tensor.data_ptr()]
        for name, tensor in model.state_dict().items()
        if tensor.data_ptr() in named and named[tensor.data_ptr()] != name
    }


def _cache(settings: SmolLM2Model) -> Path:
    from sfpo_bench.models import smollm2

    return Path(settings.cache) if settings.cache else smollm2.default_cache()


def load(settings: ModelSettings, precision: Precision, device: str) -> Policy:
    """The model on its device in `precision`, and its tokenizer; raises `MissingDataError` when it cannot be loaded."""
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    place = locate(settings)
    revision = revision_of(settings) or "main"
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, revision=revision, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            place, revision=revision, trust_remote_code=False, dtype=getattr(torch, precision.value)
        )
    except UnpicklingError as error:
        raise DamagedFile(
            f"the weights of {place} are a pickle that holds more than tensors, which is not read; "
            "get the model with safetensors files"
        ) from error
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError) as error:
        raise DamagedFile(
            f"a JSON file of {place} has content that transformers cannot read ({type(error).__name__}: "
            f"{str(error)[:200]}); copy or download the model again"
        ) from error
    except SafetensorError as error:
        raise DamagedFile(
            f"the weights of {place} are damaged ({str(error).splitlines()[0]}): a file is cut or not safetensors; "
            "copy or download the model again"
        ) from error
    except (OSError, ValueError) as error:
        raise MissingDataError(
            f"the model {place} (revision {revision}) could not be loaded: {str(error).splitlines()[0]} "
            "If the hub is not reachable from here, download the model elsewhere and set model.path to its folder"
        ) from error
    module: torch.nn.Module = model
    module.to(device)
    return Policy(model, tokenizer)


def resolve_device(name: str) -> str:
    """The configured device; `auto` is cuda if available, else cpu. Raises `ConfigError` for a missing device."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device = {name!r} is not a device; expected auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device = {name} but {torch.cuda.device_count()} CUDA devices are visible; use device=auto")
    return str(device)
