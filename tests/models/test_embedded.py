"""The embedded model's tokenizer, however it is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerFast

from sfpo_bench.core.types import Split
from sfpo_bench.models.arithmetic_character import EOS, FOLDER, PAD, VOCABULARY, build_model, build_tokenizer
from sfpo_bench.models.load import load
from sfpo_bench.problems.arithmetic import Arithmetic
from sfpo_bench.rollout.encoding import encode_prompts
from sfpo_bench.settings.models import EmbeddedModel, HuggingFaceModel
from sfpo_bench.settings.training import Precision


def saved_again(folder: Path) -> Path:
    """What `export` writes: model and tokenizer as they were loaded, saved; loaded and saved once more."""
    policy = load(EmbeddedModel(), Precision.float32, "cpu")
    for name in ("once", "twice"):
        policy.model.save_pretrained(folder / name)
        policy.tokenizer.save_pretrained(folder / name)
        policy = load(HuggingFaceModel(path=str(folder / name)), Precision.float32, "cpu")
    return folder / "twice"


@pytest.mark.parametrize("where", ["shipped", "exported"])
def test_every_loader_gives_one_token_for_each_character_and_each_embedding_row(where: str, tmp_path: Path) -> None:
    folder = FOLDER if where == "shipped" else saved_again(tmp_path)
    rows = AutoConfig.from_pretrained(folder).vocab_size
    assert rows == build_model().get_input_embeddings().num_embeddings == len(VOCABULARY) == 16
    task = Arithmetic()
    prompts = [task.prompt(problem) for problem in task.problems(Split.select)[::20]]
    expected = [tuple(VOCABULARY[character] for character in str(prompt.content)) for prompt in prompts]
    for tokenizer in (
        build_tokenizer(),
        AutoTokenizer.from_pretrained(folder),
        PreTrainedTokenizerFast.from_pretrained(folder),
    ):
        assert tokenizer.get_vocab() == VOCABULARY and len(tokenizer) == rows
        assert (tokenizer.pad_token, tokenizer.eos_token, tokenizer.bos_token) == (PAD, EOS, None)
        assert encode_prompts(tokenizer, prompts) == expected
        assert [tokenizer.decode(list(ids)) for ids in expected] == [prompt.content for prompt in prompts]
