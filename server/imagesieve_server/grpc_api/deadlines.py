"""How long a call may take, on the monotonic clock.

It knows deadlines; what is done within them is the services' matter.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable
from contextlib import closing
from typing import TypeVar

from imagesieve_server.alarms import Alarms
from imagesieve_server.core.errors import DeadlinePassed
from imagesieve_server.grpc_api.identity import Context

DEFAULT_S = 10.0
"""Seconds for a unary call without a deadline, and for each item of a stream."""

T = TypeVar("T")


def unary_deadline(context: Context) -> float:
    """The call's own deadline, ten seconds from now without one."""
    remaining = context.time_remaining()
    return time.monotonic() + (DEFAULT_S if remaining is None else remaining)


def item_deadline(context: Context) -> float:
    """Ten seconds from now for one item of a stream, or the stream's own deadline if sooner."""
    remaining = context.time_remaining()
    return time.monotonic() + (DEFAULT_S if remaining is None else min(DEFAULT_S, remaining))


async def within(deadline: float, work: Awaitable[T], *, alarms: Alarms | None = None) -> T:
    """Await the work, cancelled at the deadline; ``alarms`` of many such. Raises DeadlinePassed."""
    if alarms is None:
        with closing(Alarms()) as own:  # or its timer would stay until the deadline
            return await within(deadline, work, alarms=own)
    scope = alarms.limit(deadline)
    try:
        with scope:
            return await work
    except TimeoutError:
        if scope.expired:
            raise DeadlinePassed("the deadline passed during the work") from None
        raise  # somebody else's time-out
