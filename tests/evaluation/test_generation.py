"""Samples are generated once, whatever was stopped, added or changed meanwhile."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from sfpo_bench.core.errors import ConfigError, Interrupted
from sfpo_bench.core.stop import StopRequest
from sfpo_bench.evaluation.generation import Generation, asked_for, missing, parts
from sfpo_bench.evaluation.prompted_problems import Benchmark, prompted_benchmarks
from sfpo_bench.problems.sets import DataSettings, suite
from sfpo_bench.results.sample_store import Sample, SampleStore, SamplingIdentity
from tests.evaluation.dice import Dice, characters, generation

PAPER = prompted_benchmarks(suite("mixed"), DataSettings())


def fill(store: SampleStore, made: Generation, samples: int, benchmarks: tuple[Benchmark, ...] = PAPER) -> list[Sample]:
    """Every sample asked for, generated where it is missing."""
    wanted = missing(benchmarks, samples, store)
    if wanted:
        made.run(wanted, store, StopRequest(), lambda count: None)
    return asked_for(benchmarks, samples, store)


@pytest.mark.parametrize("limit", [0, 1, 9, 31, 63])
def test_an_evaluation_stopped_anywhere_ends_as_if_nothing_had_happened(tmp_path: Path, limit: int) -> None:
    whole = fill(SampleStore(tmp_path / "whole"), generation(Dice()), 4)
    store, killed, again = SampleStore(tmp_path / "killed"), Dice(limit=limit), Dice()
    with pytest.raises(KeyboardInterrupt):
        fill(store, generation(killed), 4)
    kept = len(store.samples())
    assert kept == limit // 8 * 8
    assert fill(store, generation(again), 4) == whole
    assert len(again.asked) == len(whole) - kept  # only what was missing


def test_more_samples_keep_those_that_are_there_and_parts_do_not_matter(tmp_path: Path) -> None:
    store, more = SampleStore(tmp_path / "a"), Dice()
    fill(store, generation(Dice()), 2)
    grown = fill(store, generation(more, batch_responses=5), 5)
    assert Counter(sample for _, sample in more.asked) == {2: 16, 3: 16, 4: 16}
    assert grown == fill(SampleStore(tmp_path / "b"), generation(Dice(), batch_responses=1000), 5)
    nothing = Dice()
    assert fill(store, generation(nothing), 3) == [one for one in grown if one.sample < 3] and not nothing.asked


def test_a_changed_prompt_reuses_nothing_and_the_old_samples_stay(tmp_path: Path) -> None:
    store, again, third = SampleStore(tmp_path), Dice(), Dice()
    first = fill(store, generation(Dice()), 2)
    other = prompted_benchmarks(suite("mixed"), DataSettings(), "hashes")
    assert len(fill(store, generation(again), 2, other)) == len(again.asked) == 32
    assert fill(store, generation(third), 2) == first and not third.asked


def test_every_way_of_sampling_has_a_place_of_its_own() -> None:
    base = SamplingIdentity("a", "transformers", "float32", 1.0, 1.0, 256, 0)
    others = [
        SamplingIdentity("b", "transformers", "float32", 1.0, 1.0, 256, 0),
        SamplingIdentity("a", "vllm", "float32", 1.0, 1.0, 256, 0),
        SamplingIdentity("a", "transformers", "bfloat16", 1.0, 1.0, 256, 0),
        SamplingIdentity("a", "transformers", "float32", 0.7, 1.0, 256, 0),
        SamplingIdentity("a", "transformers", "float32", 1.0, 0.9, 256, 0),
        SamplingIdentity("a", "transformers", "float32", 1.0, 1.0, 257, 0),
        SamplingIdentity("a", "transformers", "float32", 1.0, 1.0, 256, 1),
    ]
    assert len({one.digest for one in (base, *others)}) == 8


def test_every_sample_has_noise_of_its_own_and_another_seed_other_noise(tmp_path: Path) -> None:
    first = fill(SampleStore(tmp_path / "a"), generation(Dice()), 4)
    second = fill(SampleStore(tmp_path / "b"), generation(Dice(), seed=1), 4)
    assert len({one.seed for one in (*first, *second)}) == 2 * 64


def test_a_prompt_over_the_limit_is_refused_before_anything_is_generated(tmp_path: Path) -> None:
    engine = Dice()
    made = Generation(engine, characters, generation(engine).sampling, 0, 8, max_prompt_tokens=20)
    with pytest.raises(
        ConfigError, match=r"the prompt of mixed/\d+ has \d+ tokens, more than rollout.max_prompt_tokens"
    ):
        made.run(missing(PAPER, 1, SampleStore(tmp_path)), SampleStore(tmp_path), StopRequest(), lambda count: None)
    assert not engine.asked


def test_a_request_to_stop_keeps_the_finished_parts(tmp_path: Path) -> None:
    store, stop = SampleStore(tmp_path), StopRequest()
    with pytest.raises(Interrupted, match="every finished sample is kept"):
        generation(Dice()).run(missing(PAPER, 2, store), store, stop, lambda count: stop._handle(15, None))
    assert len(store.samples()) == 8


def test_parts_hold_one_benchmark_and_at_most_so_many_responses(tmp_path: Path) -> None:
    benchmarks = (*PAPER, *prompted_benchmarks(suite("arithmetic"), DataSettings(), problems=5))
    wanted = missing(benchmarks, 3, SampleStore(tmp_path))
    cut = list(parts(wanted, 10))
    assert [one for part in cut for one in part] == wanted
    assert all(sum(len(one.samples) for one in part) <= 10 for part in cut)
    assert all(len({one.benchmark for one in part}) == 1 for part in cut)
    assert [len(part) for part in parts(wanted, 1)] == [1] * 21


def test_any_text_a_model_writes_survives_the_store(tmp_path: Path) -> None:
    texts = ["\ud83d alone", "NUL \x00 and \u2028", "", "\\boxed{1}\r\n", "x" * 100_000]
    store = SampleStore(tmp_path)
    fill(store, generation(Dice(write=lambda problem, key: texts[key % len(texts)]), max_new_tokens=10), 4)
    found = {one.text for one in store.samples()}
    assert {"\\ud83d alone", *texts[1:]} == found
