"""BranchGRPO's rollouts for text: responses that branch at the ends of segments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sfpo_bench.algorithms.collectors.protocol import Collected, Collector, RolloutSource
from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.options import option
from sfpo_bench.core.types import Completion, FinishReason, Trajectory


@dataclass(frozen=True, slots=True)
class Branch:
    """A partial or complete response to the problem at index `problem`.

    `path` is its branch number at each split, `splits` are the token indices at which it branched.
    """

    problem: int
    path: tuple[int, ...]
    splits: tuple[int, ...]
    completion: Completion


@dataclass
class Branches(Facts, Collector):
    """A tree of `rollout.group` responses to each problem (BranchGRPO, arXiv:2509.06040).

    After each of `splits` segments, an unfinished response continues as `branches` responses. Early ends leave a group
    smaller; it is filled with whole responses from the prompt, so that groups have equal size. Shared tokens are
    sampled once and have a loss once. Without splits this is GRPO's batch. Unverified: the form for text, which is
    ours; the paper's trees are of diffusion steps.
    """

    kind: str = option("branches", "name of the collector")
    splits: int = option(2, "number of segments after which a response branches", low=0)
    branches: int = option(2, "number of branches at a split", low=2)
    segment_tokens: int = option(0, "tokens per segment, except the last; 0: equal parts of the token limit", low=0)

    paper = "2509.06040"
    trust = "?"
    unverified = "the form for text is ours: it branches at ends of segments, and whole responses fill the group"
    changes = "responses of a group share their first segments, as a tree"

    @property
    def whole_responses(self) -> bool:
        return self.splits == 0

    def check(self, key: str, group: int) -> None:
        leaves = self.branches**self.splits
        if group % leaves:
            raise ConfigError(
                f"rollout.group = {group} with {key}.splits = {self.splits} and {key}.branches = {self.branches}: each "
                f"first segment has {leaves} responses; expected a multiple of {leaves}, or fewer splits"
            )

    def collect(self, source: RolloutSource) -> Collected:
        grown = self._sampled_trees(source)
        sizes = Counter(one.problem for one in grown)
        lacking = [place for place in range(len(source.problems)) for _ in range(source.group - sizes[place])]
        filled = source.respond([source.problems[place] for place in lacking], samples=1) if lacking else []
        # These numbers sort after those of all first segments of the problem.
        grown += [
            Branch(place, (source.group + number,), (), one)
            for number, (place, one) in enumerate(zip(lacking, filled, strict=True))
        ]
        grown.sort(key=lambda one: (one.problem, one.path))
        found = trajectories_of(grown, source)
        whole = sum(len(one.completion.response_ids) for one in grown)
        return Collected(
            found,
            {
                "shared_tokens_share": sum(one.loss_from for one in found) / whole,
                "filled_responses_share": len(filled) / len(found),
            },
        )

    def _sampled_trees(self, source: RolloutSource) -> list[Branch]:
        """The leaves of the sampled trees, before groups are filled."""
        limit, roots = source.max_new_tokens, source.group // self.branches**self.splits
        segment = self.segment_tokens or max(1, limit // (self.splits + 1))
        begun = source.respond(source.problems, samples=roots, max_new_tokens=segment if self.splits else None)
        live = [Branch(place // roots, (place % roots,), (), one) for place, one in enumerate(begun)]
        ended: list[Branch] = []
        for split in range(1, self.splits + 1):
            ended += [one for one in live if has_ended(one.completion, limit)]
            live = [one for one in live if not has_ended(one.completion, limit)]
            if not live:
                break
            # All live responses have the same length: as many whole segments as splits so far.
            room = limit - split * segment if split == self.splits else min(segment, limit - split * segment)
            found = source.respond(
                [source.problems[one.problem] for one in live],
                samples=self.branches,
                after=[one.completion.response_ids for one in live],
                max_new_tokens=room,
            )
            live = [
                branched(live[place // self.branches], place % self.branches, one) for place, one in enumerate(found)
            ]
        return ended + live


def has_ended(completion: Completion, limit: int) -> bool:
    """True for a response that cannot be continued."""
    return completion.finish_reason is FinishReason.stopped or len(completion.response_ids) >= limit


def branched(stem: Branch, number: int, rest: Completion) -> Branch:
    """Branch number `number` of `stem`, continued by `rest`."""
    begun = stem.completion
    whole = replace(
        rest,
        prompt_ids=begun.prompt_ids,
        response_ids=begun.response_ids + rest.response_ids,
        log_probs=begun.log_probs + rest.log_probs,
    )
    return Branch(stem.problem, (*stem.path, number), (*stem.splits, len(begun.response_ids)), whole)


def trajectories_of(leaves: Sequence[Branch], source: RolloutSource) -> list[Trajectory]:
    """The graded trajectories of the leaves, by problem and path.

    Tokens that a leaf shares with the preceding one have their loss there.
    """
    problems = [source.problems[one.problem] for one in leaves]
    grades = source.grade(problems, [one.completion for one in leaves])
    found: list[Trajectory] = []
    before: Branch | None = None
    for place, (one, problem, grade) in enumerate(zip(leaves, problems, grades, strict=True)):
        shared = 0 if before is None or before.problem != one.problem else common(before.path, one.path)
        loss_from = one.splits[shared - 1] if shared else 0
        found.append(Trajectory(problem, one.completion, grade, one.problem, place - 1 if shared else None, loss_from))
        before = one
    return found


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """The length of the common prefix."""
    differing = [place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b]
    return differing[0] if differing else min(len(one), len(other))
