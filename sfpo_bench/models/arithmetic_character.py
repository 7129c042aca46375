"""Trains the warm start of the embedded character model from scratch, reproducible bit for bit.

    python -m sfpo_bench.models.arithmetic_character OUT

A Qwen2 of 108,224 parameters (hidden 64, 2 layers, 4 heads, feed-forward 192, tied embeddings, 16 characters) first
learns `7*8-35=56-35=21` from train problems only. Training on a mixture of right and wrong answers then lowers its
sampled accuracy to nearly zero while greedy decoding often succeeds, which leaves room for reinforcement learning. It
takes about one minute on one thread. Equal bits need the pinned torch and the same kind of CPU.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sfpo_bench.core.seeding import generator
from sfpo_bench.core.types import Split
from sfpo_bench.problems.arithmetic import Expression, expression_split, expressions

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import Qwen2ForCausalLM, Qwen2Tokenizer

SEED = 0
CHARACTERS = "0123456789+-*="
PAD, EOS = "<pad>", "<eos>"
VOCABULARY = {token: index for index, token in enumerate([PAD, EOS, *CHARACTERS])}
FOLDER = Path(__file__).with_name("arithmetic_character_start")


@dataclass(frozen=True, slots=True)
class Lesson:
    """A phase of supervised training: `response` is the target text of a problem."""

    name: str
    steps: int
    learning_rate: float
    response: Callable[[Expression, np.random.Generator], str]


def clean(expression: Expression, rng: np.random.Generator) -> str:
    """A response with the right intermediate step and answer."""
    return expression.worked_out


def no_step(expression: Expression, rng: np.random.Generator) -> str:
    """A wrong answer without an intermediate step."""
    return str(expression.answer + int(rng.integers(1, 30)) * int(rng.choice([-1, 1])))


def wrong_precedence(expression: Expression, rng: np.random.Generator) -> str:
    """A response that adds before it multiplies: `7*8-35=7*-27=-189`."""
    a, b, c = expression.a, expression.b, expression.c
    signed = c if expression.sign == "+" else -c
    if expression.product_first:
        return f"{a}*{b + signed}={a * (b + signed)}"
    left = c + a if expression.sign == "+" else c - a
    return f"{left}*{b}={left * b}"


def digit_noise(expression: Expression, rng: np.random.Generator) -> str:
    """The right response with each digit replaced by a random one with probability 0.15."""
    replaced = [str(rng.integers(10)) if c.isdigit() and rng.random() < 0.15 else c for c in clean(expression, rng)]
    return "".join(replaced)


def mixture(expression: Expression, rng: np.random.Generator) -> str:
    """One of the four kinds of response, at random."""
    kinds = (clean, no_step, wrong_precedence, digit_noise)
    return kinds[int(rng.integers(4))](expression, rng)


LESSONS = (Lesson("clean", 1500, 3e-3, clean), Lesson("diluted", 300, 1e-3, mixture))


def build_tokenizer() -> Qwen2Tokenizer:
    """The tokenizer: one token per character, no beginning-of-sequence token.

    transformers uses this class for any tokenizer beside a Qwen2 model, whatever class its files name. The class adds
    an unknown token unless it is given one, which would be a seventeenth token for a model that has sixteen.
    """
    from transformers import Qwen2Tokenizer

    return Qwen2Tokenizer(vocab=dict(VOCABULARY), merges=[], unk_token=PAD, eos_token=EOS, pad_token=PAD)


def build_model(seed: int = SEED) -> Qwen2ForCausalLM:
    """The untrained model; its initial weights are a function of `seed`."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=len(VOCABULARY),
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        eos_token_id=VOCABULARY[EOS],
        pad_token_id=VOCABULARY[PAD],
        bos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Qwen2ForCausalLM(config)


def teach(model: Qwen2ForCausalLM, lessons: Sequence[Lesson] = LESSONS, batch: int = 128) -> None:
    """Train on train problems by supervised learning: loss on responses only, learning rate decaying linearly to 0."""
    import torch

    problems = [e for e in expressions() if expression_split(e) is Split.train]
    for lesson in lessons:
        rng = generator(SEED, "warm_start", lesson.name)
        optimizer = torch.optim.AdamW(model.parameters(), lr=lesson.learning_rate, weight_decay=0.0)
        for step in range(lesson.steps):
            chosen = [problems[i] for i in rng.integers(len(problems), size=batch)]
            ids, labels = encode([(f"{e.text}=", lesson.response(e, rng)) for e in chosen])
            for group in optimizer.param_groups:
                group["lr"] = lesson.learning_rate * (1 - step / lesson.steps)
            loss = model(input_ids=ids, labels=labels).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()


def encode(pairs: Sequence[tuple[str, str]]) -> tuple[Tensor, Tensor]:
    """Right-padded token ids, and labels with -100 on prompt and padding, both [B, L]."""
    import torch

    rows = [[VOCABULARY[c] for c in prompt + response] + [VOCABULARY[EOS]] for prompt, response in pairs]
    length = max(len(row) for row in rows)
    ids = torch.full((len(rows), length), VOCABULARY[PAD])
    labels = torch.full((len(rows), length), -100)
    for index, (row, (prompt, _)) in enumerate(zip(rows, pairs, strict=True)):
        ids[index, : len(row)] = torch.tensor(row)
        labels[index, len(prompt) : len(row)] = torch.tensor(row[len(prompt) :])
    return ids, labels


def make(out: Path) -> None:
    """Train the warm start and write it to `out` as an ordinary Hugging Face folder."""
    import torch

    torch.set_num_threads(1)
    model = build_model()
    teach(model)
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    build_tokenizer().save_pretrained(out)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
