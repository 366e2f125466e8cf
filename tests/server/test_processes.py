"""A server of several processes: their settings, their port, their series, and their keeper."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from helpers.stand_in import StandIn, order
from imagesieve_server import log_setup
from imagesieve_server.commands import serve
from imagesieve_server.config import Settings
from imagesieve_server.core.errors import ConfigError, StartupError
from imagesieve_server.metrics.http import MetricsServer
from imagesieve_server.processes.environment import environment_of
from imagesieve_server.processes.one_process import OneProcess
from imagesieve_server.processes.orders import Orders, Part, load_orders
from imagesieve_server.processes.port import SharedPort
from imagesieve_server.processes.reports import ChildTalk, Ready, answer_supervisor, say_ready
from imagesieve_server.processes.scraping import ProcessSeries, side_by_side
from imagesieve_server.processes.shares import of_front_end
from imagesieve_server.processes.supervisor import Patience, Supervisor, supervised

pytestmark = pytest.mark.timeout(120)

SETTINGS = Settings()


def of(front_ends: int) -> Settings:
    return replace(SETTINGS, server=replace(SETTINGS.server, front_ends=front_ends))


# --- settings ---------------------------------------------------------------------------


def test_rooms_and_crews_are_shared_out() -> None:
    whole = replace(of(4), images=replace(SETTINGS.images, workers=10))
    front = of_front_end(whole, address="127.0.0.1:7", leading=True)
    assert front.server.max_in_flight_views * 4 == whole.server.max_in_flight_views
    assert front.server.max_in_flight_mib * 4 == whole.server.max_in_flight_mib
    assert front.images.workers == 3
    assert front.images.cache_mib * 4 == whole.images.cache_mib
    assert front.queue.database_connections == 2
    assert front.server.address == "127.0.0.1:7"
    assert front.metrics.address == ""
    assert front.model == whole.model
    assert front.policies == whole.policies


def test_a_share_has_room_for_the_largest_picture() -> None:
    front = of_front_end(of(64), address="127.0.0.1:7", leading=True)
    assert front.server.max_in_flight_views == 64
    assert front.server.max_in_flight_mib == SETTINGS.images.max_mib
    small = replace(of(4), server=replace(of(4).server, max_in_flight_views=8))
    assert of_front_end(small, address="", leading=True).server.max_in_flight_views == 8


def test_what_is_turned_off_stays_off() -> None:
    whole = replace(of(4), images=replace(SETTINGS.images, cache_mib=0))
    assert of_front_end(whole, address="", leading=True).images.cache_mib == 0


def test_one_front_end_has_the_pages_and_tells_endpoints() -> None:
    whole = replace(
        of(2),
        console=replace(SETTINGS.console, address="127.0.0.1:8"),
        webhooks=replace(SETTINGS.webhooks, endpoints="endpoints.toml"),
    )
    first, other = (of_front_end(whole, address="", leading=leads) for leads in (True, False))
    assert (first.console, first.webhooks) == (whole.console, whole.webhooks)
    assert (other.console.address, other.webhooks.endpoints) == ("", "")


def test_orders_arrive_as_they_were_given() -> None:
    orders = Orders(part=Part.LEADER, name="front-1", meeting=9, settings=of(3))
    assert load_orders(orders.dump()) == orders


def test_the_encoder_gets_no_password_of_the_environment() -> None:
    tuning = {"OMP_NUM_THREADS": "2", "LD_LIBRARY_PATH": "/lib", "CUDA_VISIBLE_DEVICES": "1"}
    secret = {
        "PGPASSWORD": "hunter2",
        "AWS_SECRET_ACCESS_KEY": "hunter2",
        "IMAGESIEVE__SERVER__SECRET_FILE": "secret",
        "ANYTHING": "hunter2",
    }
    encoders = environment_of(Part.ENCODER, tuning | secret)
    assert encoders.items() >= tuning.items()
    assert not encoders.keys() & secret.keys()
    for part in (Part.LEADER, Part.FRONT_END):
        assert environment_of(part, tuning | secret).items() >= secret.items()


def test_log_lines_say_whose_they_are() -> None:
    """The log of several processes is one stream; a record's own word stays."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    try:
        log_setup.set_up(level="info", style="json", stream=stream, process="front-2")
        logging.getLogger("some").info("one")
        logging.getLogger("some").info("two", extra={"part": "encoder"})
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    assert [json.loads(line)["part"] for line in stream.getvalue().splitlines()] == [
        "front-2",
        "encoder",
    ]


# --- the port ---------------------------------------------------------------------------


