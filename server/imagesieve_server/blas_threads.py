"""How many threads numpy's products use in a process that serves: one.

Knows the libraries behind numpy; refuses to know what is multiplied. A picture is scored on the
event loop, and its product with a policy's prompts is a fraction of a millisecond. From half a
million multiplications on OpenBLAS gives a part of it to another thread and waits until that has
had a core: on a machine whose cores encode, tens of milliseconds.
"""

from __future__ import annotations

from threadpoolctl import threadpool_limits


def one_thread_each() -> None:
    """From now on, in the whole process; the encoder's threads are no part of it."""
    threadpool_limits(limits=1, user_api="blas")
