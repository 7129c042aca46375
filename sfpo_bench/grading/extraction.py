"""Where a response has its final answer. Every rule has a name; the first that finds something decides."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from sfpo_bench.grading.boxes import last_boxes


class Rule(StrEnum):
    """How the final answer was found, in the order in which it is looked for."""

    final_answer_is = "final_answer_is"
    boxed = "boxed"
    hashes = "hashes"
    answer_is = "answer_is"
    whole = "whole"
    last_expression = "last_expression"


@dataclass(frozen=True, slots=True)
class Extraction:
    """What may be the final answer: `texts` are readings of one place, the likeliest first, and any may be right.

    `marked` is True when the response itself says that this is its answer.
    """

    rule: Rule
    texts: tuple[str, ...]

    @property
    def marked(self) -> bool:
        return self.rule not in (Rule.whole, Rule.last_expression)


_END = re.compile(r"<\|(?:im_end|im_start|endoftext|eot_id|end_of_text|end)\|>|</s>")
_THOUGHT = re.compile(r"</think(?:ing)?>")
_LONGEST_TAIL = 4000  # characters at the end in which answers that nothing marks are looked for


def extract(response: str) -> Extraction | None:
    """The final answer of a response; None when there is none."""
    text = spoken(response)
    statement = _last_statement(text)
    boxes = last_boxes(text)
    box_place = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    if statement is not None and boxes is not None and statement.final and statement.start > box_place:
        return Extraction(Rule.final_answer_is, statement.texts)
    if boxes is not None:
        texts = dict.fromkeys((", ".join(boxes.tight), ", ".join(boxes.loose)))
        return Extraction(Rule.boxed, tuple(texts))
    hashes = _HASHES.findall(text)
    if hashes and hashes[-1].strip(" *.$"):
        return Extraction(Rule.hashes, (hashes[-1].strip(),))
    if statement is not None:
        return Extraction(Rule.answer_is, statement.texts)
    return _unmarked(text)


def spoken(response: str) -> str:
    """What the response says: without what follows its end token, and without the thoughts before the answer."""
    end = _END.search(response, 1)
    text = response[: end.start()] if end and response[: end.start()].strip() else response
    thoughts = list(_THOUGHT.finditer(text))
    after = text[thoughts[-1].end() :] if thoughts else ""
    return after if after.strip() else text


_HASHES = re.compile(r"####[ \t]*(\S[^\n]{0,999})")
_ANSWER = (
    r"(?:answers?|correct\s+(?:option|choice)|r[ée]ponse(?:\s+finale)?|respuesta(?:\s+final)?|resposta|risposta|antwort|odpowied[zź]|"
    r"\u043e\u0442\u0432\u0435\u0442|\u7b54\u6848|\u7b54\u3048|\u7b54|\u6b63\u89e3)"
)
_STATEMENT = re.compile(
    rf"(?P<final>final\s+|finale?\s+)?{_ANSWER}\**(?:"
    r"\s*(?:\u662f|\u4e3a|\u70ba|\u306f)\s*[:\uff1a=]?"
    r"|\s*\**\s*[:\uff1a=]\s*\**"
    r"|\s+(?:is|are|was|would\s+be|should\s+be|must\s+be|est|es|ist|\u00e8|\u00e9)\b\s*[:\uff1a]?"
    r"|[^\n.:]{1,60}?\s(?:is|are)\s*[:\uff1a]"
    r"|\s*\n)",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<!\b[A-Za-z])[.!?\u3002](?=\s|$|\*)|\n")


@dataclass(frozen=True, slots=True)
class _Statement:
    start: int
    final: bool
    texts: tuple[str, ...]


def _last_statement(text: str) -> _Statement | None:
    """The last `the answer is …`, `Answer: …` or the same in another language that states anything."""
    tail_start = max(0, len(text) - 4 * _LONGEST_TAIL)
    for match in reversed(list(_STATEMENT.finditer(text, tail_start))):
        texts = _stated(text[match.end() : match.end() + 1000])
        if texts:
            is_final = bool(match["final"]) and "\n" not in match.group()
            return _Statement(match.start(), is_final, texts)
    return None


def _stated(rest: str) -> tuple[str, ...]:
    """The answer in what follows `the answer is`: the whole sentence, or the first expression in it if it is prose."""
    rest = rest.lstrip(" \t\n*:=>")
    display = re.match(r"(\\\[|\$\$)(.{1,900}?)(\\\]|\$\$)", rest, re.DOTALL)
    if display:
        return (display[2].strip(),)
    end = _SENTENCE_END.search(rest)
    sentence = (rest[: end.start()] if end else rest).strip(" *")
    if not sentence:
        return ()
    if not is_prose(sentence):
        return (sentence,)
    choice = re.match(r"(?:option|choice)?\s*(\([A-J]\)|[A-J](?=[\s).:,]|$))", sentence)
    if choice and not sentence.startswith("A "):
        return (choice[1],)
    focus = re.split(r"\s(?:is|are|equals|equal to)\s|(?<![<>!])=(?!=)", sentence)[-1]
    places = expressions(focus) or expressions(sentence)
    if places:
        return (places[0], sentence)
    return (sentence,) if len(sentence.split()) <= 8 else ()


# Words that a formula may have: none of them makes a text prose.
_MATHEMATICAL_WORDS = (
    "and or percent sqrt frac sin cos tan cot sec csc log exp arcsin arccos arctan sinh cosh tanh inf infinity mod min "
    "max lim gcd lcm det deg floor ceil abs dfrac tfrac cdot times pmatrix bmatrix begin end boxed"
)
_NOT_PROSE = frozenset(_MATHEMATICAL_WORDS.split())
_TEXT_COMMAND = re.compile(r"\\(?:text|math|operatorname|mbox)[a-z]*\s*\{[^{}]*\}|\\[A-Za-z]+(?:\{[a-z]+matrix\*?\})?")
_WORD = re.compile(
    r"(?i:\b(?:so|is|it|we|to|of|he|if|by|be|as)\b)|[A-Za-z\u00c0-\u024f]{3,}|[\u0400-\u04ff]{2,}"
    r"|[\u3040-\u30ff\u4e00-\u9fff]"
)


def is_prose(text: str) -> bool:
    r"""True when words of a language stand in `text`, outside `\text{}` and the names of functions."""
    return any(word.lower() not in _NOT_PROSE for word in _WORD.findall(_TEXT_COMMAND.sub(" ", text)))


_LONGEST_WHOLE = 200
_SIGNS = "\\\u221e\u2205"  # of LaTeX, infinity, the empty set
_EMPTY_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{?\s*\}?")


def _unmarked(text: str) -> Extraction | None:
    """The whole of a short text that is an answer and nothing else, otherwise the last expression of the text."""
    line = text.strip()
    short = 0 < len(line) <= _LONGEST_WHOLE and "\n\n" not in line
    says_something = any(character.isalnum() or character in _SIGNS for character in _EMPTY_BOX.sub("", line))
    if short and says_something and not is_prose(line):
        return Extraction(Rule.whole, (line,))
    places = expressions(text[-_LONGEST_TAIL:])
    if places:
        return Extraction(Rule.last_expression, (places[-1], line) if short else (places[-1],))
    if short and says_something and len(line.split()) <= 8:
        return Extraction(Rule.whole, (line,))
    return None


_BRACED = r"\{(?:[^{}]|\{[^{}]*\}){0,200}\}"
_NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:[.,]\d+)?|\.\d+)"
_SIGN = r"(?:(?<![\w)\]}])[-+\u2212]\s?)?"
_SIGNED = rf"{_SIGN}{_NUMBER}"
# Between numbers of a group every comma separates: were it one of a decimal or of thousands too, the ways to read a
# long list that is never closed would double with each number.
_ENTRY = rf"{_SIGN}(?:\d+(?:\.\d+)?|\.\d+)"
_EXPRESSION = re.compile(
    "|".join(
        (
            r"(?<!\\)\$\$(?P<display>[^$]{1,2000}?)\$\$",
            r"\\\[(?P<bracket>.{1,2000}?)\\\]",
            r"\\\((?P<paren>.{1,1000}?)\\\)",
            r"(?<!\\)\$(?P<inline>(?:\\\$|[^$\n]){1,1000}?)(?<!\\)\$",
            rf"(?P<latex>(?:[-\u2212]\s?)?\d*\s?\\(?:[dt]?frac\s*(?:{_BRACED}|\d)\s*(?:{_BRACED}|\d)|sqrt\s*(?:{_BRACED}|\d)|pi\b))",
            rf"(?P<group>[(\[]\s*{_ENTRY}(?:\s*[,;]\s*{_ENTRY})+\s*[)\]])",
            rf"(?<![A-Za-z_^\\.,\d])(?P<number>{_SIGNED}(?:\s?/\s?{_NUMBER})?(?:\s*(?:\\?%|percent\b))?)",
        )
    ),
    re.DOTALL,
)
_BETWEEN_FORMULAS = re.compile(r"\s*(?:,?\s*\b(?:and|or)\b|,|;)\s*")


def expressions(text: str) -> list[str]:
    """The pieces of mathematics in `text`, in order, without delimiters; formulas that only commas, `and` or `or`
    separate are one piece. A dollar sign may be one of currency: what stands between two is no formula if it is prose.
    """
    found: list[str] = []
    place, formula_end = 0, -1
    while match := _EXPRESSION.search(text, place):
        kind = str(match.lastgroup)
        content = match[kind].strip()
        if kind == "inline" and (is_prose(content) or not content):
            place = match.start() + 1
            continue
        place = match.end()
        if not any(character.isalnum() or character == "\\" for character in content):
            continue
        is_formula = kind in ("display", "bracket", "paren", "inline")
        if is_formula and formula_end >= 0 and _BETWEEN_FORMULAS.fullmatch(text, formula_end, match.start()):
            found[-1] += f", {content}"
        else:
            found.append(content)
        formula_end = match.end() if is_formula else -1
    return found
