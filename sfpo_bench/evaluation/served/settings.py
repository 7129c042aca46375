"""Checks of rollout=openai before anything is sent, and the identity of a served model. Without torch."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.evaluation.model_pin import pin_model
from sfpo_bench.models.load import ModelSettings
from sfpo_bench.results.evaluation import ModelPin
from sfpo_bench.settings.evaluation import EvaluateSettings
from sfpo_bench.settings.models import HuggingFaceModel
from sfpo_bench.settings.rollout import OpenAiRollout

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,99}")
_KEY = re.compile(r"[\x21-\x7e]+")


def check_served(settings: EvaluateSettings, rollout: OpenAiRollout) -> None:
    """Raise `ConfigError` for settings that do not say which model is asked, or that a server would not read."""
    if settings.run or settings.model != HuggingFaceModel():
        raise ConfigError(
            "rollout=openai beside model or run, whose weights the server does not get; expected only rollout.base_url "
            "and rollout.model: export a checkpoint, serve it, and name it there"
        )
    default = EvaluateSettings()
    own = [key for key in ("precision", "device", "threads") if getattr(settings, key) != getattr(default, key)]
    if own:
        raise ConfigError(f"{' and '.join(own)} with rollout=openai, whose server decides that; leave it out")
    base_url(rollout)
    if not rollout.model:
        raise ConfigError(
            "rollout.model is empty; expected the name of the model on the server, as its list of models "
            "(rollout.base_url with /models behind it) has it"
        )
    api_key(rollout)


def base_url(rollout: OpenAiRollout) -> str:
    """Return the address of the API without a slash at its end; raises `ConfigError`."""
    found = rollout.base_url.rstrip("/")
    expected = "expected the address of the API with its version, such as http://localhost:8000/v1"
    try:
        address = urlsplit(found)
        usable = address.scheme in ("http", "https") and bool(address.hostname) and (address.port or 1) > 0
    except ValueError:
        usable = False
    if usable and ("@" in address.netloc or address.query or address.fragment):
        raise ConfigError(
            f"rollout.base_url has a user, a query or a fragment, which records would keep; {expected}, and put a key "
            "into an environment variable that rollout.api_key_env names"
        )
    if not usable:
        raise ConfigError(f"rollout.base_url = {found.rsplit('@', 1)[-1]!r}; {expected}")
    return found


def api_key(rollout: OpenAiRollout, environment: Mapping[str, str] = os.environ) -> str:
    """Return the key in the variable that the settings name, or an empty string if they name none."""
    name = rollout.api_key_env
    if not name:
        return ""
    if not _VARIABLE.fullmatch(name):
        raise ConfigError(  # it may be the key itself, which must stand nowhere
            "rollout.api_key_env is not the name of an environment variable; expected capital letters, digits and "
            "underscores, such as OPENAI_API_KEY: the variable holds the key, and the key itself is no setting"
        )
    key = environment.get(name, "").strip()
    if not _KEY.fullmatch(key):
        found = "holds characters that no key has" if key else "is not set"
        raise ConfigError(
            f"rollout.api_key_env = {name}: that environment variable {found}; expected the API key in it"
        )
    return key


def pin_served(rollout: OpenAiRollout) -> tuple[ModelSettings, ModelPin]:
    """Return the tokenizer's model, with the hub's commit, and the pin of the served model.

    Raises `MissingDataError` if the tokenizer is not available.
    """
    name, address, tokenizer = rollout.model, base_url(rollout), HuggingFaceModel(path=rollout.tokenizer)
    words = [address, name]
    if rollout.tokenizer:
        try:
            found, pin = pin_model(tokenizer)
        except MissingDataError as error:
            raise MissingDataError(str(error).replace("model.path", "rollout.tokenizer")) from error
        assert isinstance(found, HuggingFaceModel)
        tokenizer, words = found, [*words, pin.sha256]
    return tokenizer, ModelPin(name, "", hashlib.sha256("\n".join(words).encode()).hexdigest())
