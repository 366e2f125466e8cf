"""The endpoints file, where webhooks may go, and what one attempt does."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from helpers.webhook_receiver import SECRET, Receiver, Reply
from helpers.webhook_rig import receiver_of
from imagesieve_server.core.errors import ConfigError
from imagesieve_server.core.webhook_port import Endpoint
from imagesieve_server.core.webhook_rules import Result
from imagesieve_server.core.webhooks import signing_key
from imagesieve_server.webhooks.endpoints import kept_receivers, read_receivers
from imagesieve_server.webhooks.sender import Answer, HttpSender
from imagesieve_server.webhooks.where import problem_of, where_of

OTHER = "whsec_" + base64.b64encode(b"b" * 32).decode()
GOOD = f"""
[[endpoint]]
name = "uploads"
tenant = "default"
url = "https://hooks.example.com/imagesieve"
secrets = ["{SECRET}"]
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "webhooks.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_endpoint_is_read_with_its_defaults(tmp_path: Path) -> None:
    (one,) = read_receivers(written(tmp_path, GOOD)).values()
    assert one.endpoint == Endpoint(tenant="default", name="uploads")
    assert one.where.url == "https://hooks.example.com/imagesieve"
    assert one.where.origin == "https://hooks.example.com"
    assert one.keys == (signing_key(SECRET),)
    assert (one.timeout_s, one.concurrency, one.give_up_s) == (10.0, 8, 72 * 3600.0)
    assert not one.from_oldest
    assert str(one.keys[0]) not in repr(one)


