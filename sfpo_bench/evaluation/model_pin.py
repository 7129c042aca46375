"""Identifies the weights of a model by the sha256 of its files, or by the hub's commit."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from sfpo_bench.core.content import MODEL_CONFIG, file_sha256, model_folder_sha256
from sfpo_bench.core.errors import MissingDataError
from sfpo_bench.models.load import ModelSettings, locate
from sfpo_bench.results.evaluation import ModelPin
from sfpo_bench.settings.models import HuggingFaceModel
from sfpo_bench.training.checkpoint import Checkpoint


def pin_model(settings: ModelSettings) -> tuple[ModelSettings, ModelPin]:
    """Return the pin of a model, and its settings with a hub branch or tag replaced by its current commit.

    Raises `MissingDataError` if the model is not available.
    """
    place = locate(settings)
    if Path(place).is_dir():
        return settings, ModelPin(Path(place).name, "", model_folder_sha256(Path(place)))
    assert isinstance(settings, HuggingFaceModel)
    commit = _hub_commit(settings)
    digest = hashlib.sha256(f"{settings.path}@{commit}".encode()).hexdigest()
    return replace(settings, revision=commit), ModelPin(settings.path, commit, digest)


def pin_checkpoint(base: ModelPin, checkpoint: Checkpoint) -> ModelPin:
    """Return the pin of a checkpoint of a run that started from `base`."""
    weights = " ".join(file_sha256(file) for file in checkpoint.weights_files)
    return replace(base, sha256=hashlib.sha256(f"{base.sha256} {weights}".encode()).hexdigest())


def _hub_commit(settings: HuggingFaceModel) -> str:
    """Return the commit of a hub model, which is the name of its folder in the hub's cache."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        file = hf_hub_download(settings.path, MODEL_CONFIG, revision=settings.revision or None)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise MissingDataError(
            f"the revision of {settings.path} cannot be pinned ({' '.join(str(error).split())[:200]}); download the "
            "model where the hub can be reached and set model.path to its folder"
        ) from error
    return Path(file).parent.name
