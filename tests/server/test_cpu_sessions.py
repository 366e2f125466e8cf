"""Which encoders serve on a CPU: a batch for each core, over one session."""

from __future__ import annotations

import dataclasses
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from helpers.tiny_bundle import SIZE, write_tiny_bundle
from imagesieve_server.encoders import onnx, opening
from imagesieve_server.encoders.bundle import Bundle
from imagesieve_server.encoders.onnx import OnnxImageEncoder
from imagesieve_server.encoders.runtime import (
    CPU,
    Opened,
    Provider,
    RuntimeOptions,
    open_session,
)

ONE_THREAD = RuntimeOptions(provider=Provider.CPU, threads=1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


def on_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, bundle: Bundle, *, threads: int = 0, **options: int
) -> list[OnnxImageEncoder]:
    """The encoders that serve on a CPU of so many cores."""
    monkeypatch.setattr(opening, "usable_cores", lambda: cores)
    runtime = dataclasses.replace(ONE_THREAD, threads=threads)
    found = opening.open_encoders(bundle, opening.ServingOptions(runtime=runtime, **options))
    assert (found.one_device, found.note) == (False, "")
    encoders = [e for e in found.encoders if isinstance(e, OnnxImageEncoder)]
    assert len(encoders) == len(found.encoders)
    return encoders


def threads_of(encoder: OnnxImageEncoder) -> int:
    found: int = encoder.opened.session.get_session_options().intra_op_num_threads
    return found


def test_on_a_cpu_a_batch_for_each_core_and_the_weights_once(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoders = on_cores(monkeypatch, 3, bundle)
    assert [(e.spec.provider, e.buckets) for e in encoders] == [(CPU, (1, 2, 4, 8))] * 3
    assert len({id(e.opened.session) for e in encoders}) == 1
    assert threads_of(encoders[0]) == 1


def test_a_model_that_is_slow_on_one_thread_has_all_cores_for_one_batch(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OnnxImageEncoder, "lone_run_s", lambda self: 0.6)
    (alone,) = on_cores(monkeypatch, 3, bundle)
    assert threads_of(alone) != 1
    asked_for = on_cores(monkeypatch, 3, bundle, threads=1)
    assert len(asked_for) == 3


def test_one_slow_run_by_chance_does_not_decide(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one touches the pages of the weights; and somebody else may have the core."""
    taken = iter([0.9, 0.6, 0.4])
    monkeypatch.setattr(OnnxImageEncoder, "lone_run_s", lambda self: next(taken))
    assert len(on_cores(monkeypatch, 3, bundle)) == 3


def test_a_session_that_is_not_kept_goes_before_the_next_is_opened(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of a large model might not fit into memory."""
    opened: list[weakref.ref[object]] = []
    before: list[int] = []

    def noted(*given: Any, **options: Any) -> Opened:
        before.append(sum(session() is not None for session in opened))
        found = open_session(*given, **options)
        opened.append(weakref.ref(found.session))
        return found

    monkeypatch.setattr(onnx, "open_session", noted)
    monkeypatch.setattr(OnnxImageEncoder, "lone_run_s", lambda self: 0.6)
    gc.disable()
    try:
        on_cores(monkeypatch, 3, bundle)
    finally:
        gc.enable()
    assert before == [0, 0]


def test_threads_that_are_more_than_one_have_a_session_of_their_own(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoders = on_cores(monkeypatch, 4, bundle, threads=2)
    assert len({id(e.opened.session) for e in encoders}) == len(encoders) == 2
    assert [threads_of(e) for e in encoders] == [2, 2]


def test_sessions_and_batches_as_asked_for(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    encoders = on_cores(monkeypatch, 7, bundle, sessions=3, max_batch=12)
    assert [encoder.buckets for encoder in encoders] == [(1, 2, 4, 8, 12)] * 3
    assert [threads_of(encoder) for encoder in encoders] == [2, 2, 2]


def test_encoders_that_share_a_session_give_the_same_at_the_same_time(bundle: Bundle) -> None:
    first = OnnxImageEncoder(bundle=bundle, options=ONE_THREAD)
    second = OnnxImageEncoder(bundle=bundle, options=ONE_THREAD, beside=first)
    rng = np.random.default_rng(1)
    given = [rng.integers(0, 255, (n % 9, SIZE, SIZE, 3), dtype=np.uint8) for n in range(200)]
    alone = [first.run(pixels) for pixels in given]
    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(list, map(e.run, given)) for e in (first, second)]
        for work in both:
            assert all(map(np.array_equal, work.result(), alone))
