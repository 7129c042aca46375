from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sfpo_bench.results.redaction import REDACTED, looks_secret, redact

ENVIRON = {
    "HF_TOKEN": "planted-environment-token",
    "WANDB_API_KEY": "0123456789abcdef0123456789abcdef01234567",
    "DB_PASSWORD": 'two words & "quotes"',
    "SHORT_TOKEN": "abc",
    "TOKENIZERS_PARALLELISM": "disabled",
    "MAX_TOKENS": "4096000",
    "PWD": "/somewhere/long",
    "EDITOR": "harmless-editor",
}

# Assembled here so that no scanner takes this file itself for a leak.
SECRETS = {
    "hugging face": "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz01234567",
    "openai": "sk-" + "proj-AbCdEf0123456789AbCdEf0123456789",
    "github": "ghp_" + "AbCdEf0123456789AbCdEf0123456789abcd",
    "github fine-grained": "github_pat_" + "11ABCDEFG0abcdefghijkl_mnopqrstuvwxyz",
    "aws": "AKIA" + "IOSFODNN7EXAMPLE",
    "slack": "xoxb-" + "123456789012-abcdefABCDEF",
    "jwt": "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0NTY3ODkwIn0" + ".dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
}


@pytest.mark.parametrize("kind", SECRETS)
def test_a_token_of_a_known_shape_is_removed_wherever_it_stands(kind: str) -> None:
    secret = SECRETS[kind]
    for text in (secret, f"see {secret}.", f'{{"x": "{secret}"}}', f"+x = f('{secret}')\n-y"):
        cleaned = redact(text, {})
        assert secret not in cleaned and REDACTED in cleaned


@pytest.mark.parametrize(
    "text",
    [
        "https://ann:S3CRETVALUE@host.example/path",
        "https://S3CRETVALUE@github.com/a/b.git",
        "postgresql+psycopg2://ann:S3CRET@VALUE@db:5432/mlflow",
        "http://ann:S3CRET/VALUE@host/path",
        "http://host/api?user=ann&token=S3CRETVALUE&page=2",
        "https://bucket.s3/x?X-Amz-Signature=S3CRETVALUE",
        "https://maps.example/x?key=S3CRETVALUE",
        "Authorization: Bearer S3CRETVALUE",
        "Authorization: Basic S3CRETVALUE==",
        "curl -H 'authorization: token S3CRETVALUE' https://host",
        "{'Authorization': 'Bearer S3CRETVALUE'}",
        "Set-Cookie: session=S3CRETVALUE; Path=/",
        "machine host login ann password S3CRETVALUE",
        "password = S3CRETVALUE",
        "password: S3CRET VALUE with blanks",
        "password: S3CRET,&VALUE",
        "password='S3CRETVALUE'",
        'password = b"S3CRETVALUE"',
        'password = "S3CRET\\"VALUE"',
        'password = """S3CRET\nVALUE"""',
        'password = "S3CRETVALUE',
        '"password": "S3CRETVALUE"',
        '"diff": "+\\"password\\": \\"S3CRETVALUE\\""',
        "+    api_key: S3CRETVALUE",
        "-  api_key: str = 'S3CRETVALUE'",
        "MY_SERVICE_KEY=S3CRETVALUE",
        "apiKey: 'S3CRETVALUE'",
        "aws_secret_access_key = S3CRETVALUE",
        "tracking.auth_token=S3CRETVALUE",
        "+model.hf_token=S3CRETVALUE",
        "sfpo-bench train --hf-token=S3CRETVALUE --steps 3",
        "sfpo-bench train --hf-token S3CRETVALUE --steps 3",
        "x-api-key: S3CRETVALUE",
        "client_secret => S3CRETVALUE",
        "-----BEGIN RSA PRIVATE KEY-----\nS3CRETVALUE\n-----END RSA PRIVATE KEY-----",
        "+-----BEGIN PRIVATE KEY-----\n+S3CRETVALUES3CRETVALUES3CRETVALUE\n+S3CRETVALUES3CRETVALUE",
    ],
)
def test_a_value_beside_a_secret_name_is_removed(text: str) -> None:
    cleaned = redact(text, {})
    assert "S3CRET" not in cleaned and "VALUE" not in cleaned, cleaned
    assert redact(cleaned, {}) == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "max_new_tokens = 12",
        "max_new_tokens: 12000",
        "eos_token: <|im_end|>",
        "eos_token: endoftext",
        'pad_token = "<|endoftext|>"',
        "tokens: 123456",
        "tokens per second = 1234.5",
        "token_budget: 100000",
        "eos_token_id: 151645",
        "keyboard: qwerty-layout",
        'key: "reward_mean"',
        "sort_keys = enabled",
        "for key, value in settings.items():",
        "token = tokenizer.decode(ids)",
        "password = os.environ['DB']",
        "api_key: ${oc.env:API_KEY}",
        "def login(token: str, password: str | None = None) -> None:",
        "    password: str | None",
        "https://github.com/owner/name/blob/main/file.py#L3",
        "http://localhost:4873/@scope/package",
        "git@github.com:owner/name.git",
        "mail ann@example.org",
        "sha256 3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b",
        "commit 39a945c0f6b1e1d9a3c55d8f1f0a4d2b7c6e5f40",
        "risk-averse-policies-0123456789 and task-specific-0123456789",
        "hf_overrides hf_transfer",
        "the bearer of bad news",
        "the log-prob of each response token: text and more",
        "per-token estimate of the divergence",
        "if token == x: pass",
        "disabled 4096000 /somewhere/long harmless-editor abc",
        "",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert redact(text, ENVIRON) == text


