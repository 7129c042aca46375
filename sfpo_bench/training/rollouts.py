"""Problems, samples, grades and costs of each training step."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from statistics import fmean, pstdev

import torch
from numpy.random import Generator
from torch import Tensor

from sfpo_bench.algorithms.protocols import Rewarded
from sfpo_bench.algorithms.selections.protocol import Candidates
from sfpo_bench.core.costs import Costs
from sfpo_bench.core.errors import RunFailed
from sfpo_bench.core.seeding import generator
from sfpo_bench.core.types import (
    Completion,
    FinishReason,
    Grade,
    GradeStatus,
    Problem,
    SampleRecord,
    Sampling,
    Trajectory,
)
from sfpo_bench.grading.failures import failed
from sfpo_bench.problems.protocol import Task, grade_all
from sfpo_bench.rollout.encoding import EncodedProblem
from sfpo_bench.rollout.protocol import NoiseStream, Request, RolloutEngine
from sfpo_bench.training.ranks import ALONE, Ranks
from sfpo_bench.training.rewards import FlippedRewards


@dataclass(frozen=True, slots=True)
class ProblemSchedule:
    """The problems of each step, in runs of `prompts` from one permutation per epoch, drawn from (seed, epoch).

    A step may span two epochs.
    """

    problems: Sequence[EncodedProblem]
    prompts: int
    seed: int

    def at(self, step: int) -> list[EncodedProblem]:
        """The problems of `step` (from 1), in order; a function of (seed, step) alone."""
        first = (step - 1) * self.prompts
        size = len(self.problems)
        places = range(first, first + self.prompts)
        # At most two epochs, unless `prompts` exceeds the number of problems.
        orders = {epoch: self._order("problems", epoch) for epoch in {place // size for place in places}}
        return [self.problems[orders[place // size][place % size]] for place in places]

    def further(self, step: int, number: int) -> list[EncodedProblem]:
        """The problems of round `number` (from 2) of a step, in a permutation drawn from (seed, step).

        Problems that are not among the step's first ones come first. If the rounds need more, they cycle through all
        problems.
        """
        order = self._order("further_problems", step)
        met = {item.problem.id for item in self.at(step)}
        fresh = [place for place in order if self.problems[place].problem.id not in met]
        first = (number - 2) * self.prompts
        places = [place - len(fresh) for place in range(first, first + self.prompts)]  # below 0: an index into `fresh`
        return [self.problems[fresh[place] if place < 0 else order[place % len(order)]] for place in places]

    def _order(self, name: str, number: int) -> list[int]:
        order: list[int] = generator(self.seed, name, number).permutation(len(self.problems)).tolist()
        return order


@dataclass(slots=True)
class Stopwatch:
    """Seconds of the named parts of a step; repeated parts add up."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        started, key = time.perf_counter(), f"{name}_seconds"
        yield
        self.seconds[key] = self.seconds.get(key, 0.0) + time.perf_counter() - started


@dataclass(frozen=True, slots=True)
class Sampler:
    """What the rollouts of all steps share.

    `follower` samples from the follower weights, where the collector uses them. `earlier`, where given, replaces
    `engine` and samples from the policy of some steps ago. `entropies` returns the policy's mean token entropy of
    completions, which must be the same on every rank. `flipped`, where given, flips some of the rewards.
    """

    engine: RolloutEngine
    task: Task
    schedule: ProblemSchedule
    sampling: Sampling
    group: int
    seed: int
    ranks: Ranks = ALONE
    follower: RolloutEngine | None = None
    earlier: RolloutEngine | None = None
    entropies: Callable[[Sequence[Completion]], list[float]] | None = None
    flipped: FlippedRewards | None = None

    def at(self, step: int, clock: Stopwatch, count: Callable[[Iterable[GradeStatus]], None]) -> StepSource:
        """The source of one training step; `count` receives the status of every grade."""
        return StepSource(self, step, clock, count)


