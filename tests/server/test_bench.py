"""The bench: its arithmetic, and one short run of every measure on the demo bundle. What is
asserted of a run is that figures are there and make sense, never how fast a machine is."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import subprocess
import sys
import threading
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image

from helpers.tiny_bundle import write_tiny_bundle
from imagesieve.v1 import moderation_pb2
from imagesieve_server.commands import bench, main
from imagesieve_server.commands.bench import (
    caller,
    callers_apart,
    figures,
    first_calls,
    graph_cost,
    growth,
    load,
    matmul_peak,
    overload,
    process_cost,
    report,
    threads,
)
from imagesieve_server.commands.bench.callers_apart import (
    added_up,
    kept_to,
    shared_out,
    shares_of,
)
from imagesieve_server.commands.bench.crew import Crew
from imagesieve_server.commands.bench.decoding import plain_transform
from imagesieve_server.commands.bench.duplicates import Repeating
from imagesieve_server.commands.bench.effort import QUICK, Bench, as_environment
from imagesieve_server.commands.bench.figures import Aim, Amount, Ratio, Series
from imagesieve_server.commands.bench.pictures import SMALL, Pictures, Size, synthetic_jpeg
from imagesieve_server.config import Settings
from imagesieve_server.config import load as load_settings
from imagesieve_server.core.errors import StartupError
from imagesieve_server.core.views import Coverage, Pixels, ViewPlan
from imagesieve_server.demo_data import DEMO_BUNDLE
from imagesieve_server.encoders.bundle import load_bundle
from imagesieve_server.encoders.opening import ServingOptions, open_encoders
from imagesieve_server.encoders.runtime import Provider, RuntimeOptions, open_session
from imagesieve_server.images.decode import decode_image
from imagesieve_server.images.limits import Limits
from imagesieve_server.images.sniff import sniff

TINY = Size(name="tiny", width=64, height=48)


def _ratio(over: tuple[float, ...], under: tuple[float, ...], aim: Aim | None = None) -> Ratio:
    return Ratio(
        measure="m",
        title="t",
        over=Series(what="served", unit="views/s", values=over),
        under=Series(what="limit", unit="views/s", values=under),
        aim=aim,
    )


def test_a_ratio_is_made_round_by_round_and_only_then_summed_up() -> None:
    """The machine became twice as slow: both figures halved, and the ratio did not."""
    ratio = _ratio((10, 5, 9), (20, 10, 10))
    assert ratio.rounds == (0.5, 0.5, 0.9)
    assert ratio.median == 0.5
    assert ratio.spread == (0.5, 0.9)


def test_a_ratio_needs_both_figures_of_every_round() -> None:
    with pytest.raises(ValueError, match="one value for each round"):
        _ratio((1, 2), (1,))
    with pytest.raises(ValueError, match="one value for each round"):
        _ratio((), ())


def test_nothing_to_divide_by_is_not_a_figure() -> None:
    assert math.isnan(_ratio((1,), (0,)).median)


def test_the_limit_adds_times_on_shared_cores_and_is_the_slower_part_elsewhere() -> None:
    assert figures.limit(encoder=30, decoder=60, shared=True) == pytest.approx(20)
    assert figures.limit(encoder=30, decoder=60, shared=False) == 30
    with pytest.raises(ValueError, match="positive"):
        figures.limit(encoder=0, decoder=60, shared=True)


def test_callers_that_took_half_the_cores_hid_half_the_rate() -> None:
    assert figures.without_callers(10, callers_cpu_s=4, wall_s=4, cores=2) == pytest.approx(20)
    assert figures.without_callers(10, callers_cpu_s=0, wall_s=4, cores=2) == 10
    with pytest.raises(ValueError, match="every core"):
        figures.without_callers(10, callers_cpu_s=8, wall_s=4, cores=2)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100), (0.001, 1)]
)
def test_a_percentile_is_a_value_that_was_measured(share: float, expected: int) -> None:
    assert figures.percentile(range(1, 101), share) == expected


def test_a_p99_of_few_is_their_maximum() -> None:
    assert figures.percentile([3.0, 1.0, 2.0], 0.99) == 3.0
    with pytest.raises(ValueError, match="needs values"):
        figures.percentile([], 0.5)
    with pytest.raises(ValueError, match="needs values"):
        figures.percentile([1.0], 0.0)


def test_an_aim_has_bounds_and_nan_reaches_none() -> None:
    assert Aim(at_least=0.95).reached(0.95)
    assert not Aim(at_least=0.95).reached(0.94)
    assert not Aim(at_most=0.2).reached(0.21)
    assert not Aim(at_most=0.2).reached(math.nan)
    assert str(Aim(at_least=0.95)) == "≥ 0.95"


def test_every_picture_is_new_and_has_its_size() -> None:
    pictures = Pictures(TINY, different=2)
    sent = [pictures.new() for _ in range(5)]
    assert len(set(sent)) == 5
    with Image.open(io.BytesIO(sent[0])) as first, Image.open(io.BytesIO(sent[2])) as again:
        assert first.size == (64, 48)
        assert first.tobytes() == again.tobytes()


def test_a_synthetic_picture_has_the_bytes_of_a_photograph() -> None:
    """Decoding and carrying noise or a plain colour would measure another thing."""
    assert 0.2 < len(synthetic_jpeg(SMALL, seed=1)) / (SMALL.width * SMALL.height) < 0.5
    assert synthetic_jpeg(SMALL, seed=1) == synthetic_jpeg(SMALL, seed=1)


def test_arrivals_are_in_order_and_as_many_as_asked_for() -> None:
    due = load.arrivals(rate=200, seconds=50, seed=3)
    assert due == sorted(due)
    assert due[0] > 0
    assert due[-1] < 50
    assert len(due) == pytest.approx(10_000, rel=0.05)


def test_a_servers_settings_arrive_as_they_are() -> None:
    settings = load_settings(None, {"IMAGESIEVE__MODEL__SPINNING": "true"})
    environment = as_environment(settings)
    assert load_settings(None, environment).model == settings.model
    assert load_settings(None, environment).images == settings.images
    assert not [name for name in environment if "QUEUE__" in name or "ADDRESS" in name]


def test_a_report_says_what_was_measured_and_what_not() -> None:
    found = report.Report(
        about={"commit": "abc", "machine": {"cores": 2}},
        figures=[
            _ratio((9.5, 9.4, 9.6), (10, 10, 10), Aim(at_least=0.95)),
            Amount(measure="m", title="size", of=Series(what="disk", unit="MB", values=(1.0,))),
            _ratio((1,), (0,), Aim(at_least=1)),
        ],
        failed={"other": "no room"},
    )
    text = "\n".join(report.lines(found))
    assert "t: 0.950 (0.940 to 0.960 in 3 rounds)   aim ≥ 0.95" in text
    assert "served 9.50 views/s ÷ limit 10.0 views/s" in text
    assert "other: not measured: no room" in text
    parsed = json.loads(report.as_json(found))
    assert parsed["figures"][0]["ratio"]["rounds"] == pytest.approx([0.95, 0.94, 0.96])
    assert parsed["figures"][0]["reached"] is True
    assert parsed["figures"][2]["ratio"]["median"] is None
    assert parsed["figures"][2]["reached"] is False


@pytest.mark.parametrize(
    ("value", "shown"), [(1234.5, "1234"), (0.12345, "0.123"), (12.3456, "12.3"), (0.0, "0.0")]
)
def test_numbers_are_shown_with_three_digits(value: float, shown: str) -> None:
    assert report.number(value) == shown


def test_impossible_sizes_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--rounds", "0"], ["--seconds", "nan"], ["--only", "nothing"]):
        with pytest.raises(SystemExit) as ended:
            main(["bench", *words])
        assert ended.value.code == 2
    assert "not a number above 0" in capsys.readouterr().err


def test_a_measure_that_fails_takes_no_other_with_it(tmp_path: Path) -> None:
    """Whatever it raises: a server that dies makes its callers raise gRPC's own errors."""

    def breaks(_: Bench) -> list[Ratio]:
        raise OSError("a server died")

    def interrupted(_: Bench) -> list[Ratio]:
        raise KeyboardInterrupt

    def never(_: Bench) -> list[Ratio]:
        raise AssertionError("begun after Ctrl-C")

    measures = {
        "encoder": lambda _: [_ratio((1,), (2,))],
        "tails": breaks,
        "duplicates": lambda _: [_ratio((3,), (4,))],
        "growth": interrupted,
        "threads": never,
    }
    made = Bench(
        effort=QUICK, folder=tmp_path, settings=Settings(), bundle=load_bundle(DEMO_BUNDLE)
    )
    found = bench.run(made, only=list(measures), measures=measures)
    assert [figure.median for figure in found.figures] == [0.5, 0.75]
    assert list(found.failed) == ["tails", "growth"]


