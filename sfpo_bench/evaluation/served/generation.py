"""Generates the samples that a store lacks by requests to a server, several at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice

from sfpo_bench.core.errors import ComparisonChanged, EngineFailed, Interrupted
from sfpo_bench.core.stop import StopRequest
from sfpo_bench.core.types import Sampling
from sfpo_bench.evaluation.generation import STOPPED, Wanted, noise_of
from sfpo_bench.evaluation.served.api import ServedPrompt, body_of, path_of, read_response
from sfpo_bench.evaluation.served.client import Halted, OpenAiClient
from sfpo_bench.evaluation.served.contact import listed_model
from sfpo_bench.results.evaluation import ServerRecord
from sfpo_bench.results.sample_store import Sample, SampleStore

_LOOK_SECONDS = 0.2  # how soon a stop request is seen while no response arrives


@dataclass(frozen=True, slots=True)
class ServedGeneration:
    """Generates samples into a store with at most `concurrency` open requests.

    Each sample is one request, repeated by `client` until it has its response, so none is lost or there twice.
    Responses are written in the order of arrival, `batch_responses` at a time; the rest is written before any error.
    """

    client: OpenAiClient
    server: ServerRecord
    prompts: Mapping[str, ServedPrompt]
    sampling: Sampling
    seed: int
    concurrency: int
    batch_responses: int

    def run(self, wanted: Sequence[Wanted], store: SampleStore, stop: StopRequest, done: Callable[[int], None]) -> None:
        """Generate into the store; `done` is called with the number of samples of each part.

        Raises `EngineFailed` if a request fails for good, and `Interrupted` on a stop request; in both cases open
        requests are waited for and kept.
        """
        waiting = ((one, number) for one in wanted for number in one.samples)
        failures: list[BaseException] = []
        with ThreadPoolExecutor(self.concurrency, thread_name_prefix="openai") as pool:
            try:
                for samples in self._parts(pool, waiting, stop, failures):
                    store.append(samples)
                    done(len(samples))
            finally:
                self.client.halt()
        if failures:
            raise failures[0]
        if stop.reason:
            raise Interrupted(STOPPED.format(reason=stop.reason))

    def _parts(
        self,
        pool: ThreadPoolExecutor,
        waiting: Iterator[tuple[Wanted, int]],
        stop: StopRequest,
        failures: list[BaseException],
    ) -> Iterator[list[Sample]]:
        """Yield finished samples; the first failure or a stop request ends the sending of new requests."""
        open_requests: set[Future[Sample]] = set()
        finished: list[Sample] = []
        while True:
            if failures or stop.reason:
                self.client.halt()
            else:
                free = self.concurrency - len(open_requests)
                open_requests |= {pool.submit(self._sample, *one) for one in islice(waiting, free)}
            if not open_requests:
                break
            ended, open_requests = wait(open_requests, _LOOK_SECONDS, FIRST_COMPLETED)
            for one in ended:
                if (error := one.exception()) is None:
                    finished.append(one.result())
                elif not isinstance(error, Halted):
                    failures.append(error)
            if len(finished) >= self.batch_responses:
                yield finished
                finished = []
        if finished:
            yield finished

    def _sample(self, one: Wanted, number: int) -> Sample:
        key = noise_of(self.seed, one.benchmark).key(one.prompted.key, number)
        prompt = self.prompts[one.prompted.prompt_sha256]
        body = body_of(prompt, self.server.model, self.sampling, key, self.server.refused)
        answer = self.client.ask(path_of(prompt), body, key=key, reconnected=self._require_the_same)
        where = f"{self.server.base_url}, asked for {one.benchmark} {one.prompted.problem.id},"
        response = read_response(answer, where)
        if response.model != self.server.answers_as:
            raise EngineFailed(
                f"{where} answered as the model {response.model or '(none)'}, before as {self.server.answers_as}; "
                "samples of two models are not kept together. Evaluate the new one under another label=NAME"
            )
        return Sample(
            benchmark=one.benchmark,
            problem_id=one.prompted.problem.id,
            problem_key=one.prompted.key,
            prompt_sha256=one.prompted.prompt_sha256,
            sample=number,
            seed=key,
            text=response.text,
            tokens=response.tokens,
            finish_reason=response.finish_reason,
        )

    def _require_the_same(self) -> None:
        """Raise `ComparisonChanged` if the server at this address has other weights than at the start."""
        now = listed_model(self.client.ask_once, self.server.model)
        if (now.weights, now.owner) != (self.server.weights, self.server.owner):
            raise ComparisonChanged(
                f"{self.server.base_url} came back with the weights {now.weights or '(none named)'} of "
                f"{now.owner or '(no one)'}, before {self.server.weights} of {self.server.owner}; serve those again, "
                "or give these another label=NAME"
            )
