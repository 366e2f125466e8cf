"""Collections are fewer while a server runs, and as they were afterwards."""

from __future__ import annotations

import gc
import weakref

from imagesieve_server.garbage import collected_less


class Thing:
    """Something that can refer to itself."""

    itself: Thing


def test_what_is_there_is_set_aside_and_given_back() -> None:
    before = gc.get_threshold()
    with collected_less():
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold()[0] > before[0]
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == before


def test_cycles_made_meanwhile_are_collected_all_the_same() -> None:
    with collected_less():
        thing = Thing()
        thing.itself = thing
        ref = weakref.ref(thing)
        del thing
        gc.collect()
        assert ref() is None