def test_products_convolutions_and_attention_are_counted_and_nothing_else() -> None:
    """Two operations for every pair that is multiplied and added."""
    assert graph_cost.flop_of("MatMul", [(5, 4, 512)], [(5, 4, 64)]) == 2 * 5 * 4 * 64 * 512
    assert graph_cost.flop_of("Gemm", [(20, 512), (128,)], [(20, 128)]) == 2 * 20 * 128 * 512
    convolution = [(4, 16, 8, 8), (32, 16, 3, 3), (32,)]
    assert graph_cost.flop_of("Conv", convolution, [(4, 32, 8, 8)]) == 2 * 4 * 32 * 64 * 144
    quantised = [(4, 16, 8, 8), (), (), (32, 16, 3, 3), (32,)]
    assert graph_cost.flop_of("QLinearConv", quantised, [(4, 32, 8, 8)]) == 2 * 4 * 32 * 64 * 144
    heads = [(2, 8, 5, 64)] * 3
    assert graph_cost.flop_of("Attention", heads, [(2, 8, 5, 64)]) == 2 * 2 * (2 * 8 * 5 * 5 * 64)
    assert graph_cost.flop_of("Reshape", [(4, 4)], [(16,)]) == 0


def test_only_the_last_run_of_a_profile_counts() -> None:
    def node(ts: int, operator: str, dur: int) -> dict[str, Any]:
        shapes = {"input_type_shape": [{"float": [2, 3]}], "output_type_shape": [{"float": [2, 4]}]}
        return {"cat": "Node", "name": "n", "ts": ts, "dur": dur,
                "args": {"op_name": operator, **shapes}}  # fmt: skip

    runs: list[dict[str, Any]] = [
        {"cat": "Session", "name": "model_run", "ts": ts, "dur": 9} for ts in (0, 100)
    ]
    cost = graph_cost.summed_up(
        [*runs, node(1, "MatMul", 500), node(101, "MatMul", 30), node(102, "Add", 10)], batch=2
    )
    assert cost.flop == 2 * 2 * 4 * 3 / 2
    assert cost.time_shares == {"MatMul": 0.75, "Add": 0.25}


