"""The size of the next batch: as large as pays, and no larger unless very many wait."""

from __future__ import annotations

import pytest

from imagesieve_server.encoders.batch_sizes import BucketTimes

CPU = {1: 0.059, 2: 0.117, 4: 0.231, 8: 0.459, 16: 0.917}  # 3 % less a row in the largest
GPU = {1: 4.0, 2: 4.2, 4: 4.8, 8: 6.0, 16: 8.0}


@pytest.mark.parametrize(
    ("seconds", "pays"),
    [
        (CPU, 1),
        (GPU, 16),
        ({1: 1.00, 2: 1.90, 4: 3.60, 8: 7.00, 16: 13.8}, 4),  # up to 5 % more than the best
        ({1: 1.00, 2: 1.60, 4: 3.30, 8: 6.80, 16: 14.0}, 2),  # the largest may be the worse
        ({8: 1.0}, 8),
    ],
)
def test_a_batch_pays_while_rows_cost_less_in_it(seconds: dict[int, float], pays: int) -> None:
    assert BucketTimes(seconds).pays == pays


@pytest.mark.parametrize(
    ("rows", "bucket"),
    [(1, 1), (2, 1), (5, 1), (6, 2), (11, 2), (12, 4), (15, 4), (16, 16), (99, 16)],
)
def test_where_larger_gains_little_a_batch_is_a_third_of_what_waits_until_a_full_one_waits(
    rows: int, bucket: int
) -> None:
    assert BucketTimes(CPU).choose(rows=rows, each=rows, time_left=9.0) == bucket


@pytest.mark.parametrize(
    ("rows", "each", "bucket"), [(16, 8, 4), (31, 15, 8), (32, 16, 16), (47, 2, 8), (48, 3, 16)]
)
def test_a_batch_is_full_where_one_waits_for_every_session(
    rows: int, each: int, bucket: int
) -> None:
    """Beside others that serve, too, a full batch is a small crowd: its last row would wait for all
    of them. A third of what waits may be a full one nevertheless."""
    assert BucketTimes(CPU).choose(rows=rows, each=each, time_left=9.0) == bucket


@pytest.mark.parametrize(("rows", "bucket"), [(1, 1), (2, 2), (5, 8), (16, 16), (99, 16)])
def test_where_larger_gains_much_a_batch_takes_all_it_can(rows: int, bucket: int) -> None:
    assert BucketTimes(GPU).choose(rows=rows, each=rows, time_left=60.0) == bucket


@pytest.mark.parametrize(("rows", "bucket"), [(1, 1), (5, 4), (16, 16)])
def test_batches_are_filled_where_that_is_asked_for(rows: int, bucket: int) -> None:
    times = BucketTimes(CPU, always_fill=True)
    assert times.choose(rows=rows, each=rows, time_left=9.0) == bucket


def test_runs_under_load_do_not_change_which_batch_pays() -> None:
    """A size that is seldom run would look good beside those that run while decoders work."""
    times = BucketTimes(CPU)
    for _ in range(50):
        times.observe(1, 0.09)
    assert times.pays == 1
    assert times.choose(rows=4, each=4, time_left=9.0) == 1


@pytest.mark.parametrize(
    ("seconds", "rows", "time_left", "bucket"),
    [
        # A device whose runs take the same time whatever their size: the largest useful bucket.
        ({1: 1.0, 2: 1.0, 4: 1.0, 8: 1.0}, 5, 9.0, 8),
        ({1: 1.0, 2: 1.0, 4: 1.0, 8: 1.0}, 1, 9.0, 1),
        ({1: 1.0, 2: 1.0, 4: 1.0, 8: 1.0}, 99, 9.0, 8),
        # One whose time grows with the rows: padding five to eight costs more than four and one.
        ({1: 1.0, 2: 1.8, 4: 3.2, 8: 5.6}, 5, 9.0, 4),
        ({1: 1.0, 2: 1.8, 4: 3.2, 8: 5.6}, 8, 9.0, 8),
        # No more than the earliest deadline allows.
        ({1: 1.0, 2: 1.8, 4: 3.2, 8: 5.6}, 8, 5.0, 4),
        # And not to the last moment: a run that is a little slow would be late as a whole.
        ({1: 1.0, 2: 1.8, 4: 3.2, 8: 5.6}, 8, 6.9, 4),
        ({1: 1.0, 2: 1.8, 4: 3.2, 8: 5.6}, 8, 7.1, 8),
        ({1: 1.0, 2: 1.8, 4: 3.2, 8: 5.6}, 8, 1.5, 1),
        # Not even one row in time, by the estimate: try, and the smallest at that.
        ({1: 1.0, 2: 1.8, 4: 3.2, 8: 5.6}, 8, 0.5, 1),
        ({4: 1.0, 8: 1.5}, 1, 9.0, 4),
    ],
)
def test_the_next_bucket(
    seconds: dict[int, float], rows: int, time_left: float, bucket: int
) -> None:
    """Where the largest pays."""
    assert BucketTimes(seconds).choose(rows=rows, each=rows, time_left=time_left) == bucket


def test_a_run_that_stalled_does_not_make_batches_smaller_for_ever() -> None:
    """Nor a warm-up beside something else: a size that seems too slow would never be run again."""
    truly = {size: taken / 100 for size, taken in GPU.items()}
    for times in (BucketTimes(truly), BucketTimes(dict.fromkeys(truly, 50.0))):
        times.observe(16, 60.0)
        assert times.choose(rows=16, each=16, time_left=9.0) < 16
        for _ in range(60):
            bucket = times.choose(rows=16, each=16, time_left=9.0)
            times.observe(bucket, truly[bucket])
        assert times.choose(rows=16, each=16, time_left=9.0) == 16


def test_estimates_follow_what_is_observed() -> None:
    times = BucketTimes({1: 1.0, 8: 8.0})
    for _ in range(30):
        times.observe(8, 1.0)
    assert times.per_row == pytest.approx(1 / 8, rel=0.1)