class StepSource:
    """The `RolloutSource` of one training step: samples and grades on all ranks.

    `spent` counts prompts, responses and tokens of everything sampled, used or not.
    """

    def __init__(
        self, sampler: Sampler, step: int, clock: Stopwatch, count: Callable[[Iterable[GradeStatus]], None]
    ) -> None:
        self._sampler = sampler
        self._step = step
        self._clock = clock
        self._count = count
        self._encoded: dict[str, EncodedProblem] = {}
        self._unspent: Counter[str] = Counter()
        self._problems = self._known(sampler.schedule.at(step))
        self._samples: Counter[str] = Counter()
        self._graded = self._failed = self._flipped = 0
        self.spent = Costs()

    @property
    def problems(self) -> Sequence[Problem]:
        return self._problems

    @property
    def group(self) -> int:
        return self._sampler.group

    @property
    def max_new_tokens(self) -> int:
        return self._sampler.sampling.max_new_tokens

    def draws(self, name: str) -> Generator:
        return generator(self._sampler.seed, name, self._step)

    def further(self, number: int) -> Sequence[Problem]:
        return self._known(self._sampler.schedule.further(self._step, number))

    def respond(
        self,
        problems: Sequence[Problem],
        samples: int | None = None,
        after: Sequence[Sequence[int]] | None = None,
        max_new_tokens: int | None = None,
        *,
        follower: bool = False,
    ) -> list[Completion]:
        ours, ranks = self._sampler, self._sampler.ranks
        # Sample numbers continue when a problem repeats, so that no noise is used twice.
        requests = [
            self._request(problem, self.group if samples is None else samples, begun)
            for problem, begun in zip(problems, after or [()] * len(problems), strict=True)
        ]
        limit = ours.sampling.max_new_tokens
        sampling = replace(ours.sampling, max_new_tokens=min(limit, max_new_tokens or limit))
        noise = NoiseStream(ours.seed, "rollout", self._step)
        with self._clock("rollout"), self._engine(follower) as engine:
            with ranks.together():
                mine = engine.generate(ranks.share(requests), sampling, noise)
            completions = ranks.gather(mine)
        # A continued response was counted when it was started.
        continued = sum(request.begun > 0 for request in requests)
        self.spent = replace(
            self.spent,
            prompts=self.spent.prompts + self._count_first_sampled(problems),
            responses=self.spent.responses + len(completions) - continued,
            tokens=self.spent.tokens + sum(len(completion.response_ids) for completion in completions),
        )
        return completions

    @contextmanager
    def _engine(self, follower: bool) -> Iterator[RolloutEngine]:
        """The policy's engine, or one of other weights, which holds memory only inside the block."""
        other = self._sampler.follower if follower else self._sampler.earlier
        if follower and other is None:
            raise RunFailed("a collector samples from weights that follow the policy's; its `follower` names none")
        if other is None:
            yield self._sampler.engine
            return
        other.load({})  # its model already has the weights
        yield other
        other.free_memory()

    def solutions(self, problems: Sequence[Problem]) -> list[Completion]:
        encoded = [self._encoded[problem.id] for problem in problems]
        return [
            Completion(
                one.problem.id, -1, one.prompt_ids, one.solution_ids, (), one.problem.solution, FinishReason.stopped
            )
            for one in encoded
            if one.problem.solution is not None
        ]

    def entropies(self, completions: Sequence[Completion]) -> list[float]:
        assert self._sampler.entropies is not None
        with self._clock("entropy"):
            return self._sampler.entropies(completions)

    def grade(self, problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Grade]:
        ranks = self._sampler.ranks
        with self._clock("grading"):
            with ranks.together():
                mine = grade_all(self._sampler.task, ranks.share(problems), ranks.share(completions))
            grades = ranks.gather(mine)
            self._graded += len(grades)
            self._failed += sum(failed(grade.status) for grade in grades)
            self._count(grade.status for grade in grades)
            found = self._sampler.flipped.applied(self._step, completions, grades) if self._sampler.flipped else grades
            self._flipped += sum(one is not grade for one, grade in zip(found, grades, strict=True))
        return found

    def roll_out(self, problems: Sequence[Problem]) -> list[Trajectory]:
        completions = self.respond(problems)
        owners = [number for number in range(len(problems)) for _ in range(self.group)]
        grades = self.grade([problems[owner] for owner in owners], completions)
        return [
            Trajectory(problems[owner], completion, grade, owner)
            for owner, completion, grade in zip(owners, completions, grades, strict=True)
        ]

    def with_old_log_probs(self, trajectories: Sequence[Trajectory]) -> Sequence[Trajectory]:
        """The trajectories, with their sampling log-probs as old ones where earlier weights sampled them.

        The ratio is then to the policy that sampled the response.
        """
        if self._sampler.earlier is None:
            return trajectories
        return [
            replace(one, old_log_probs=one.completion.log_probs) if one.completion.is_sampled else one
            for one in trajectories
        ]

    def metrics(self) -> dict[str, float]:
        """Metrics over everything sampled."""
        flipped = {"flipped_rewards": float(self._flipped)} if self._sampler.flipped else {}
        return {"grading_failed_share": self._failed / max(1, self._graded), **flipped}

    def _count_first_sampled(self, problems: Sequence[Problem]) -> int:
        """The number of scheduled problems among these that have no samples yet."""
        given = Counter(problem.id for problem in problems)
        first = given & self._unspent
        self._unspent -= first
        return first.total()

    def _known(self, items: Sequence[EncodedProblem]) -> list[Problem]:
        self._encoded.update((item.problem.id, item) for item in items)
        self._unspent.update(item.problem.id for item in items)
        return [item.problem for item in items]

    def _request(self, problem: Problem, samples: int, begun: Sequence[int]) -> Request:
        """The request for a problem; a repeated problem continues its sample numbers, hence gets new noise."""
        first = self._samples[problem.id]
        self._samples[problem.id] += samples
        prompt_ids = self._encoded[problem.id].prompt_ids
        return Request(problem.id, (*prompt_ids, *begun), tuple(range(first, first + samples)), len(begun))


