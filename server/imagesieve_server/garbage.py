"""Less work for the collector of cycles: what start made stays, and is not looked at again.

Knows the collector of this process and nothing else. Most of what a server holds, code and models,
is there from the start to the end; each full collection walked all of it.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

YOUNG = 2000
"""Objects more than before start a collection of the young ones; Python's own default is 700."""


@contextmanager
def collected_less() -> Iterator[None]:
    """Hold while the process serves; begin when all that stays has been made."""
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
