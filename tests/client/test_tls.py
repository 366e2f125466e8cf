"""Client certificates, and what is said where a connection is not made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from helpers.certificates import HOUR, Authority, Issued
from imagesieve import AsyncClient, Client, HealthStatus, Unauthenticated, Unreachable
from imagesieve.command import main
from imagesieve.testing import FakeServer

CA, OTHER_CA = Authority(), Authority("another")


class Files:
    """PEM files of a caller."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ca = self.write("ca.pem", CA.pem)
        self.other_ca = self.write("other-ca.pem", OTHER_CA.pem)
        self.caller = self.pair("caller", CA.caller())
        self.stranger = self.pair("stranger", OTHER_CA.caller())
        self.old = self.pair("old", CA.caller(lives=-HOUR))

    def write(self, name: str, content: bytes) -> Path:
        (self._folder / name).write_bytes(content)
        return self._folder / name

    def pair(self, name: str, issued: Issued) -> dict[str, Path]:
        return {
            "cert_file": self.write(f"{name}.pem", issued.certificate),
            "key_file": self.write(f"{name}.key", issued.key),
        }


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("tls"))


def serve(issued: Issued, **settings: Any) -> FakeServer:
    pairs = [(issued.key, issued.certificate)]
    return FakeServer(credentials=grpc.ssl_server_credentials(pairs, CA.pem, True), **settings)


@pytest.fixture
def strict() -> Iterator[FakeServer]:
    """A server that asks for a certificate of the authority and for a token."""
    with serve(CA.server(), token="s3cret") as server:
        yield server


def test_certificate_and_token_open_the_way(strict: FakeServer, files: Files) -> None:
    with Client(strict.target, ca_file=files.ca, **files.caller, token="s3cret") as client:
        assert client.moderate(b"picture").may_publish


async def test_certificate_and_token_for_asyncio(strict: FakeServer, files: Files) -> None:
    async with AsyncClient(
        strict.target, ca_file=str(files.ca), **files.caller, token="s3cret"
    ) as client:
        assert (await client.moderate(b"picture")).may_publish


@pytest.mark.parametrize("token", [None, "wrong"])
def test_a_fake_server_that_wants_a_token_takes_no_other(
    strict: FakeServer, files: Files, token: str | None
) -> None:
    with Client(strict.target, ca_file=files.ca, **files.caller, token=token) as client:
        with pytest.raises(Unauthenticated) as caught:
            client.moderate(b"picture")
        with pytest.raises(Unauthenticated):
            client.review.stats()
        assert client.health() is HealthStatus.SERVING
    assert caught.value.metadata["detail"] == ("UNKNOWN_TOKEN" if token else "NO_CREDENTIALS")


@pytest.mark.parametrize(
    ("server", "settings", "hint"),
    [
        (CA.server(), {"ca_file": "other_ca", "shows": "caller"}, "not signed by an authority"),
        (CA.server(), {"tls": True, "shows": "caller"}, "not signed by an authority"),
        (CA.server(lives=-HOUR), {"ca_file": "ca", "shows": "caller"}, "certificate is over"),
        (CA.server(), {"ca_file": "ca"}, "if it asks for a client certificate, show one"),
        (CA.server(), {"ca_file": "ca", "shows": "stranger"}, "show one that it accepts"),
        (CA.server(), {"ca_file": "ca", "shows": "old"}, "that is not over"),
        (CA.server(), {}, "if the server speaks TLS, use it"),
    ],
    ids=["wrong CA", "system's roots", "server's is over", "none", "stranger's", "over", "plain"],
)
def test_a_connection_that_fails_says_what_to_look_at(
    files: Files, server: Issued, settings: dict[str, Any], hint: str
) -> None:
    given: dict[str, Any] = {key: value for key, value in settings.items() if key == "tls"}
    if "ca_file" in settings:
        given["ca_file"] = getattr(files, settings["ca_file"])
    given.update(getattr(files, settings.get("shows", ""), {}))
    with serve(server) as fake, Client(fake.target, **given) as client:
        with pytest.raises(Unreachable, match=hint):
            client.health()
        assert fake.count("Check") == 0


def test_a_server_without_tls_is_named(files: Files) -> None:
    with (
        FakeServer() as fake,
        Client(fake.target, ca_file=files.ca) as client,
        pytest.raises(Unreachable, match="the server speaks without TLS"),
    ):
        client.health()


def test_a_server_of_another_name_is_named(files: Files) -> None:
    wrong = CA.caller(dns=("else.example",), usage="server")
    with (
        serve(wrong) as fake,
        Client(fake.target, ca_file=files.ca, **files.caller) as client,
        pytest.raises(Unreachable, match="for another name than the one called"),
    ):
        client.health()


def test_files_that_cannot_be_used_are_named_before_any_call(files: Files) -> None:
    caller, junk = files.caller, files.write("junk.pem", b"junk")
    with pytest.raises(ValueError, match="belong together"):
        Client(cert_file=caller["cert_file"])
    with pytest.raises(ValueError, match="is not the key of"):
        Client(cert_file=caller["cert_file"], key_file=files.stranger["key_file"])
    with pytest.raises(ValueError, match=r"junk\.pem: holds no PEM"):
        Client(ca_file=junk)
    with pytest.raises(ValueError, match=r"junk\.pem, .* cannot be read as PEM"):
        Client(cert_file=junk, key_file=caller["key_file"])
    with pytest.raises(ValueError, match="not both"):
        Client(ca_file=files.ca, credentials=grpc.ssl_channel_credentials())
    with pytest.raises(FileNotFoundError):
        Client(ca_file="nowhere.pem")


@pytest.mark.parametrize("token", ["", "two words", "line\n", "naïve"])
def test_a_token_that_no_header_carries_is_refused_unseen(token: str) -> None:
    with pytest.raises(ValueError, match="the token is empty or") as caught:
        Client(token=token)
    assert not token or token not in str(caught.value)
    with Client(token=lambda: token) as client, pytest.raises(ValueError, match="the token"):
        client.health()


# --- the command ---

Printed = pytest.CaptureFixture[str]


def test_the_command_shows_certificate_and_token(
    strict: FakeServer, files: Files, tmp_path: Path, capsys: Printed
) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    connect = [
        *("--server", strict.target, "--ca-file", str(files.ca)),
        *("--cert-file", str(files.caller["cert_file"])),
        *("--key-file", str(files.caller["key_file"])),
    ]
    assert main(["review", "stats", *connect, "--token-file", str(tmp_path / "token")]) == 0
    assert main(["review", "stats", *connect]) == 4
    assert "UNAUTHENTICATED" in (told := capsys.readouterr().err)
    assert "give --token-file, or --cert-file and --key-file" in told


@pytest.mark.parametrize(
    ("name", "content", "code", "told"),
    [("none", None, 4, "No such file"), ("empty", "\n", 2, "the token is empty")],
)
def test_a_token_file_that_holds_none_is_named(
    tmp_path: Path, capsys: Printed, name: str, content: str | None, code: int, told: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    assert main(["health", "--token-file", str(path)]) == code
    assert told in capsys.readouterr().err
