"""What waits to be counted: nothing is lost, and what is exported is as if counted at once."""

from __future__ import annotations

import threading

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram

from imagesieve_server.metrics.gathered import Gathered, SummedHistogram

BOUNDS = (0.1, 0.5, 1.0)


@pytest.mark.parametrize("amounts", [(), (0.05, 0.1, 0.100001, 0.5, 2.0, 1.0, -3.0), (7.0,) * 3])
def test_many_observations_are_as_each_by_itself(amounts: tuple[float, ...]) -> None:
    one, together = CollectorRegistry(), CollectorRegistry()
    each = Histogram("seconds", "", registry=one, buckets=BOUNDS)
    gathered = Gathered(SummedHistogram("seconds", "", registry=None, buckets=BOUNDS))
    together.register(gathered)
    for amount in amounts:
        each.observe(amount)
        gathered.note(amount=amount)
    for bound in ("0.1", "0.5", "1.0", "+Inf"):
        labels = {"le": bound}
        expected = one.get_sample_value("seconds_bucket", labels)
        assert together.get_sample_value("seconds_bucket", labels) == expected
    for name in ("seconds_count", "seconds_sum"):
        expected = one.get_sample_value(name)
        assert together.get_sample_value(name) == pytest.approx(expected)


def test_a_look_at_one_family_only_is_exact_too() -> None:
    """As Prometheus asks with ``name[]``."""
    registry = CollectorRegistry()
    gathered = Gathered(Counter("calls", "", ["code"], registry=None))
    registry.register(gathered)
    gathered.note("OK")
    gathered.note("OK", amount=2.0)
    (family,) = registry.restricted_registry(["calls_total"]).collect()
    assert [sample.value for sample in family.samples] == [3.0]


def test_what_several_threads_note_is_counted_once_while_another_looks() -> None:
    registry = CollectorRegistry()
    gathered = Gathered(Counter("calls", "", ["code"], registry=None))
    registry.register(gathered)

    def note() -> None:
        for _ in range(5000):
            gathered.note("OK")

    threads = [threading.Thread(target=note) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        registry.get_sample_value("calls_total", {"code": "OK"})
        threads[0].join(0.001)
    assert registry.get_sample_value("calls_total", {"code": "OK"}) == 20_000


def test_what_waits_is_bounded() -> None:
    family = SummedHistogram("seconds", "", registry=None, buckets=BOUNDS)
    gathered = Gathered(family)
    for _ in range(10_000):
        gathered.note(amount=0.2)
    (metric,) = family.collect()  # past what gathers
    counted = next(s.value for s in metric.samples if s.name == "seconds_count")
    assert 10_000 - counted < 128


def test_a_release_of_the_library_with_other_names_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("imagesieve_server.metrics.gathered._PRIVATE", ("_not_there",))
    registry = CollectorRegistry()
    registry.register(
        gathered := Gathered(SummedHistogram("seconds", "", registry=None, buckets=BOUNDS))
    )
    for amount in (0.05, 0.7, 3.0):
        gathered.note(amount=amount)
    assert registry.get_sample_value("seconds_bucket", {"le": "1.0"}) == 2
    assert registry.get_sample_value("seconds_count") == 3


def test_what_is_forgotten_does_not_come_back() -> None:
    family = Counter("bands", "", ["version"], registry=None)
    gathered = Gathered(family)
    gathered.note("v1")
    gathered.note("v2")
    gathered.forget("v1")
    (metric,) = gathered.collect()
    assert {s.labels["version"] for s in metric.samples if s.name == "bands_total"} == {"v2"}