def test_secrets_stand_in_the_file_or_in_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "new").write_text(OTHER + "\n")
    text = GOOD + 'secret_files = ["new"]\n'
    (one,) = read_receivers(written(tmp_path, text)).values()
    assert one.keys == (signing_key(SECRET), signing_key(OTHER))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("https://hooks", "http://hooks"), "url: must begin with https://"),
        (("https://hooks", "ftp://hooks"), "url: must begin with https://"),
        (("https://hooks", "https://ann:pw@hooks"), "url: must not hold a user"),
        (("hooks.example.com", "169.254.169.254"), "url: the host is link-local"),
        (("hooks.example.com", "[::ffff:169.254.169.254]"), "url: the host is link-local"),
        (("hooks.example.com", "[fd00:ec2::254]"), "url: the host is link-local"),
        (("hooks.example.com", "168.63.129.16"), "url: the host is link-local, or where a cloud"),
        (("hooks.example.com", "0.0.0.0"), "url: the host is no address of one machine"),
        (("hooks.example.com", "a" * 64 + ".example"), "url: must have a host whose parts"),
        (("hooks.example.com", "[::1"), "url: Invalid IPv6 URL"),
        (("hooks.example.com", "h:0"), "url: must have a port"),
        (("hooks.example.com", "h:99999"), "url: must have a port"),
        (("hooks.example.com/imagesieve", "x/#part"), "url: must have a host, and no fragment"),
        (("hooks.example.com", "bücher.example"), "url: must be a URL in ASCII"),
        (('name = "uploads"', 'name = "Up loads"'), "name: must be 1 to 64 small letters"),
        (('tenant = "default"', 'tenant = ""'), "tenant: must be 1 to 64"),
        (('tenant = "default"', 'teanant = "default"'), "teanant: unknown key; known:"),
        ((f'["{SECRET}"]', "[]"), "secrets: give 1 to 4"),
        ((SECRET, "whsec_short"), "secrets: one of them must be"),
        (("[[endpoint]]", "[[endpoints]]"), "endpoints: unknown key; known: [[endpoint]]"),
        (("[[endpoint]]", "x = ["), "not valid TOML"),
    ],
)
def test_a_mistake_is_named_and_no_secret_is_repeated(
    tmp_path: Path, change: tuple[str, str], problem: str
) -> None:
    assert change[0] in GOOD
    with pytest.raises(ConfigError) as caught:
        read_receivers(written(tmp_path, GOOD.replace(*change)))
    assert problem in caught.value.message
    assert "whsec_short" not in caught.value.message
    assert SECRET not in caught.value.message
    assert "pw" not in caught.value.message


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("timeout_seconds = 0", "timeout_seconds: must be a number, 1 to 60"),
        ("timeout_seconds = true", "timeout_seconds: must be a number"),
        ("concurrency = 2.5", "concurrency: must be a whole number, 1 to 64"),
        ("give_up_hours = 0.5", "give_up_hours: must be a number, 1 to 8760"),
        ('from_oldest = "yes"', "from_oldest: must be true or false"),
        ('secret_files = "x"', "secret_files: must be a list of texts"),
        ('secret_files = ["missing"]', "cannot read"),
    ],
)
def test_a_value_out_of_range_is_refused(tmp_path: Path, line: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        read_receivers(written(tmp_path, GOOD + line + "\n"))


def test_a_name_stands_once_and_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'uploads' stands twice"):
        read_receivers(written(tmp_path, GOOD + GOOD))
    with pytest.raises(ConfigError, match=r"holds no \[\[endpoint\]\]"):
        read_receivers(written(tmp_path, ""))


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/", "http://localhost/x", "http://[::1]/"])
def test_this_machine_may_be_told_without_tls(url: str) -> None:
    assert where_of(url, allow_http=False).local


class NoMetrics:
    def __init__(self) -> None:
        self.reloads: list[bool] = []

    def file_reload(self, what: str, *, ok: bool) -> None:
        self.reloads.append(ok)


async def test_a_changed_secret_is_in_force_without_a_change_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    file = written(tmp_path, GOOD.replace(f'secrets = ["{SECRET}"]', 'secret_files = ["secret"]'))
    metrics = NoMetrics()
    kept = kept_receivers(file, metrics=metrics)
    kept.load()
    assert kept.value["uploads"].keys == (signing_key(SECRET),)
    await kept.look()
    assert metrics.reloads == [True]
    (tmp_path / "secret").write_text(OTHER)
    await kept.look()
    assert kept.value["uploads"].keys == (signing_key(OTHER),)
    (tmp_path / "secret").write_text("nonsense")
    await kept.look()
    assert kept.value["uploads"].keys == (signing_key(OTHER),)
    assert metrics.reloads == [True, True, False]


@pytest.mark.parametrize(
    ("address", "local", "good"),
    [
        ("10.0.0.7", False, True), ("192.168.1.1", False, True), ("8.8.8.8", False, True),
        ("fd12::1", False, True), ("2606:4700::1", False, True), ("127.0.0.1", True, True),
        ("::1", True, True), ("127.0.0.1", False, False), ("::1", False, False),
        ("::ffff:127.0.0.1", False, False), ("169.254.169.254", False, False),
        ("169.254.1.1", True, False), ("fe80::1", False, False), ("224.0.0.1", False, False),
        ("0.0.0.0", True, False), ("::", False, False), ("255.255.255.255", False, False),
        ("64:ff9b::a9fe:a9fe", False, False), ("2002:7f00:1::", False, False),
        ("100.100.100.200", False, False), ("ff02::1", False, False),
        ("168.63.129.16", False, False), ("::ffff:168.63.129.16", True, False),
        ("168.63.129.17", False, True),
    ],
)  # fmt: skip
def test_private_addresses_may_be_told_and_those_of_no_receiver_not(
    address: str, local: bool, good: bool
) -> None:
    assert (problem_of(ipaddress.ip_address(address), local=local) == "") is good


# --- one attempt ----------------------------------------------------------------------------


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    await receiver.start()
    yield receiver
    await receiver.stop()


async def attempt(url: str, **fields: Any) -> Answer:
    sender = HttpSender(
        receiver=receiver_of(url, **fields),
        trust=ssl.create_default_context(),
        user_agent="imagesieve/0",
        wall_clock=time.time,
    )
    try:
        return await sender.send("evt_1", json.dumps({"id": "evt_1"}).encode())
    finally:
        await sender.close()


async def test_an_attempt_is_told_with_a_signature(receiver: Receiver) -> None:
    assert (await attempt(receiver.url)).words == "told (204)"
    (headers,) = receiver.headers
    assert headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert headers["user-agent"] == "imagesieve/0"
    assert set(headers) == {
        "content-type", "webhook-id", "webhook-timestamp", "webhook-signature", "user-agent",
        "host", "content-length",
    }  # fmt: skip


async def test_no_redirect_is_followed(receiver: Receiver) -> None:
    receiver.behave = lambda event: Reply(status=307, headers={"Location": receiver.url})
    assert (await attempt(receiver.url)).words == "refused (307)"
    assert len(receiver.seen) == 1


async def test_no_proxy_of_the_environment_is_used(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await attempt(receiver.url)).told


async def test_the_receivers_words_are_not_repeated(receiver: Receiver) -> None:
    receiver.behave = lambda event: Reply(status=500, body=b"secret of the receiver")
    assert (await attempt(receiver.url)).words == "refused (500)"


async def test_an_endless_body_costs_the_time_limit_and_no_memory(receiver: Receiver) -> None:
    receiver.behave = lambda event: Reply(status=200, dribbles=True)
    begun = time.monotonic()
    assert (await attempt(receiver.url, timeout_s=0.2)).told
    assert time.monotonic() - begun >= 0.2


@pytest.mark.parametrize(
    ("reply", "result"),
    [
        (Reply(drops=True), Result.UNREACHABLE),
        (Reply(hangs=True), Result.TIMED_OUT),
        (Reply(status=410), Result.GONE),
        (Reply(status=500), Result.REFUSED),
    ],
)
async def test_what_an_endpoint_does_is_a_result(
    receiver: Receiver, reply: Reply, result: Result
) -> None:
    receiver.behave = lambda event: reply
    assert (await attempt(receiver.url, timeout_s=0.3)).result is result


async def test_garbage_instead_of_http_is_a_result() -> None:
    async def garbage(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-dropbear\r\n" * 10)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(garbage, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    answer = await attempt(f"http://127.0.0.1:{port}/")
    assert answer.result is Result.UNREACHABLE
    assert "SSH" not in answer.words
    server.close()


async def test_nobody_who_listens_is_a_result() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        answer = await attempt(f"http://127.0.0.1:{port}/")
    assert answer.words == "unreachable (ConnectError)"


async def test_a_certificate_that_nobody_trusts_is_refused(tmp_path: Path) -> None:
    data = Path(__file__).parents[1] / "data" / "tls"
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(data / "certificate.pem", data / "key.pem")

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(never, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    answer = await attempt(f"https://localhost:{port}/", timeout_s=5.0)
    assert answer.words == "unreachable (certificate not trusted)"
    server.close()


async def test_a_name_that_leads_to_this_machine_is_not_followed(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is asked: the address that was looked at is the one connected to."""
    loop = asyncio.get_running_loop()
    asked: list[str] = []

    async def resolve(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(loop, "getaddrinfo", resolve)
    sender = HttpSender(
        receiver=receiver_of(f"https://hooks.example.com:{receiver.port}/"),
        trust=ssl.create_default_context(),
        user_agent="",
        wall_clock=time.time,
    )
    answer = await sender.send("evt_1", b"{}")
    await sender.close()
    assert answer.words == "unreachable (its address is not one to send to)"
    assert asked == ["hooks.example.com"]
    assert receiver.seen == []