def test_front_ends_share_the_port_and_another_server_cannot_have_it() -> None:
    with contextlib.closing(SharedPort("127.0.0.1:0")) as port, contextlib.ExitStack() as stack:
        for _ in range(2):
            front = stack.enter_context(contextlib.closing(socket.socket()))
            front.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            front.bind(("127.0.0.1", port.port))
            front.listen()
        with pytest.raises(ConfigError, match="cannot listen"):
            SharedPort(port.address)


def test_a_port_where_somebody_listens_is_refused() -> None:
    with (
        contextlib.closing(socket.create_server(("127.0.0.1", 0))) as other,
        pytest.raises(ConfigError, match="cannot listen"),
    ):
        SharedPort(f"127.0.0.1:{other.getsockname()[1]}")


# --- the series -------------------------------------------------------------------------


def exposition(value: float) -> str:
    registry = CollectorRegistry()
    Counter("calls_total", "Calls.", ["method"], registry=registry).labels('a "b"\\').inc(value)
    Counter("unused_total", "Not used here.", ["label"], registry=registry)
    Gauge("healthy", "Health.", registry=registry).set(value)
    Histogram("seconds", "Seconds.", registry=registry, buckets=(1.0,)).observe(value)
    return generate_latest(registry).decode()


def test_series_stand_side_by_side_with_their_process() -> None:
    merged = side_by_side({"front-1": exposition(1), "front-2": exposition(2), "encoder": ""})
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in merged
        for sample in family.samples
    }
    escaped = ("method", 'a "b"\\')
    assert samples["calls_total", (escaped, ("process", "front-2"))] == 2
    assert samples["healthy", (("process", "front-1"),)] == 1
    assert samples["seconds_bucket", (("le", "1.0"), ("process", "front-1"))] == 1
    assert samples["seconds_bucket", (("le", "1.0"), ("process", "front-2"))] == 0
    assert [family.name for family in merged].count("calls") == 1
    assert "unused" not in {family.name for family in merged}


def test_no_process_speaks_for_another() -> None:
    (family,) = side_by_side({"front-1": '# TYPE up gauge\nup{process="encoder"} 1\n'})
    assert [sample.labels for sample in family.samples] == [{"process": "front-1"}]


async def test_prometheus_reads_them_at_one_port() -> None:
    async def read() -> dict[str, str]:
        return {"front-1": exposition(1), "front-2": exposition(2)}

    registry = CollectorRegistry()
    registry.register(ProcessSeries(read=read, loop=asyncio.get_running_loop()))
    server = MetricsServer(registry=registry, port=0)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
        page = (await reader.read()).decode()
        writer.close()
    finally:
        await asyncio.to_thread(server.stop)
    assert page.count("# TYPE calls_total counter") == 1
    assert 'healthy{process="front-2"} 2.0' in page


# --- talking ----------------------------------------------------------------------------


async def test_an_answer_nobody_waited_for_is_not_the_next_ones() -> None:
    ours, theirs = socket.socketpair()
    talk = ChildTalk(*await asyncio.open_connection(sock=ours))
    reader, writer = await asyncio.open_connection(sock=theirs)
    say_ready(writer, Ready(bundle="m", policies=("p",)))
    assert await talk.first_word("front-1") == Ready(bundle="m", policies=("p",))
    impatient = asyncio.create_task(talk.metrics())
    await asyncio.sleep(0.01)
    impatient.cancel()
    patient = asyncio.create_task(talk.alive())
    answers = asyncio.create_task(answer_supervisor(reader, writer, lambda: b"series 1\n" * 9999))
    await patient
    assert await talk.metrics() == "series 1\n" * 9999
    talk.close()
    await answers
    writer.close()


async def test_a_child_that_has_gone_answers_nothing() -> None:
    ours, theirs = socket.socketpair()
    talk = ChildTalk(*await asyncio.open_connection(sock=ours))
    theirs.close()
    assert await talk.metrics() == ""
    with pytest.raises(StartupError, match="front-1 ended before it was ready"):
        await talk.first_word("front-1")
    talk.close()


# --- the keeper -------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def kept(
    stand_in: StandIn, *, ask_every_s: float = 0.02, silent_s: float = 1.0
) -> AsyncIterator[tuple[Supervisor, CollectorRegistry]]:
    registry = CollectorRegistry()
    family = Supervisor(
        drain_s=20.0,
        registry=registry,
        patience=Patience(first_pause_s=0.01, ask_every_s=ask_every_s, silent_s=silent_s),
        start=stand_in.start,
    )
    try:
        await family.start(order("front-1"))
        yield family, registry
    finally:
        await family.stop()


async def restarted(family: Supervisor, pid: int) -> int:
    async with asyncio.timeout(60):
        while "front-1" not in family.processes or family.processes["front-1"].pid == pid:
            await asyncio.sleep(0.01)
    return family.processes["front-1"].pid


