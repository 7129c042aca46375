"""A model on a server with OpenAI's API: no sample is lost, doubled or another server's, whatever the server does."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sfpo_bench.core.errors import BenchError, ComparisonChanged, ConfigError, EngineFailed, Interrupted
from sfpo_bench.core.stop import StopRequest
from sfpo_bench.core.types import FinishReason, Sampling
from sfpo_bench.evaluation.generation import asked_for, missing, noise_of
from sfpo_bench.evaluation.prompted_problems import prompted_benchmarks
from sfpo_bench.evaluation.served.client import OpenAiClient, Retries
from sfpo_bench.evaluation.served.contact import server_record
from sfpo_bench.evaluation.served.generation import ServedGeneration
from sfpo_bench.evaluation.served.settings import api_key, base_url, check_served
from sfpo_bench.problems.sets import DataSettings, suite
from sfpo_bench.results.evaluation import read_server, write_server
from sfpo_bench.results.sample_store import Sample, SampleStore
from sfpo_bench.settings.evaluation import EvaluateSettings
from sfpo_bench.settings.learner_checks import check_engine
from sfpo_bench.settings.models import EmbeddedModel, HuggingFaceModel
from sfpo_bench.settings.rollout import OpenAiRollout
from sfpo_bench.settings.training import LearnerSettings, Precision
from tests.conftest import command
from tests.evaluation.openai_server import Body, Server, serving, text_of
from tests.in_process import Done, sfpo_bench

MIXED = prompted_benchmarks(suite("mixed"), DataSettings())
PROMPTS = {one.prompt_sha256: one.prompt.content for benchmark in MIXED for one in benchmark.prompted}
SAMPLING = Sampling(1.0, 64, 0.9)
QUICK = Retries(5.0, 0.001, 0.01)
FAULTS = (None, "429", "drop", "500", "half", "503 0", "half without length")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Server()) as started:
        yield started


def rollout_of(server: Server, **changed: object) -> OpenAiRollout:
    settings = OpenAiRollout(base_url=server.url, model="m", retry_seconds=0.0)
    return replace(settings, **changed)  # type: ignore[arg-type]  # values of the fields that are named


def fill(server: Server, store: SampleStore, samples: int, retries: Retries = QUICK) -> list[Sample]:
    """Every sample asked for, generated where it is missing."""
    record = server_record(rollout_of(server, retry_seconds=5.0), list(PROMPTS.values()), SAMPLING)
    write_server(store, record)
    wanted = missing(MIXED, samples, store)
    client = OpenAiClient(server.url, server.key, 10.0, retries, 4)
    server.asked.clear()
    server.given.clear()
    try:
        ServedGeneration(client, record, PROMPTS, SAMPLING, 0, 4, 8).run(wanted, store, StopRequest(), lambda n: None)
    finally:
        client.close()
    return asked_for(MIXED, samples, store)


def test_a_server_that_fails_in_every_way_loses_and_doubles_nothing(server: Server, tmp_path: Path) -> None:
    whole = fill(server, SampleStore(tmp_path / "whole"), 2)
    assert len(whole) == 32 and all(one.text == text_of(one.seed >> 33) for one in whole)

    def fault(body: Body, before: int) -> str | None:
        number = body["seed"] // 7 % len(FAULTS)
        return FAULTS[number] if before < 1 + body["seed"] % 2 else None

    server.fault = fault
    again = fill(server, store := SampleStore(tmp_path / "failing"), 2)
    assert again == whole and len(store.samples()) == 32
    assert set(Counter(body["seed"] for body in server.given).values()) == {1}
    assert len(server.asked) > 64 and len({one.seed >> 33 for one in whole}) == 32


def test_what_was_finished_before_a_failure_is_kept_and_not_asked_again(server: Server, tmp_path: Path) -> None:
    whole = fill(server, SampleStore(tmp_path / "whole"), 2)
    store = SampleStore(tmp_path / "broken")
    server.fault = lambda body, before: "400" if body["max_tokens"] == 64 and len(server.given) >= 10 else None
    with pytest.raises(EngineFailed, match="answered 400"):
        fill(server, store, 2)
    kept = {one.seed >> 33 for one in store.samples()}
    assert kept == {body["seed"] for body in server.given} and len(kept) >= 10
    server.fault = lambda body, before: None
    assert fill(server, store, 2) == whole
    assert kept.isdisjoint(body["seed"] for body in server.asked) and len(server.asked) == 32 - len(kept)


def test_a_stop_keeps_what_was_answered_and_waits_for_no_pause(server: Server, tmp_path: Path) -> None:
    record = server_record(rollout_of(server), list(PROMPTS.values()), SAMPLING)
    store, stop = SampleStore(tmp_path / "store"), StopRequest(file=tmp_path / "stop")
    server.given.clear()

    def fault(body: Body, before: int) -> str | None:
        if len(server.given) < 5:
            return None
        (tmp_path / "stop").touch()
        return "429 30"

    server.fault = fault
    client = OpenAiClient(server.url, "", 10.0, Retries(60.0), 4)
    started = time.monotonic()
    with pytest.raises(Interrupted, match="every finished sample is kept"):
        made = ServedGeneration(client, record, PROMPTS, SAMPLING, 0, 4, 100)
        made.run(missing(MIXED, 1, store), store, stop, lambda n: None)
    client.close()
    assert time.monotonic() - started < 20
    assert {one.seed >> 33 for one in store.samples()} == {body["seed"] for body in server.given}


def test_requests_are_open_at_once(server: Server, tmp_path: Path) -> None:
    record = server_record(rollout_of(server), list(PROMPTS.values()), SAMPLING)
    server.gate = threading.Barrier(4)  # a request is answered only when three others are open with it
    client = OpenAiClient(server.url, "", 10.0, Retries(0.0), 4)
    store = SampleStore(tmp_path)
    made = ServedGeneration(client, record, PROMPTS, SAMPLING, 0, 4, 8)
    made.run(missing(MIXED, 1, store), store, StopRequest(), lambda n: None)
    client.close()
    assert len(store.samples()) == 16


def test_a_response_says_how_it_ended_and_what_it_cost_where_the_server_counts(server: Server, tmp_path: Path) -> None:
    for one in fill(server, SampleStore(tmp_path / "counted"), 2):
        seed = one.seed >> 33
        assert seed == noise_of(0, "mixed").key(one.problem_key, one.sample) >> 33
        assert one.tokens == 3 + seed % 4
        assert one.finish_reason is (FinishReason.truncated if seed % 5 == 0 else FinishReason.stopped)
    server.counts_tokens = False
    store = SampleStore(tmp_path / "uncounted")
    assert {one.tokens for one in fill(server, store, 1)} == {None} == {one.tokens for one in store.samples()}


def test_refused_parameters_are_left_out_and_recorded(server: Server, tmp_path: Path) -> None:
    server.refused = ("seed", "top_k", "repetition_penalty")
    assert {one.text for one in fill(server, SampleStore(tmp_path), 1)} == {text_of(0)}
    found = read_server(SampleStore(tmp_path))
    assert found is not None and found.refused == ("repetition_penalty", "seed", "top_k")
    assert "takes no repetition_penalty, seed, top_k" in found.text
    assert all(body["min_p"] == 0.0 and body["top_p"] == 0.9 and "seed" not in body for body in server.asked)


def test_the_pause_that_a_server_asks_for_is_kept_or_the_call_ends(server: Server) -> None:
    server.fault = lambda body, before: None if before else "429 60"
    started = time.monotonic()
    with pytest.raises(EngineFailed, match=r"429.*asks to wait 60 s; tried 1 times"):
        server_record(rollout_of(server, retry_seconds=5.0), list(PROMPTS.values()), SAMPLING)
    assert time.monotonic() - started < 5 and len(server.asked) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": ("a", "b")}, "rollout.model = m, but the server's models are: a, b"),
        ({"key": "sesame-9x"}, "401.*no key was sent.*rollout.api_key_env"),
        ({"fault": lambda body, before: "404"}, "404.*ends in the API's version"),
        ({"fault": lambda body, before: "other shape"}, "another shape.*expected one entry in choices"),
        ({"fault": lambda body, before: "500"}, "answered 500.*tried 1 times"),
        ({"fault": lambda body, before: "drop"}, "cannot be reached, or broke off"),
        ({"refused": ("temperature",)}, "400.*temperature"),
    ],
)
def test_a_server_that_cannot_be_used_is_said_to_be_before_the_work(
    server: Server, change: dict[str, object], message: str
) -> None:
    for name, value in change.items():
        setattr(server, name, value)
    with pytest.raises((ConfigError, EngineFailed), match=message):
        server_record(rollout_of(server), list(PROMPTS.values()), SAMPLING)
    assert len(server.asked) <= 1


def test_samples_of_two_models_are_not_kept_together(server: Server, tmp_path: Path) -> None:
    store = SampleStore(tmp_path)
    fill(server, store, 1)
    server.weights = "folder/other"
    with pytest.raises(ComparisonChanged, match="weights: folder/m -> folder/other"):
        fill(server, store, 2)
    server.weights = "folder/m"

    def restarted(body: Body, before: int) -> str | None:
        if body["max_tokens"] == 64 and len(server.given) == 4:
            server.weights = "folder/other"
        return "drop" if server.weights == "folder/other" and not before else None

    server.fault = restarted
    with pytest.raises(ComparisonChanged, match="came back with the weights folder/other"):
        fill(server, store, 2)
    server.fault, server.weights = (lambda body, before: None), "folder/m"
    record = read_server(store)
    assert record is not None
    server.answers_as = "m-2"
    client = OpenAiClient(server.url, "", 10.0, QUICK, 4)
    there = len(store.samples())
    with pytest.raises(EngineFailed, match="answered as the model m-2, before as m"):
        made = ServedGeneration(client, record, PROMPTS, SAMPLING, 0, 4, 8)
        made.run(missing(MIXED, 3, store), store, StopRequest(), lambda n: None)
    client.close()
    assert len(store.samples()) == there


@pytest.mark.parametrize("address", ["localhost:8000", "ftp://a/v1", "", "http://", "http://a:99999/v1", "http://["])
def test_an_address_that_is_none_is_said_to_be_none(address: str) -> None:
    with pytest.raises(ConfigError, match="expected the address of the API"):
        base_url(OpenAiRollout(base_url=address))


def test_a_key_is_named_by_its_variable_and_quoted_nowhere() -> None:
    for address in ("http://me:hunter22@host/v1", "http://host/v1?key=hunter22", "ftp://me:hunter22@host/v1"):
        with pytest.raises(ConfigError) as raised:
            base_url(OpenAiRollout(base_url=address))
        assert "hunter22" not in str(raised.value)
    with pytest.raises(ConfigError, match="is not the name of an environment variable") as raised:
        api_key(OpenAiRollout(api_key_env="sk-hunter22"), {})
    assert "hunter22" not in str(raised.value)
    for held in ({}, {"MY_KEY": "  "}, {"MY_KEY": "a b"}):
        with pytest.raises(ConfigError, match="MY_KEY"):
            api_key(OpenAiRollout(api_key_env="MY_KEY"), held)
    assert api_key(OpenAiRollout(api_key_env="MY_KEY"), {"MY_KEY": "hunter22\n"}) == "hunter22"


def evaluate(folder: Path, server: Server, *more: str) -> Done:
    return sfpo_bench(
        folder,
        *("evaluate", "suite=mixed", "rollout=openai", f"rollout.base_url={server.url}", "rollout.model=m"),
        *("rollout.retry_seconds=0", "sampling.max_new_tokens=64", "sampling.samples=2", "tracking=none", *more),
    )


def test_a_refused_key_is_not_quoted(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.key = "sesame-9x"
    monkeypatch.setenv("THEIR_KEY", "wrong-key-7q")
    with pytest.raises(ConfigError, match=r"401.*Bearer … is no key.*the key in THEIR_KEY was sent") as raised:
        server_record(rollout_of(server, api_key_env="THEIR_KEY"), list(PROMPTS.values()), SAMPLING)
    assert "wrong-key-7q" not in str(raised.value)


@pytest.mark.slow
def test_an_evaluation_tells_its_server_and_cost_and_no_key(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.key = "sesame-open-9x"
    monkeypatch.setenv("THEIR_KEY", "wrong-key-7q")
    refused = evaluate(tmp_path, server, "rollout.api_key_env=THEIR_KEY")
    assert refused.code == 2 and "401" in refused.err and "wrong-key-7q" not in refused.err + refused.out
    monkeypatch.setenv("THEIR_KEY", server.key)
    done = evaluate(tmp_path, server, "rollout.api_key_env=THEIR_KEY")
    assert done.code == 0, done.err
    assert f"openai, m of {server.url}, prompts as messages or text" in done.out
    tokens = sum(3 + body["seed"] % 4 for body in server.given if body["max_tokens"] == 64)
    assert f"the server counted {tokens} tokens in 32 responses" in done.out
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files and not [path for path in files if server.key.encode() in path.read_bytes()]
    assert server.key not in done.out + done.err
    asked = len(server.asked)
    assert evaluate(tmp_path, server).out == done.out and len(server.asked) == asked  # nothing is missing


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": EmbeddedModel()}, "rollout=openai beside model or run"),
        ({"run": "results/a"}, "rollout=openai beside model or run"),
        ({"precision": Precision.bfloat16}, "precision with rollout=openai"),
        ({}, "rollout.model is empty"),
    ],
)
def test_settings_that_a_server_does_not_read_are_refused(changed: dict[str, object], message: str) -> None:
    rollout = OpenAiRollout(base_url="http://a/v1")
    settings = EvaluateSettings(**{"model": HuggingFaceModel(), "rollout": rollout, **changed})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=message):
        check_served(settings, rollout)


def test_nothing_is_trained_on_a_server_whose_weights_cannot_be_set() -> None:
    with pytest.raises(ConfigError, match="rollout=openai in training"):
        check_engine(OpenAiRollout(), LearnerSettings())


@pytest.mark.slow
@pytest.mark.parametrize("slots", [1, 2])
def test_an_evaluation_killed_and_started_again_asks_only_for_what_is_missing(
    server: Server, tmp_path: Path, slots: int
) -> None:
    arguments = [
        *("evaluate", "suite=mixed", "rollout=openai", f"rollout.base_url={server.url}", "rollout.model=m"),
        *("rollout.concurrency=2", "rollout.batch_responses=4", "sampling.max_new_tokens=64", "tracking=none"),
        f"slots={slots}",
    ]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    subprocess.run(command(arguments), cwd=whole, check=True, capture_output=True)
    server.fault = lambda body, before: time.sleep(0.1)
    process = subprocess.Popen(command(arguments), cwd=killed, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while len(list(killed.glob("results/evaluations/*/*/parts/*.parquet"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    server.fault = lambda body, before: None
    done = subprocess.run(command(arguments), cwd=killed, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    [parts] = killed.glob("results/evaluations/*/*/parts")
    samples = SampleStore(parts.parent).samples()
    assert len(samples) == len({one.seed for one in samples}) == 64
    [other] = whole.glob("results/evaluations/*/*/parts")
    key = lambda one: one.seed  # noqa: E731
    assert sorted(samples, key=key) == sorted(SampleStore(other.parent).samples(), key=key)


@pytest.mark.slow
def test_with_a_tokenizer_the_server_gets_the_token_ids_of_every_engine(server: Server, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    from sfpo_bench.models.arithmetic_character import FOLDER
    from sfpo_bench.rollout.encoding import encode_prompts

    small = ("suite=embedded", "problems=5", f"rollout.tokenizer={FOLDER}")
    done = evaluate(tmp_path, server, *small)
    assert done.code == 0, done.err
    [benchmark] = prompted_benchmarks(suite("embedded"), DataSettings(), problems=5)
    ids = encode_prompts(AutoTokenizer.from_pretrained(FOLDER), [one.prompt for one in benchmark.prompted])
    assert {tuple(body["prompt"]) for body in server.given} == set(ids)
    refused = evaluate(tmp_path, server, *small, "rollout.max_prompt_tokens=1", "sampling.seed=1")
    assert refused.code == 2 and "rollout.max_prompt_tokens" in refused.err
    with pytest.raises(BenchError, match=r"rollout\.tokenizer = \./nowhere"):
        raise BenchError(evaluate(tmp_path, server, "rollout.tokenizer=./nowhere").err)