@dataclass(frozen=True, slots=True)
class GradedRollouts:
    """The responses of one training step, group by group.

    All groups have one size, except those of replayed responses, which come with their advantages.
    """

    trajectories: Sequence[Trajectory]

    @property
    def fresh(self) -> GradedRollouts:
        """The trajectories without advantages; raises `RunFailed` where there are none."""
        if not any(one.advantages is None for one in self.trajectories):
            raise RunFailed(
                f"the collector returned {len(self.trajectories)} trajectories, all with stored advantages; "
                "expected some of this step, without advantages: fix algorithm.collector"
            )
        return GradedRollouts([one for one in self.trajectories if one.advantages is None])

    def with_brought(self, made_BT: Tensor) -> Tensor:
        """Advantages of all trajectories: `made_BT`, [B, 1] or [B, T], of the fresh ones, and the stored ones."""
        brought = [one.advantages for one in self.trajectories]
        if not any(brought):
            return made_BT
        lengths_B1 = torch.tensor([[len(one.completion.response_ids)] for one in self.trajectories])
        by_token = made_BT.shape[1] > 1 or any(len(one) > 1 for one in brought if one is not None)
        width = int(lengths_B1.max()) if by_token else 1
        made = iter(made_BT.double())
        rows = [next(made) if one is None else torch.tensor(one, dtype=torch.float64) for one in brought]
        whole_BT = torch.stack([row.expand(width) if len(row) == 1 else _padded(row, width) for row in rows])
        return whole_BT * (torch.arange(width) < lengths_B1)

    def of_fresh(self, values_BT: Tensor) -> Tensor:
        """The rows of the fresh trajectories, cut to their longest response."""
        return values_BT[[one.advantages is None for one in self.trajectories], : int(self.fresh._lengths_PG().max())]

    def with_ones(self, weights: Tensor) -> Tensor:
        """Selection weights of all trajectories, [B] or [B, T]: `weights` for the fresh ones, 1 for the others."""
        fresh_B = [one.advantages is None for one in self.trajectories]
        by_token = weights.shape != self.fresh._lengths_PG().shape
        values = weights.cpu() if by_token else weights.reshape(-1, 1).cpu()
        width = max(len(one.completion.response_ids) for one in self.trajectories) if by_token else 1
        whole = torch.ones(len(self.trajectories), width, dtype=weights.dtype)
        whole[fresh_B, : values.shape[1]] = values
        return whole if by_token else whole[:, 0]

    def old_log_probs_BT(self) -> Tensor | None:
        """The stored log-probs of replayed and stale trajectories, NaN elsewhere; None without any."""
        brought = [one.old_log_probs for one in self.trajectories]
        if not any(brought):
            return None
        width = max(len(one.completion.response_ids) for one in self.trajectories)
        return torch.tensor([[*(row or ()), *[math.nan] * (width - len(row or ()))] for row in brought]).double()

    @property
    def group(self) -> int:
        """The number of responses per group."""
        return max(Counter(one.group for one in self.trajectories).values())

    @property
    def completions(self) -> list[Completion]:
        return [one.completion for one in self.trajectories]

    def rewarded(self, max_response_tokens: int) -> Rewarded:
        """The input of an advantage; raises `RunFailed` for a non-finite reward."""
        rewards = [one.grade.reward for one in self.trajectories]
        if not all(map(math.isfinite, rewards)):
            raise RunFailed(f"the grader returned rewards {set(rewards)}, expected finite numbers; fix the reward")
        # The loss casts them to the precision of the policy's log-probs.
        rewards_PG = torch.tensor(rewards, dtype=torch.float64).view(-1, self.group)
        kept_PG = self.kept_PG()
        return Rewarded(rewards_PG, self._lengths_PG(), self.trajectories, max_response_tokens, kept_PG=kept_PG)

    def kept_PG(self) -> Tensor | None:
        """False for responses that the collector left out; None where it kept all."""
        kept_PG = torch.tensor([not one.left_out for one in self.trajectories]).view(-1, self.group)
        return None if kept_PG.all() else kept_PG

    def without_left_out(self, weights: Tensor | None) -> Tensor | None:
        """The selection weights of responses or tokens, with 0 for responses that the collector left out."""
        kept_PG = self.kept_PG()
        if kept_PG is None:
            return weights
        if weights is None:
            return kept_PG.double()
        return weights * (kept_PG if weights.shape == kept_PG.shape else kept_PG.reshape(-1, 1))

    def candidates(self, advantages_BT: Tensor, draws: Generator) -> Candidates:
        """The input of a selection."""
        advantages_PG = torch.tensor(self.means(advantages_BT), dtype=torch.float64).view(-1, self.group)
        return Candidates(advantages_PG, self._lengths_PG(), draws, self.trajectories)

    def _lengths_PG(self) -> Tensor:
        return torch.tensor([len(one.completion.response_ids) for one in self.trajectories]).view(-1, self.group)

    def means(self, advantages_BT: Tensor) -> list[float]:
        """The mean advantage of each response over its tokens."""
        if advantages_BT.shape[1] == 1:
            return [float(advantage) for advantage in advantages_BT[:, 0]]
        lengths = [len(one.completion.response_ids) for one in self.trajectories]
        return [float(row[:length].mean()) for row, length in zip(advantages_BT, lengths, strict=True)]

    def metrics(self, advantages: Sequence[float]) -> dict[str, float]:
        """The step's metrics of rewards and lengths.

        All but `groups_without_signal_share` are over sampled responses only.
        """
        size = self.group  # computed at each access
        groups = [advantages[start : start + size] for start in range(0, len(advantages), size)]
        sampled = [one for one in self.trajectories if one.completion.is_sampled]
        rewards = [one.grade.reward for one in sampled]
        completions = [one.completion for one in sampled]
        count, prompts = len(sampled), self.completions[::size]
        return {
            "reward_mean": fmean(rewards),
            "reward_std": pstdev(rewards),
            "correct_share": sum(one.grade.status is GradeStatus.correct for one in sampled) / count,
            "groups_without_signal_share": sum(not any(group) for group in groups) / len(groups),
            "response_tokens_mean": fmean(len(c.response_ids) for c in completions),
            "prompt_tokens_mean": fmean(len(c.prompt_ids) for c in prompts),
            "response_tokens_max": float(max(len(c.response_ids) for c in completions)),
            "truncated_share": sum(c.finish_reason is FinishReason.truncated for c in completions) / count,
        }

    def samples(self, step: int, advantages: Sequence[float]) -> list[SampleRecord]:
        """The stored record of every response of the step."""
        return [
            SampleRecord(
                step=step,
                problem_id=one.problem.id,
                problem=one.problem.text,
                answer=one.problem.answer,
                sample=one.completion.sample,
                response=one.completion.text,
                response_tokens=len(one.completion.response_ids),
                finish_reason=one.completion.finish_reason,
                extracted=one.grade.extracted,
                status=one.grade.status,
                reward=one.grade.reward,
                advantage=advantage,
            )
            for one, advantage in zip(self.trajectories, advantages, strict=True)
        ]


def _padded(row: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(row[:width], (0, max(0, width - len(row))))
