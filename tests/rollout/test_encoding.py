"""Prompts become the tokens they should: no second BOS, nothing cut, every end token found."""

from __future__ import annotations

import unicodedata

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import GenerationConfig, PreTrainedTokenizerFast

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.types import Message, Problem, Prompt
from sfpo_bench.models.arithmetic_character import build_tokenizer
from sfpo_bench.problems.arithmetic import Arithmetic
from sfpo_bench.rollout.encoding import encode_problems, encode_prompts, end_of_sequence_ids
from sfpo_bench.settings.rollout import OverLong
from tests.training.policies import policy

WORDS = {"<s>": 0, "</s>": 1, "<user>": 2, "<assistant>": 3, "one": 4, "two": 5, "three": 6}
TEMPLATE = (
    "<s> {% for m in messages %}<user> {{ m.content }} {% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


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


@pytest.mark.parametrize("text", ["7*8 -35=", "7×8=", "x*3=", "é=", "7\n=", "\u0667=", "7\ud800=", "7*8=?"])
def test_a_prompt_with_characters_outside_the_vocabulary_is_refused(text: str) -> None:
    """Also a blank or a newline, where the vocabulary has none; never a shorter prompt in silence."""
    with pytest.raises(ConfigError, match=r"1 of 2 prompts have characters .* lacks \(the first: problem b, with '"):
        encode_prompts(build_tokenizer(), [Prompt("a", "7*8-35="), Prompt("b", text)])


def test_an_unknown_word_is_refused_and_the_unknown_token_itself_is_not() -> None:
    with pytest.raises(ConfigError, match="problem a, with 'four'"):
        encode_prompts(tokenizer(), [Prompt("a", "one four")])
    with pytest.raises(ConfigError, match="problem a, with 'four'"):
        encode_prompts(tokenizer(), [Prompt("a", (Message("user", "four"),))])
    assert encode_prompts(tokenizer(), [Prompt("a", "one </s> two")]) == [(0, 4, 1, 5)]
    assert encode_prompts(build_tokenizer(), [Prompt("a", "<pad>7=")]) == [(0, 9, 15)]


def byte_level(alphabet: list[str]) -> PreTrainedTokenizerFast:
    """Bytes as GPT-2 has them, whose offsets leave out the blank before a word."""
    inner = Tokenizer(models.BPE(vocab={letter: place for place, letter in enumerate(alphabet)}, merges=[]))
    inner.normalizer = normalizers.NFC()
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.post_processor = processors.ByteLevel(trim_offsets=True)
    return PreTrainedTokenizerFast(tokenizer_object=inner)


def test_bytes_know_every_character_and_a_smaller_alphabet_says_which_it_lacks() -> None:
    every = byte_level(sorted(pre_tokenizers.ByteLevel.alphabet()))
    text = "one  two\n\ttre\u0301s \u4e2d \U0001f600 \u200b-3 "
    [ids] = encode_prompts(every, [Prompt("a", text)])
    assert len(ids) == len(unicodedata.normalize("NFC", text).encode())
    with pytest.raises(ConfigError, match=r"problem a, with ' ', '\\xe9'"):
        encode_prompts(byte_level(["a", "b"]), [Prompt("a", "a b\u00e9 a")])


def test_what_a_tokenizer_leaves_out_by_its_rules_is_not_lost() -> None:
    inner = Tokenizer(models.WordLevel(WORDS, unk_token="</s>"))
    inner.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()])
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    stripped = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>")
    assert encode_prompts(stripped, [Prompt("a", " ON\u00c9\n  two ")]) == [(4, 5)]


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