def test_a_secret_environment_value_is_removed_in_every_form_it_is_written() -> None:
    text = (
        f"value planted-environment-token, {ENVIRON['WANDB_API_KEY']}x, {json.dumps(ENVIRON['DB_PASSWORD'])}, "
        "url two%20words%20%26%20%22quotes%22"
    )
    cleaned = redact(text, ENVIRON)
    for trace in ("planted", "0123456789abcdef", "two words", "two%20words"):
        assert trace not in cleaned


def test_a_longer_secret_is_replaced_before_one_it_contains() -> None:
    assert redact("abcdef-ghijkl", {"A_TOKEN": "abcdef", "B_TOKEN": "abcdef-ghijkl"}) == REDACTED


def test_redacted_yaml_and_json_still_parse() -> None:
    content = {"password": "p: a [b", "url": "https://u:p@h/x", "n": [1, 2], "command": "run --token=abcdef x=1"}
    for text, load in ((yaml.safe_dump(content), yaml.safe_load), (json.dumps(content), json.loads)):
        parsed = load(redact(text, {}))
        assert parsed == {
            "password": REDACTED,
            "url": f"https://{REDACTED}@h/x",
            "n": [1, 2],
            "command": f"run --token={REDACTED} x=1",
        }


def test_source_code_survives_redaction() -> None:
    """The recorded diff stays readable: of this package's own source, fewer than one line in five hundred changes."""
    package = Path(__file__).parents[2] / "sfpo_bench"
    sources = [path for path in sorted(package.rglob("*.py")) if path.name != "redaction.py"]
    lines = [line for path in sources for line in path.read_text(encoding="utf-8").splitlines()]
    changed = [line for line in lines if redact(line, {}) != line]
    assert len(changed) * 500 < len(lines), changed


@pytest.mark.parametrize("name", ["hf_token", "TOKEN", "apiKey", "AWS_SECRET_ACCESS_KEY", "db.password", "auth-token"])
def test_names_of_credentials_look_secret(name: str) -> None:
    assert looks_secret(name)


@pytest.mark.parametrize("name", ["key", "tokens", "eos_token", "max_new_tokens", "token_id", "PWD", "monkey", ""])
def test_names_of_ordinary_settings_do_not_look_secret(name: str) -> None:
    assert not looks_secret(name)


PIECES = st.sampled_from(
    ["password", "token", "key", "=", ":", " ", '"', "'", "\n", "\\", "&", "?", "https://", "@", "/", "hf_", "eyJ", ".",
     "sk-", "1", "abcdefghijklmnopqrst", "REDACTED", "Authorization", "Bearer", "--", ",", "}",
     "-----BEGIN PRIVATE KEY-----"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=25).map("".join), st.text(min_size=6, max_size=9))
def test_redacting_twice_changes_nothing_more(text: str, value: str) -> None:
    environ = {"A_TOKEN": value}
    once = redact(text, environ)
    assert redact(once, environ) == once


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "+",
        "token=",
        "https://a:",
        "-----BEGIN PRIVATE KEY-----",
        '"\\',
        "eyJ.",
        "x: y ",
        "eyJ-",
        "sk-",
        "a-",
        "token=)",
        "x: y =",
        "password: x ",
        "password='\\",
        "https://a@",
        "login x ",
    ],
)
def test_a_long_hostile_text_takes_no_longer_than_its_length_deserves(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    started = time.process_time()
    redact(text, ENVIRON)
    assert time.process_time() - started < 3  # a few tenths of a second; quadratic patterns took twenty


def test_no_line_of_a_planted_diff_keeps_its_secret() -> None:
    lines = [f"+{name.replace(' ', '_')} = load('{secret}')" for name, secret in SECRETS.items()]
    cleaned = redact("\n".join(["diff --git a/x b/x", "@@ -1 +1 @@", *lines]), {})
    assert cleaned.startswith("diff --git a/x b/x\n@@ -1 +1 @@")
    assert not re.search("|".join(map(re.escape, SECRETS.values())), cleaned)
