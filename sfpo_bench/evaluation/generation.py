"""Generates the samples that a store lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sfpo_bench.core.errors import ConfigError, Interrupted
from sfpo_bench.core.stop import StopRequest
from sfpo_bench.core.types import Sampling
from sfpo_bench.evaluation.prompted_problems import Benchmark, PromptedProblem
from sfpo_bench.results.sample_store import Sample, SampleStore
from sfpo_bench.rollout.protocol import NoiseStream, Request, RolloutEngine

# Maps prompts to token ids, in the order of the problems.
Encode = Callable[[Sequence[PromptedProblem]], Sequence[tuple[int, ...]]]
SampleName = tuple[str, str, str, int]
STOPPED = "stopped ({reason}); every finished sample is kept. Run the same command again"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The missing sample numbers of one problem."""

    benchmark: str
    prompted: PromptedProblem
    samples: tuple[int, ...]


def name_of(sample: Sample) -> SampleName:
    """Return the key of a sample: benchmark, problem, prompt and number."""
    return sample.benchmark, sample.problem_key, sample.prompt_sha256, sample.sample


def missing(benchmarks: Sequence[Benchmark], samples: int, store: SampleStore) -> list[Wanted]:
    """Return the samples of `samples` per problem that the store lacks, in the order of the suite."""
    there = {name_of(sample) for sample in store.samples()}
    wanted = [
        Wanted(
            benchmark.name, prompted, tuple(n for n in range(samples) if (*_name(benchmark, prompted), n) not in there)
        )
        for benchmark in benchmarks
        for prompted in benchmark.prompted
    ]
    return [one for one in wanted if one.samples]


def asked_for(benchmarks: Sequence[Benchmark], samples: int, store: SampleStore) -> list[Sample]:
    """Return the first `samples` samples of every problem, in the order of the suite; all must be in the store."""
    there = {name_of(sample): sample for sample in store.samples()}
    return [
        there[(*_name(benchmark, prompted), number)]
        for benchmark in benchmarks
        for prompted in benchmark.prompted
        for number in range(samples)
    ]


def noise_of(seed: int, benchmark: str) -> NoiseStream:
    """Return the noise of a benchmark's samples."""
    return NoiseStream(seed, f"evaluate/{benchmark}", 0)


def _name(benchmark: Benchmark, prompted: PromptedProblem) -> tuple[str, str, str]:
    return benchmark.name, prompted.key, prompted.prompt_sha256


@dataclass(frozen=True, slots=True)
class Generation:
    """Generates samples into a store in batches of at most `batch_responses` responses.

    The noise of a sample is a function of (seed, benchmark, problem text, sample number) alone. It therefore depends
    neither on earlier samples nor on the other samples of its batch.
    """

    engine: RolloutEngine
    encode: Encode
    sampling: Sampling
    seed: int
    batch_responses: int
    max_prompt_tokens: int

    def run(self, wanted: Sequence[Wanted], store: SampleStore, stop: StopRequest, done: Callable[[int], None]) -> None:
        """Generate into the store; `done` is called with the number of samples of each batch.

        Raises `ConfigError` for a prompt over the limit before generation starts, and `Interrupted` after the current
        batch if a stop was requested.
        """
        ids = encoded(wanted, self.encode, self.max_prompt_tokens)
        for part in parts(wanted, self.batch_responses):
            if stop.reason:
                raise Interrupted(STOPPED.format(reason=stop.reason))
            samples = self._generate(part, ids)
            store.append(samples)
            done(len(samples))

    def _generate(self, part: Sequence[Wanted], ids: dict[str, tuple[int, ...]]) -> list[Sample]:
        """Generate the samples of one batch, which belongs to one benchmark."""
        noise = noise_of(self.seed, part[0].benchmark)
        requests = [Request(one.prompted.key, ids[one.prompted.prompt_sha256], one.samples) for one in part]
        completions = self.engine.generate(requests, self.sampling, noise)
        owners = [(one, number) for one in part for number in one.samples]
        return [
            Sample(
                benchmark=one.benchmark,
                problem_id=one.prompted.problem.id,
                problem_key=one.prompted.key,
                prompt_sha256=one.prompted.prompt_sha256,
                sample=number,
                seed=noise.key(one.prompted.key, number),
                text=completion.text,
                tokens=len(completion.response_ids),
                finish_reason=completion.finish_reason,
            )
            for (one, number), completion in zip(owners, completions, strict=True)
        ]


def encoded(wanted: Sequence[Wanted], encode: Encode, limit: int) -> dict[str, tuple[int, ...]]:
    """Return the token ids of each prompt by prompt hash; raises `ConfigError` for one over `limit` tokens."""
    prompted_problems = list({one.prompted.prompt_sha256: one.prompted for one in wanted}.values())
    found = dict(zip((one.prompt_sha256 for one in prompted_problems), encode(prompted_problems), strict=True))
    longest = max(prompted_problems, key=lambda prompted: len(found[prompted.prompt_sha256]))
    length = len(found[longest.prompt_sha256])
    if length > limit:
        raise ConfigError(
            f"the prompt of {longest.problem.id} has {length} tokens, more than rollout.max_prompt_tokens = "
            f"{limit}; a problem that is left out would change the score: raise the limit"
        )
    return found


def parts(wanted: Sequence[Wanted], responses: int) -> Iterator[list[Wanted]]:
    """Yield batches of consecutive problems of one benchmark with at most `responses` samples each.

    A problem with more samples than that is a batch by itself."""
    part: list[Wanted] = []
    for one in wanted:
        size = sum(len(other.samples) for other in part)
        if part and (size + len(one.samples) > responses or part[0].benchmark != one.benchmark):
            yield part
            part = []
        part.append(one)
    if part:
        yield part