async def test_what_ends_is_started_again_and_counted() -> None:
    async with kept(StandIn()) as (family, registry):
        pid = family.processes["front-1"].pid
        for times in (1, 2):
            os.kill(pid, signal.SIGKILL)
            pid = await restarted(family, pid)
            labels = {"process": "front-1"}
            assert registry.get_sample_value("imagesieve_process_restarts_total", labels) == times
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_what_does_not_start_again_is_tried_until_it_does() -> None:
    stand_in = StandIn()
    async with kept(stand_in) as (family, _):
        pid = family.processes["front-1"].pid
        stand_in.before = "sys.exit(1)"
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(60):
            while "front-1" in family.processes:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        assert "front-1" not in family.processes
        stand_in.before = ""
        await restarted(family, pid)


async def test_what_does_not_answer_is_killed() -> None:
    stand_in = StandIn(answer="pass")
    async with kept(stand_in) as (family, _):
        pid = family.processes["front-1"].pid
        stand_in.answer = StandIn().answer
        await restarted(family, pid)


async def test_what_hangs_at_its_end_is_killed() -> None:
    """It has closed its socket, and a library's thread does not let it go."""
    stand_in = StandIn(answer="control.shutdown(socket.SHUT_RDWR); time.sleep(600)")
    async with kept(stand_in, silent_s=0.1) as (family, _):
        pid = family.processes["front-1"].pid
        stand_in.answer = StandIn().answer
        await restarted(family, pid)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_drain_waits_for_those_that_finish() -> None:
    slow = "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), os._exit(7)))"
    async with kept(StandIn(before=slow)) as (family, _):
        process = family.processes["front-1"]
    assert await process.ended() == 7


GARBAGE = [
    pytest.param("control.sendall(b'none\\n')", id="no number"),
    pytest.param("control.sendall(b'-1\\n')", id="less than nothing"),
    pytest.param("control.sendall(b'9' * 18 + b'\\n')", id="more than there can be"),
    pytest.param("control.sendall(b'9' * 600_000)", id="a line without end"),
]


@pytest.mark.parametrize("answer", GARBAGE)
async def test_what_answers_with_garbage_is_killed(answer: str) -> None:
    stand_in = StandIn(answer=answer)
    async with kept(stand_in, silent_s=600.0) as (family, _):
        pid = family.processes["front-1"].pid
        stand_in.answer = StandIn().answer
        await restarted(family, pid)


async def test_what_begins_with_garbage_is_tried_again() -> None:
    stand_in = StandIn()
    async with kept(stand_in) as (family, _):
        pid = family.processes["front-1"].pid
        stand_in.before = "control.sendall(b'what?\\n'); sys.exit(1)"
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(60):
            while "front-1" in family.processes:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        stand_in.before = ""
        await restarted(family, pid)


async def test_a_silent_process_does_not_hide_the_series_of_the_others() -> None:
    stand_in = StandIn(answer="control.sendall(b'4\\nup 1')")
    async with kept(stand_in, ask_every_s=600.0) as (family, _):
        stand_in.answer = "pass"
        await family.start(order("front-2"))
        async with asyncio.timeout(60):
            assert await family.metrics() == {"front-1": "up 1", "front-2": ""}


async def test_where_one_cannot_start_none_is_left() -> None:
    """The other is not ready yet, or becomes ready while the first one's failure is told."""
    pids: list[int] = []

    async def start(orders: Orders) -> OneProcess:
        before = "time.sleep(600)" if orders.name == "slow" else "sys.exit(1)"
        process = await StandIn(before=before).start(orders)
        pids.append(process.pid)
        return process

    family = Supervisor(drain_s=1.0, registry=CollectorRegistry(), patience=Patience(), start=start)
    with pytest.raises(StartupError, match="bad ended before"):
        await family.start(order("slow"), order("bad"))
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_signal_ends_a_start() -> None:
    """A front end waits for its encoder for as long as that takes; nobody may wait with it."""
    stop = asyncio.Event()
    stop.set()
    settings = replace(of(2), server=replace(of(2).server, address="127.0.0.1:0"))
    with pytest.raises(StartupError, match="told to stop"):
        async with supervised(settings, stop=stop):
            pass


async def test_a_child_says_why_it_cannot_start() -> None:
    why = 'control.sendall(b\'{"problem": "no such bundle"}\\n\'); sys.exit(1)'
    with pytest.raises(StartupError, match="no such bundle"):
        async with kept(StandIn(before=why)):
            pass


async def test_the_command_takes_the_way_of_the_setting() -> None:
    """More than one front end: the supervisor, which refuses a taken port before a warm-up."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        settings = replace(of(2), server=replace(of(2).server, address=address))
        with pytest.raises(ConfigError, match="cannot listen"):
            await serve.serve(settings)
