"""Redaction of secrets in text that leaves the machine: parameters, tags, artifacts, the recorded git diff.

A secret is recognized by the value of a secret-looking environment variable, by the format of a known token, or by a
secret-looking name with a value beside it. A false positive costs a word of a diff and a false negative a credential,
so doubtful names count as secret. Names that this package uses (`max_new_tokens`, `eos_token`, `key`) are exempt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote

REDACTED = "REDACTED"

_SHORTEST_SECRET = 6
_SHORTEST_ASSIGNED = 4
_SHORTEST_PROSE = 12
# A replacement can create text that looks like a secret; repeat until nothing changes.
_ROUNDS = 8

_ALWAYS_SECRET = re.compile(
    r"password|passwd|passphrase|pwd|secret|secrets|credential|credentials|apikey|accesskey|privatekey"
)
_KEY_OF = re.compile(
    r"api|access|account|auth|client|deploy|encryption|license|master|private|secret|service|shared|signing"
    r"|ssh|storage|subscription|webhook"
)
# `eos_token`, `pad_token` and the like are vocabulary, not credentials.
_TOKEN_OF_TEXT = re.compile(
    r"additional|begin|bos|cls|content|end|eos|extra|first|image|last|mask|max|new|next|pad|per|prompt"
    r"|response|sep|special|start|stop|think|unk|vocab"
)
# `password_length`, `token_id`, `key_path` describe a secret without being one.
_ABOUT = re.compile(
    r"budget|count|dir|enabled|field|file|format|id|ids|index|len|length|level|limit|max|min|mode|name|names"
    r"|number|path|policy|position|required|share|size|type|types|url"
)
_SPARED_VALUES = frozenset({"true", "false", "none", "null", "str", "bytes", "string"})

# Every repetition below is bounded, possessive or guarded on its left, so hostile text takes linear time.
_PEM = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----"
    r"(?:(?s:(?:(?!-----BEGIN ).){0,20000}?)-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----"
    r"|(?:(?:\s|\\n|[+\-]){0,8}[A-Za-z0-9+/=]{16,200})+)"
)
_URL_USER = re.compile(
    r"((?<![A-Za-z0-9+.\-])[A-Za-z0-9+.\-]++://)"
    r"(?:[^\s/?#\"'<>]{1,500}|[^\s/:@\"'<>]{1,200}:(?!\d{1,5}/)[^\s@\"'<>]{1,300})@"
)
_QUERY = re.compile(r"([?&;])([\w.\-]++)(=)([^&;\s#\"'<>]+)")
_HEADER = re.compile(
    r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie)(\\?[\"']?[ \t]*[:=][ \t]*\\?[\"']?)([^\"'\r\n\\]+)"
)
_BEARER = re.compile(r"(?i)\b(bearer[ \t]+)[A-Za-z0-9._~+/\-]{16,}+=*")
_NETRC = re.compile(r"(?i)\b(login[ \t]+\S+[ \t]+password[ \t]+)\S+")
_SHAPES = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{16,}"
    r"|gh[oprsu]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w\-]{16,}"
    r"|A[KS]IA[0-9A-Z]{16}"
    r"|xox[a-z]-[A-Za-z0-9\-]{10,}"
    r"|AIza[\w\-]{30,}|ya29\.[\w\-]{16,}"
    r"|pypi-[\w\-]{16,}|npm_[A-Za-z0-9]{30,}|nvapi-[\w\-]{16,}|dapi[0-9a-f]{32})"
    r"|(?<![\w\-])sk-(?=[\w\-]{0,60}\d)[\w\-]{16,}"
    r"|(?<![\w\-])eyJ[\w\-]{8,}+\.[\w\-]{8,}+(?:\.[\w\-]*+){0,3}"
)
_NAME = r"(?P<name>[A-Za-z_][\w.\-]{0,150}+)"
# `token: str | None = "abc"` has a type between the name and the value.
_TYPE = r"[ \t]*:[ \t]*[\w.]++(?:\[[\w., |]*+\])?(?:[ \t]*\|[ \t]*\w++)*+(?=[ \t]*=[^=])"
_HEAD = re.compile(
    rf"(?<![\w.])(?:{_NAME}\\?[\"']?(?:{_TYPE})?[ \t]*+(?P<sign>=>|:=|==|=|:)[ \t]*+"
    rf"|(?:(?<=--)|(?<=[\s\"'\[]-)|(?<=^-)){_NAME.replace('name', 'option')}[ \t]++(?!-))"
)
_QUOTE = re.compile(r"[bfruBFRU]{0,2}(\"\"\"|\'\'\'|\\\"|\\'|\"|')")
_BARE = re.compile(r"[^\s\"']+")
_LINE_BEFORE = re.compile(r"(?:^|\n)[+\- ]*$")
_PHRASE = re.compile(r"[^\s\"'|>&*{\[=#][^=\n#\"']*+$")
# Unquoted code and references to a secret are not secrets.
_CODE = re.compile(
    r"[A-Za-z_][\w.]*[(\[]|\$\{[^}]*\}?$|\{\{|\$[A-Z_][A-Z0-9_]*$|<[^<>\s]*>?$|<\||(?:str|bytes|None)\s*\|"
)
_REFERENCE = re.compile(r"\$\{[^}]*\}$|<[^<>\s]*>$")


def redact(text: str, environ: Mapping[str, str]) -> str:
    """Return `text` with every secret replaced by `REDACTED`; idempotent.

    `environ` is the environment whose secret-looking values are searched for, usually `os.environ`.
    """
    values = sorted(_secret_values(environ), key=lambda value: (-len(value), value))
    for _ in range(_ROUNDS):
        cleaned = _once(text, values)
        if cleaned == text:
            break
        text = cleaned
    return text


def looks_secret(name: str) -> bool:
    """Return True if a setting of this name is likely to hold a credential, such as `hf_token` or `AWS_SECRET_KEY`."""
    words = _words(name)
    if not words or name in {"PWD", "OLDPWD"} or _ABOUT.fullmatch(words[-1]):
        return False
    if any(_ALWAYS_SECRET.fullmatch(word) for word in words):
        return True
    before = words[-2] if len(words) > 1 else ""
    if words[-1] == "token":
        return not _TOKEN_OF_TEXT.fullmatch(before)
    if words[-1] in {"key", "keys"}:
        return bool(_KEY_OF.fullmatch(before)) or (name.isupper() and bool(before))
    return False


def _once(text: str, values: list[str]) -> str:
    for value in values:
        text = text.replace(value, REDACTED)
    text = _PEM.sub(REDACTED, text)
    text = _URL_USER.sub(rf"\g<1>{REDACTED}@", text)
    text = _QUERY.sub(_clean_query, text)
    text = _HEADER.sub(rf"\g<1>\g<2>{REDACTED}", text)
    text = _BEARER.sub(rf"\g<1>{REDACTED}", text)
    text = _NETRC.sub(rf"\g<1>{REDACTED}", text)
    text = _SHAPES.sub(REDACTED, text)
    return _without_assigned(text)


def _secret_values(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield secret environment values, and their forms inside JSON and inside a URL."""
    for name, value in environ.items():
        plain = value.strip()
        if not _environment_name_is_secret(name) or len(plain) < _SHORTEST_SECRET:
            continue
        for form in {plain, json.dumps(plain)[1:-1], quote(plain, safe="")}:
            if form not in REDACTED:
                yield form


