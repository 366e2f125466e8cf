"""How the encoder divides a CPU's cores."""

from __future__ import annotations

import pytest

from imagesieve_server.encoders.core_share import CoreShare, core_share


@pytest.mark.parametrize(
    ("sessions", "threads", "cores", "share"),
    [
        (0, 0, 1, CoreShare(sessions=1, threads=1)),
        (0, 0, 8, CoreShare(sessions=8, threads=1)),
        (0, 1, 8, CoreShare(sessions=8, threads=1)),
        (0, 3, 8, CoreShare(sessions=2, threads=3)),
        (0, 9, 8, CoreShare(sessions=1, threads=9)),
        (1, 0, 8, CoreShare(sessions=1, threads=0)),  # the library chooses, as for one batch
        (3, 0, 8, CoreShare(sessions=3, threads=2)),
        (9, 0, 8, CoreShare(sessions=9, threads=1)),
        (2, 5, 8, CoreShare(sessions=2, threads=5)),
    ],
)
def test_what_the_settings_leave_open_is_filled_by_the_cores(
    sessions: int, threads: int, cores: int, share: CoreShare
) -> None:
    assert core_share(sessions=sessions, threads=threads, cores=cores) == share
