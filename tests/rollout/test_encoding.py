"""Prompts become the tokens they should: no second BOS, nothing cut, every end token found."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import GenerationConfig, PreTrainedTokenizerFast

from sfpo_bench.errors import ConfigError
from sfpo_bench.rollout.encoding import encode_problems, encode_prompts, end_of_sequence_ids
from sfpo_bench.rollout.settings import OverLong
from sfpo_bench.tasks.arithmetic import Arithmetic
from sfpo_bench.types import Message, Problem, Prompt
from tests.training.policies import policy

WORDS = {"<s>": 0, "</s>": 1, "<user>": 2, "<assistant>": 3, "one": 4, "two": 5, "three": 6}
TEMPLATE = "<s> {% for m in messages %}<user> {{ m.content }} {% endfor %}<assistant>"


def tokenizer(template: str | None = TEMPLATE) -> PreTrainedTokenizerFast:
    """Words, and a post-processor that puts <s> in front, as Llama's does."""
    inner = Tokenizer(models.WordLevel(WORDS, unk_token="</s>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    made = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>")
    made.chat_template = template
    return made


def test_raw_text_gets_one_bos_and_never_two() -> None:
    encoded = encode_prompts(tokenizer(), [Prompt("a", "one two"), Prompt("b", "<s> one two")])
    assert encoded == [(0, 4, 5), (0, 4, 5)]


def test_a_chat_template_writes_its_own_special_tokens() -> None:
    prompts = [Prompt("a", (Message("user", "one"),)), Prompt("b", "three")]
    assert encode_prompts(tokenizer(), prompts) == [(0, 2, 4, 3), (0, 6)]


def test_chat_turns_without_a_template_are_refused() -> None:
    with pytest.raises(ConfigError, match="no chat template"):
        encode_prompts(tokenizer(None), [Prompt("a", (Message("user", "one"),))])


class Words(Arithmetic):
    """Problems whose text is the prompt."""

    def prompt(self, problem: Problem) -> Prompt:
        return Prompt(problem.id, problem.text)


PROBLEMS = [Problem("short", "one", "1"), Problem("long", "one two three", "6")]


def test_an_over_long_prompt_is_refused_or_dropped_and_never_cut() -> None:
    with pytest.raises(ConfigError, match=r"1 of 2 prompts .*the longest has 4 tokens"):
        encode_problems(tokenizer(), Words(), PROBLEMS, 3, OverLong.refuse)
    kept = encode_problems(tokenizer(), Words(), PROBLEMS, 3, OverLong.drop)
    assert [(item.problem.id, item.prompt_ids) for item in kept] == [("short", (0, 4))]
    assert len(encode_problems(tokenizer(), Words(), PROBLEMS, 4, OverLong.refuse)) == 2


def test_dropping_every_problem_is_an_error() -> None:
    with pytest.raises(ConfigError, match="none of 2 prompts"):
        encode_problems(tokenizer(), Words(), PROBLEMS, 1, OverLong.drop)


def test_end_tokens_are_those_of_generation_config_model_config_and_tokenizer() -> None:
    model = policy()
    model.generation_config = GenerationConfig(eos_token_id=[7, 8])
    model.config.eos_token_id = 9
    assert end_of_sequence_ids(model, tokenizer()) == {7, 8, 9, 1}


def test_a_model_without_any_end_token_is_refused() -> None:
    model, words = policy(), tokenizer()
    model.generation_config = GenerationConfig()
    model.config.eos_token_id = None
    words.eos_token = None
    with pytest.raises(ConfigError, match="no end-of-sequence token"):
        end_of_sequence_ids(model, words)