def _environment_name_is_secret(name: str) -> bool:
    upper = name.upper()
    strong = ("PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "CREDENTIAL", "APIKEY")
    return any(word in upper for word in strong) or bool(re.search(r"(TOKEN|KEYS?)(?![A-Z])", upper))


def _clean_query(match: re.Match[str]) -> str:
    sign, name, equals, _ = match.groups()
    words = _words(name)
    secret = looks_secret(name) or (bool(words) and words[-1] in {"key", "sig", "signature", "auth", "code"})
    return f"{sign}{name}{equals}{REDACTED}" if secret else match.group(0)


def _without_assigned(text: str) -> str:
    """Redact values beside a secret-looking name: `name = value`, `name: value`, `--name value`.

    The value of a harmless name is searched too, since a quoted string may contain an assignment.
    """
    pieces: list[str] = []
    done = 0
    for head in _HEAD.finditer(text):
        if head.start() < done or not looks_secret(head["name"] or head["option"]):
            continue
        start, end = _value_span(text, head)
        if start < end:
            pieces += [text[done:start], REDACTED]
            done = end
    return "".join([*pieces, text[done:]])


def _value_span(text: str, head: re.Match[str]) -> tuple[int, int]:
    """Return start and end of the secret value after `head` in `text`; an empty span if there is none."""
    opening = _QUOTE.match(text, head.end())
    if opening:
        start = opening.end()
        end = _closing(text, start, opening.group(1))
        value = text[start:end]
        return (start, start) if _plain_word(value) or _REFERENCE.match(value) else (start, end)
    start = head.end()
    value = _bare_value(text, head)
    return (start, start) if _plain_word(value) or _CODE.match(value) else (start, start + len(value))


def _closing(text: str, start: int, quote: str) -> int:
    """Return the end of the quoted text that begins at `start`: its closing quote, or without one the end of line."""
    if len(quote) == 3:
        found = text.find(quote, start)
        return len(text) if found < 0 else found
    position = start
    while position < len(text) and text[position] != "\n" and not text.startswith(quote, position):
        position += 2 if text[position] == "\\" and text[position + 1 : position + 2] != "\n" else 1
    return min(position, len(text))


def _bare_value(text: str, head: re.Match[str]) -> str:
    """Return an unquoted value: one word, or after `name:` at the start of a line the rest of the line."""
    found = _BARE.match(text, head.end())
    word = found.group(0) if found else ""
    if head["sign"] == ":":
        if head["name"].lower() == "token" and len(word) < _SHORTEST_PROSE and not re.search(r"\d", word):
            return ""  # "of each token: text" is prose
        newline = text.find("\n", head.end())
        rest = text[head.end() : newline if newline >= 0 else len(text)].rstrip()
        if " " in rest and _LINE_BEFORE.search(text, max(0, head.start() - 40), head.start()) and _PHRASE.match(rest):
            return rest
    return word.rstrip(",;)]}")


def _plain_word(value: str) -> bool:
    """Return True if the value is too short for a secret, a literal such as `true`, or already redacted."""
    return len(value) < _SHORTEST_ASSIGNED or value.lower() in _SPARED_VALUES or value.startswith(REDACTED)


def _words(name: str) -> list[str]:
    """Split a name into lower-case words: `maxNewTokens`, `max_new_tokens`, `max-new-tokens` give max, new, tokens."""
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    return [word.lower() for word in re.split(r"[^A-Za-z0-9]+", spaced) if word]
