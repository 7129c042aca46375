"""Finds the characters of a text that a tokenizer cannot represent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of texts, and for each text the distinct characters that its ids lose, in order."""

    ids: list[tuple[int, ...]]
    lost: list[list[str]]


def broken_characters(text: str) -> list[str]:
    """The lone surrogates in `text` (such as JSON's `\\ud800`), which no tokenizer accepts."""
    return list(dict.fromkeys(character for character in text if "\ud800" <= character <= "\udfff"))


def encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, add_special_tokens: bool) -> Encoded:
    """Encode the texts, and find the characters that become the unknown token or no token.

    Text that a tokenizer drops by its rules (white space between words, stripped accents) is not lost. For a tokenizer
    without offsets only unknown tokens are detected.
    """
    if not texts:
        return Encoded([], [])
    fast = tokenizer.is_fast
    batch = tokenizer(list(texts), add_special_tokens=add_special_tokens, return_offsets_mapping=fast)
    rows: list[list[int]] = batch["input_ids"]
    ids = [tuple(row) for row in rows]
    if not fast:
        return Encoded(ids, [_unknown_tokens(tokenizer, text, row) for text, row in zip(texts, rows, strict=True)])
    unknown = _unknown_names(tokenizer)
    spans: list[list[tuple[int, int]]] = batch["offset_mapping"]
    unread = [_unknown_texts(unknown, *one) for one in zip(texts, rows, spans, strict=True)]
    without = {character for character in set().union(*texts) if _has_no_token(tokenizer, character)}
    bare = [_found(tokenizer, text, without) if without else [] for text in texts]
    return Encoded(ids, [list(dict.fromkeys(one + other)) for one, other in zip(unread, bare, strict=True)])


def _unknown_tokens(tokenizer: PreTrainedTokenizerBase, text: str, row: Sequence[int]) -> list[str]:
    """The unknown token, if the ids have more of it than the text."""
    unknown = tokenizer.unk_token
    if not isinstance(unknown, str) or unknown in (tokenizer.bos_token, tokenizer.eos_token):
        return []
    return [unknown] if row.count(tokenizer.unk_token_id) > text.count(unknown) else []


def _unknown_names(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    """The unknown tokens by id: the tokenizer's and that of its backend model, which may differ."""
    names = (tokenizer.unk_token, getattr(tokenizer.backend_tokenizer.model, "unk_token", None))
    vocabulary = tokenizer.get_vocab()
    return {vocabulary[name]: name for name in names if isinstance(name, str) and name in vocabulary}


def _unknown_texts(
    unknown: Mapping[int, str], text: str, row: Sequence[int], spans: Sequence[tuple[int, int]]
) -> list[str]:
    """The pieces of text that became an unknown token, except where the text itself contains that token."""
    return [
        text[start:end]
        for token, (start, end) in zip(row, spans, strict=True)
        if token in unknown and end > start and text[start:end] != unknown[token]
    ]


def _has_no_token(tokenizer: PreTrainedTokenizerBase, character: str) -> bool:
    """True when the tokenizer's rules keep the character and its vocabulary has no token for it, not even unknown."""
    backend = tokenizer.backend_tokenizer
    kept = backend.normalizer.normalize_str(character) if backend.normalizer else character
    pieces = [piece for piece, _ in backend.pre_tokenizer.pre_tokenize_str(kept)] if backend.pre_tokenizer else [kept]
    return any(piece and not backend.model.tokenize(piece) for piece in pieces)


def _found(tokenizer: PreTrainedTokenizerBase, text: str, characters: Set[str]) -> list[str]:
    """The characters that occur in the text outside of literal special tokens such as `<|im_start|>`."""
    for token in tokenizer.added_tokens_encoder:
        text = text.replace(token, "")
    return [character for character in dict.fromkeys(text) if character in characters]