def test_the_demo_models_graph_is_counted(tmp_path: Path) -> None:
    """An operator that the table lacks would make the encoder look slow."""
    cost = graph_cost.cost_of(load_bundle(DEMO_BUNDLE), batch=2, threads=1, folder=tmp_path)
    assert 20e6 < cost.flop < 100e6
    assert 0 < sum(cost.time_shares.values()) <= 1 + 1e-9


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_handwritten_graph_is_one_product(dtype: type[np.generic], tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    a, b = (rng.standard_normal(shape).astype(dtype) for shape in ((3, 200), (200, 5)))
    path = tmp_path / "product.onnx"
    path.write_bytes(matmul_peak.matmul_graph(b, rows=3))
    opened = open_session(path, options=RuntimeOptions(provider=Provider.CPU, threads=1))
    (found,) = opened.session.run(None, {"a": a})
    assert found.shape == (3, 5)
    expected = a.astype(np.float64) @ b.astype(np.float64)
    assert np.allclose(found, expected, rtol=0, atol=1e-4 if dtype is np.float32 else 0.2)


def test_the_plain_transform_is_ours_for_a_picture_that_is_not_scaled() -> None:
    """Else the two would not do the same work."""
    preprocessing = load_bundle(DEMO_BUNDLE).manifest.preprocessing
    size = Size(name="one", width=preprocessing.size + 40, height=preprocessing.size)
    data = synthetic_jpeg(size, seed=5)
    plan = ViewPlan(coverage=Coverage.CENTRE)
    ours = decode_image(data, plan=plan, preprocessing=preprocessing, limits=Limits()).pixels[0]
    mean, std = np.array(preprocessing.mean), np.array(preprocessing.std)
    expected = ((ours / 255 - mean) / std).transpose(2, 0, 1)
    assert np.allclose(plain_transform(preprocessing)(data), expected, atol=1e-5)


def test_processor_time_is_read_by_thread() -> None:
    before = process_cost.thread_cpu_s(os.getpid())
    sum(number * number for number in range(200_000))
    after = process_cost.thread_cpu_s(os.getpid())
    me = threading.get_native_id()
    assert process_cost.spent_between(before, after) >= after[me] - before[me] > 0
    assert process_cost.spent_between({}, {1: 2.0, 2: 3.0}, without=frozenset([1])) == 3.0
    assert process_cost.spent_between({1: 1.5}, {1: 2.0}) == 0.5


def test_a_familys_memory_is_that_of_all_below_it() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            assert child.pid in process_cost.family(os.getpid())
            assert process_cost.family(child.pid) == [child.pid]
            assert process_cost.resident_bytes(os.getpid()) > 10_000_000
        finally:
            child.kill()


def test_exactly_the_share_of_repeats_is_sent() -> None:
    supply = Repeating(Pictures(TINY, different=1), share=0.3, seed=1)
    sent = [supply.new() for _ in range(1000)]
    assert len(set(sent)) == pytest.approx(700, abs=2)
    none = Repeating(Pictures(TINY, different=1), share=0.0, seed=1)
    assert len({none.new() for _ in range(100)}) == 100


def test_a_rate_counts_whole_batches_in_whole_times() -> None:
    """A window that cut them would count a batch of sixteen or not by chance."""
    clumps = [0.9, 0.91, 2.0, 2.01, 3.1, 3.11, 4.2, 4.21]
    assert caller.rate_of(clumps, first=1.0, last=4.0) == pytest.approx(4 / (3.11 - 0.91))
    assert caller.rate_of(clumps, first=0.5, last=2.5) == pytest.approx(4 / 2.01)
    assert caller.rate_of(clumps, first=4.5, last=9.0) == 0.0


def test_a_rate_of_callers_counts_all_that_was_done_for_them() -> None:
    """Work before a window, for answers in it, would be left out."""
    assert caller.rate_of_all([0.5, 2.0, 1.0]) == pytest.approx(1.5)
    assert caller.rate_of_all([]) == 0.0


def test_a_server_that_stops_to_answer_is_not_counted_as_if_it_had_gone_on() -> None:
    clumps = [0.5, 1.0, 1.1, 1.2]
    assert caller.rate_of(clumps, first=0.9, last=3.5) == pytest.approx(3 / 3.0)
    assert caller.rate_of(clumps, first=0.9, last=math.inf) == pytest.approx(3 / 0.7)


def test_a_callers_messages_are_requests_that_nobody_saw() -> None:
    messages = caller.Messages(Pictures(TINY, different=2))
    read = [moderation_pb2.ModerateRequest.FromString(messages.new()) for _ in range(4)]
    assert len({one.request_id for one in read}) == len({one.image for one in read}) == 4
    for one in read:
        assert Image.open(io.BytesIO(one.image)).size == (TINY.width, TINY.height)
    other = caller.Messages(Pictures(TINY, different=2), process=os.getpid() + 1)
    another = moderation_pb2.ModerateRequest.FromString(other.new())
    assert another.image not in {one.image for one in read}
    assert another.request_id not in {one.request_id for one in read}


def _outcome(**changes: Any) -> caller.Outcome:
    whole = caller.Outcome(
        rate=10.0, answered=20, late=0, sent=20, seconds=2.0, cpu_s=0.01,
        waits_s=[0.1, 0.1, 0.3], refusals_s=[], lateness_p99_s=0.001,
    )  # fmt: skip
    return dataclasses.replace(whole, **changes)


def test_goodput_is_what_is_answered_in_time_and_a_refusal_is_held_against_an_idle_answer() -> None:
    pressed = _outcome(rate=9.0, late=2, sent=200, refusals_s=[0.01] * 99 + [0.02] * 2)
    goodput, refusal = overload.figures_of(
        10, [pressed], most=[_outcome()], idle=[_outcome()], shares=shares_of({0, 1})
    )
    assert goodput.median == pytest.approx(0.9)
    assert goodput.beside["really offered ÷ most"] == pytest.approx(10)
    assert goodput.beside["past their deadline"] == "2"
    assert refusal.median == pytest.approx(0.2)


def test_nothing_is_said_of_refusals_where_there_were_none() -> None:
    calm = _outcome()
    found = overload.figures_of(2, [calm], most=[calm], idle=[calm], shares=shares_of({0}))
    assert len(list(found)) == 1


def test_an_order_that_is_shared_out_is_the_same_order() -> None:
    crowd = caller.Order(target="t", seconds=1.0, callers=10)
    assert [one.callers for one in shared_out(crowd, 4)] == [3, 3, 2, 2]
    assert [one.callers for one in shared_out(dataclasses.replace(crowd, callers=1), 4)] == [1]
    timed = caller.Order(target="t", seconds=1.0, rate=100.0, seed=3)
    parts = shared_out(timed, 4)
    assert sum(one.rate for one in parts) == pytest.approx(100.0)
    assert (
        len({one.seed for one in (*parts, *shared_out(dataclasses.replace(timed, seed=4), 4))}) == 8
    )
    both = added_up([_outcome(refusals_s=[0.1]), _outcome(rate=5.0, lateness_p99_s=0.5)])
    assert (both.rate, both.sent, both.seconds) == (15.0, 40, 2.0)
    assert (len(both.waits_s), both.refusals_s, both.lateness_p99_s) == (6, [0.1], 0.5)


def test_callers_have_cores_of_their_own_wherever_there_are_two() -> None:
    assert shares_of({3}).server == shares_of({3}).callers == {3}
    for cores in ({0, 1}, {2, 5, 7}, set(range(16))):
        shares = shares_of(cores)
        assert shares.server | shares.callers == cores
        assert not shares.server & shares.callers
        assert len(shares.server) >= len(shares.callers) >= 1


@pytest.mark.parametrize(("asked", "told"), [(0, "0"), (3, "3"), (9, "6")])
def test_a_server_divides_its_share_of_the_cores_by_the_settings_in_force(
    asked: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were it told how many threads those are, all of them would work on one batch."""
    given: dict[str, str] = {}

    def server_of(bench: Bench, **settings: str) -> AbstractContextManager[None]:
        given.update(settings)
        return nullcontext()

    monkeypatch.setattr(callers_apart, "server_of", server_of)
    monkeypatch.setattr(callers_apart, "kept_to", nullcontext)
    monkeypatch.setattr(callers_apart, "callers_of_their_own", nullcontext)
    settings = load_settings(
        None, {f"IMAGESIEVE__{name}": str(asked) for name in ("MODEL__THREADS", "IMAGES__WORKERS")}
    )
    whole = Bench(effort=QUICK, folder=tmp_path, settings=settings, bundle=load_bundle(DEMO_BUNDLE))
    with callers_apart.server_and_callers(whole, shares_of(range(8))):
        assert set(given.values()) == {told}


def test_what_is_started_inside_stays_on_its_cores() -> None:
    before = os.sched_getaffinity(0)
    one = {min(before)}
    with kept_to(one):
        asked = ["-c", "import os; print(os.sched_getaffinity(0))"]
        said = subprocess.check_output([sys.executable, *asked], text=True)
    assert said.strip() == str(one)
    assert os.sched_getaffinity(0) == before


def test_callers_that_were_late_are_told_from_a_server_that_was() -> None:
    calls = [
        load.Call(kind="", since_due_s=1.0, since_sent_s=sent, status=grpc.StatusCode.OK,
                  ended_at=1.0)
        for sent in (1.0, 0.9, 0.4)
    ]  # fmt: skip
    assert load.lateness_p99_s(calls) == pytest.approx(0.6)


@pytest.mark.beside_extras
def test_what_the_server_needs_is_found_and_torch_is_not_part_of_it() -> None:
    names = growth.needed(extras=("cpu", "server"))
    assert {"imagesieve", "onnxruntime", "numpy", "grpcio", "sqlalchemy"} <= names
    assert not names & {"torch", "pyarrow", "pytest", "scikit-learn"}
    assert growth.installed_bytes() > 50e6


def test_some_of_the_mixed_pictures_are_new_every_time_and_none_is_spoilt() -> None:
    """Else the queue would see forty pictures in all, and what it keeps of each would not show."""
    pictures = growth.mixed_pictures()
    supply = growth.Supply(pictures)
    first, second, third, fourth = ([supply.new() for _ in pictures] for _ in range(4))
    assert first == third == pictures
    changed = [a for a, b in zip(second, pictures, strict=True) if a != b]
    assert len(pictures) / 4 < len(changed) < len(pictures)
    assert not set(changed) & set(fourth)
    assert all(a.startswith(b) for a, b in zip(second, pictures, strict=True))
    for data in second[:-4]:  # the last are broken
        with Image.open(io.BytesIO(data)) as image:
            image.load()


def test_memory_is_looked_at_in_parts_that_make_up_the_whole() -> None:
    assert growth.parts(40, 10) == [4] * 10
    assert growth.parts(7, 10) == [1] * 7
    assert sum(growth.parts(100_003, 10)) == 100_003


def test_mixed_pictures_hold_every_format_and_broken_ones() -> None:
    pictures = growth.mixed_pictures()
    formats = {sniff(data) for data in pictures}
    assert len(formats - {None}) == 5
    broken = [data for data in pictures if any(w != data and w.startswith(data) for w in pictures)]
    assert len(broken) == 4


def test_a_first_request_is_compared_with_the_middle_of_those_after_it() -> None:
    assert first_calls.first_of([9.0, 1.0, 3.0, 2.0]) == (9.0, 2.0)
    assert first_calls.later_of([9.0, 1.0, 3.0, 2.0], 2) == (3.0, 1.5)
    with pytest.raises(ValueError, match="at least two"):
        first_calls.Sent(wall_s=[1.0, 1.0], cpu_s=[1.0, 1.0])


def test_one_slow_moment_does_not_choose_the_slowest_batch_size() -> None:
    """Of three rounds one was disturbed at the first size; the second size is always slower."""

    def sent(first: float) -> first_calls.Sent:
        return first_calls.Sent(wall_s=[first, 1.0, 1.0], cpu_s=[1.0, 1.0, 1.0])

    rounds = [[sent(8.0), sent(1.3)], [sent(1.0), sent(1.3)], [sent(1.0), sent(1.3)]]
    assert first_calls.slowest(rounds, lambda found: first_calls.first_of(found.wall_s)) == 1


def test_processor_time_is_summed_over_a_process_and_those_below_it() -> None:
    before = process_cost.family_cpu_s(os.getpid())
    sum(number * number for number in range(200_000))
    assert process_cost.family_cpu_s(os.getpid()) > before


def test_ways_of_threads_are_settings_a_server_takes() -> None:
    for cores, expected in ((1, 2), (4, 3)):
        found = threads.ways(cores)
        assert len(found) == expected
        for environment in found.values():
            model = load_settings(None, environment).model
            assert model.sessions * max(model.threads, 1) in (1, cores)
    (last,) = list(threads.ways(4).values())[2:]
    assert load_settings(None, last).model.threads == 1


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every measure on the demo bundle, as short as can be; the report as JSON."""
    out = tmp_path_factory.mktemp("bench") / "bench.json"
    words = [
        "--rounds",
        "1",
        "--seconds",
        "0.2",
        "--callers",
        "2",
        "--requests",
        "40",
        "--json",
        str(out),
    ]
    assert main(["bench", "--quick", "--baseline", str(DEMO_BUNDLE), *words]) == 0
    report_: dict[str, Any] = json.loads(out.read_text())
    return report_


@pytest.mark.timeout(600)
def test_every_measure_gives_figures(whole_run: dict[str, Any]) -> None:
    assert whole_run["failed"] == {}
    assert {figure["measure"] for figure in whole_run["figures"]} == set(bench.NAMES)
    for figure in whole_run["figures"]:
        values = figure.get("ratio", figure.get("amount"))["rounds"]
        assert len(values) == 1, figure["title"]
        assert None not in values, figure["title"]


@pytest.mark.timeout(600)
def test_a_report_says_where_and_of_what_it_is(whole_run: dict[str, Any]) -> None:
    about = whole_run["about"]
    assert about["effort"] == {"rounds": 1, "seconds": 0.2, "callers": 2}
    assert about["model"]["precision"] == "fp32"
    assert about["machine"]["cores"] >= 1
    assert "onnxruntime" in about["versions"]


@pytest.mark.timeout(600)
def test_whether_the_callers_are_the_limit_is_told(whole_run: dict[str, Any]) -> None:
    served = [figure for figure in whole_run["figures"] if figure["measure"] == "end-to-end"]
    assert served
    assert all(figure["beside"]["cores that the callers kept busy"] > 0 for figure in served)


@pytest.mark.timeout(600)
def test_tiles_are_two_views_of_a_picture(whole_run: dict[str, Any]) -> None:
    views = {
        figure["title"]: round(figure["beside"]["views per image"])
        for figure in whole_run["figures"]
        if figure["measure"] == "end-to-end"
    }
    assert {count for title, count in views.items() if "tiles" in title} == {2}
    assert {count for title, count in views.items() if "centre" in title} == {1}


def test_a_crew_is_every_session_on_its_own_thread(tmp_path: Path) -> None:
    """Warmed one after the other, and all at work while they are timed."""
    bundle = write_tiny_bundle(tmp_path / "tiny")
    runtime = RuntimeOptions(provider=Provider.CPU, threads=1)
    serving = open_encoders(bundle, ServingOptions(runtime=runtime, sessions=3, max_batch=4))
    threads: list[set[int]] = [set() for _ in serving.encoders]
    for encoder, seen in zip(serving.encoders, threads, strict=True):
        run = encoder.run

        def noted(pixels: Pixels, run: Any = run, seen: set[int] = seen) -> Any:
            seen.add(threading.get_ident())
            return run(pixels)

        encoder.run = noted  # type: ignore[method-assign]
    crew = Crew(serving)
    assert crew.at_once == 3
    assert set(crew.seconds) == {1, 2, 4}
    assert crew.views_per_s(0.2) > 0
    assert [len(seen) for seen in threads] == [1, 1, 1]
    assert len(set.union(*threads)) == 3


class FlagsTheSecond:
    """A stub whose server flags the second picture of every message."""

    async def ModerateBatch(
        self, request: moderation_pb2.ModerateBatchRequest, *, timeout: float
    ) -> moderation_pb2.ModerateBatchResponse:
        del timeout
        answer = moderation_pb2.ModerateBatchResponse()
        for _ in request.requests:
            answer.results.add().response.views.add()
        if len(answer.results) > 1:
            answer.results[1].response.reasons.add(code="CATEGORY_REVIEW")
        return answer


async def test_a_message_with_a_flagged_picture_is_not_what_was_to_be_measured() -> None:
    requests = [load.request_of(b"1"), load.request_of(b"2")]
    assert await load.moderate_batch(FlagsTheSecond(), requests[:1]) == 1
    with pytest.raises(StartupError, match="CATEGORY_REVIEW"):
        await load.moderate_batch(FlagsTheSecond(), requests)
