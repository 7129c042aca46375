"""Randomness is a function of names; the counter-based generator is the published Philox."""

import numpy as np
import pytest

from sfpo_bench.core.seeding import generator, philox4x32, stream_key, uniforms


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [  # the known answers published with the Random123 library for philox4x32_10
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_its_known_answers(
    counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    c = [np.array([word], dtype=np.uint32) for word in counter]
    k = [np.array([word], dtype=np.uint32) for word in key]
    words = philox4x32((c[0], c[1], c[2], c[3]), (k[0], k[1]))
    assert tuple(int(word[0]) for word in words) == expected


def test_a_number_depends_on_its_key_and_position_alone() -> None:
    together = uniforms([7, 8, 9], 12)
    assert np.array_equal(together[1], uniforms([8], 12)[0])
    assert np.array_equal(together[:, 5:], uniforms([7, 8, 9], 7, start=5))
    assert np.array_equal(together[::-1], uniforms([9, 8, 7], 12))


def test_a_uniform_is_the_first_53_bits_of_two_words() -> None:
    """Of the published answer for counter and key 0: its upper 27 and 26 bits, one behind the other."""
    bits = (0x6627E8D5 >> 5) * 2**26 + (0xE169C58D >> 6)
    assert uniforms([0], 1)[0, 0] == bits / 2**53


def test_uniforms_are_uniform_and_uncorrelated() -> None:
    draws = uniforms([stream_key(0, "x", n) for n in range(2000)], 50)
    assert draws.min() >= 0 and draws.max() < 1
    counts = np.histogram(draws, bins=20, range=(0, 1))[0]
    # chi-square with 19 degrees of freedom: 43.8 is its 99.9 % quantile
    assert ((counts - 5000) ** 2 / 5000).sum() < 43.8
    assert abs(np.corrcoef(draws[:, 0], draws[:, 1])[0, 1]) < 0.07
    assert abs(np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]) < 0.07


def test_streams_differ_by_seed_name_order_and_type() -> None:
    keys = {
        stream_key(0, "a", 1),
        stream_key(1, "a", 1),
        stream_key(0, 1, "a"),
        stream_key(0, "a", "1"),
        stream_key(0, "a1"),
    }
    assert len(keys) == 5


def test_equal_names_give_equal_generators_and_other_names_others() -> None:
    assert generator(3, "problems", 0).random() == generator(3, "problems", 0).random()
    assert generator(3, "problems", 0).random() != generator(3, "problems", 1).random()
