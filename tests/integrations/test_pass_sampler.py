"""How often each batch's indices come, while the number of passes changes."""

from __future__ import annotations

from collections.abc import Iterator

from torch.utils.data import Sampler

from sfpo_bench.integrations.trl import PassSampler


class Order(Sampler[int]):
    """Four batches of three indices; another order each time, as if shuffled."""

    def __init__(self) -> None:
        self.rounds = 0

    def __iter__(self) -> Iterator[int]:
        self.rounds += 1
        return iter(range(12)) if self.rounds == 1 else reversed(range(12))

    def __len__(self) -> int:
        return 12


def batches(sampler: PassSampler) -> list[tuple[int, ...]]:
    indices = list(sampler)
    assert len(indices) == len(sampler)
    return [tuple(indices[at : at + 3]) for at in range(0, len(indices), 3)]


def test_each_batch_comes_as_often_as_there_are_passes() -> None:
    assert batches(PassSampler(Order(), 3, 2, lambda: 2)) == [
        *[(0, 1, 2)] * 2,
        *[(3, 4, 5)] * 2,
        *[(6, 7, 8)] * 2,
        *[(9, 10, 11)] * 2,
    ]


def test_with_a_single_pass_it_is_the_sampler_itself() -> None:
    assert list(PassSampler(Order(), 3, 1, lambda: 1)) == list(range(12))


def test_when_passes_fall_to_one_new_batches_fill_the_epoch() -> None:
    answers = iter([2, 2, 2, 2])  # asked once a pass; the trigger has fired after the second batch
    found = batches(PassSampler(Order(), 3, 2, lambda: next(answers, 1)))
    assert found == [
        *[(0, 1, 2)] * 2,
        *[(3, 4, 5)] * 2,
        (6, 7, 8),
        (9, 10, 11),
        (11, 10, 9),
        (8, 7, 6),
    ]
