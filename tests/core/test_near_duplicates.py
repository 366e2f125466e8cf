"""Distances, bands and probes: every hash that is near enough is found by the keys."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagesieve_server.core.near_duplicates import (
    BANDS,
    BITS,
    MATCH_DISTANCE,
    PictureHash,
    bands,
    distance,
)

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
values = st.integers(min_value=0, max_value=2**BITS - 1)


def text(value: int) -> str:
    return f"{value:064x}"


PLACES = [
    [place for place in range(BITS) if bands(text(1 << place))[band] & 0xFFFF]
    for band in range(BANDS)
]
"""The bits of each band."""


def flipped(value: int, places: list[int]) -> str:
    for place in places:
        value ^= 1 << place
    return text(value)


@patient
@given(values, st.lists(st.integers(0, BITS - 1), unique=True, max_size=40))
def test_the_distance_is_the_number_of_bits_that_differ(value: int, places: list[int]) -> None:
    assert distance(text(value), flipped(value, places)) == len(places)


@patient
@given(values, st.randoms(use_true_random=False), st.integers(0, BANDS - 1))
def test_hashes_that_differ_in_fewer_bits_than_there_are_bands_share_one(
    value: int, chance: random.Random, far: int
) -> None:
    other = flipped(value, chance.sample(range(BITS), far))
    assert set(bands(other)) & set(bands(text(value)))


@patient
@given(values, st.randoms(use_true_random=False))
def test_every_bit_counts_in_one_band(value: int, chance: random.Random) -> None:
    """A bit changed in each: no band is the same."""
    assert sorted(place for places in PLACES for place in places) == list(range(BITS))
    worst = [chance.choice(places) for places in PLACES]
    assert not set(bands(flipped(value, worst))) & set(bands(text(value)))


@patient
@given(values)
def test_keys_of_different_bands_never_meet(value: int) -> None:
    assert [key >> 16 for key in bands(text(value))] == list(range(BANDS))


@pytest.mark.parametrize(("far", "of_100"), [(24, 98), (MATCH_DISTANCE, 91)])
def test_most_of_those_farther_off_share_a_band_too(far: int, of_100: int) -> None:
    chance = random.Random(far)
    pairs = [(chance.getrandbits(BITS), chance.sample(range(BITS), far)) for _ in range(3000)]
    met = [bool(set(bands(text(v))) & set(bands(flipped(v, places)))) for v, places in pairs]
    assert round(100 * sum(met) / len(met)) == pytest.approx(of_100, abs=1)


def test_a_plain_picture_has_nothing_to_compare() -> None:
    assert PictureHash(bits="f" * 64, quality=49).usable == ""
    assert PictureHash(bits="f" * 64, quality=50).usable == "f" * 64
