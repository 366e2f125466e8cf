"""The callers file, and who is believed by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagesieve_server.core.errors import ConfigError, Unauthenticated
from imagesieve_server.grpc_api.caller_authenticator import (
    CallersAuthenticator,
    certificate_names,
)
from imagesieve_server.grpc_api.callers import (
    Callers,
    kept_callers,
    new_token,
    parse_callers,
    token_digest,
)
from imagesieve_server.grpc_api.identity import Caller, Identity, Role
from imagesieve_server.kept_files import Kept
from imagesieve_server.testing import RecordingMetrics

FILE = Path("callers.toml")
TOKEN, OTHER = "ims_" + "a" * 43, "ims_" + "b" * 43
UPLOADS = f"""
[[caller]]
name = "uploads"
tenant = "shop"
roles = ["uploader"]
token_sha256 = ["{token_digest(TOKEN)}"]
"""
ANN = f"""
[[caller]]
name = "ann@example.com"
tenant = "forum"
roles = ["reviewer", "policy"]
token_sha256 = ["{token_digest(OTHER)}"]
certificates = ["URI:spiffe://example.com/ann", "DNS:Ann.Example.com", "CN:Ann of the forum"]
expires = 2027-01-31
"""


def parse(text: str) -> Callers:
    return parse_callers(text.encode(), file=FILE)


# --- the file ---


def test_a_file_is_read_in_full() -> None:
    uploads, ann = parse(UPLOADS + ANN).records
    assert uploads.identity == Identity(
        tenant="shop", name="uploads", roles=frozenset({Role.UPLOADER})
    )
    assert uploads.expires_at is None
    assert ann.identity.roles == {Role.REVIEWER, Role.POLICY}
    assert ann.certificates == (
        "URI:spiffe://example.com/ann",
        "DNS:ann.example.com",
        "CN:Ann of the forum",
    )
    assert ann.expires_at == pytest.approx(1801439999.999999)  # the end of that day, UTC


@pytest.mark.parametrize(
    ("written", "at"),
    [
        ("2027-01-31T12:00:00Z", 1801396800.0),
        ("2027-01-31T12:00:00+01:00", 1801393200.0),
    ],
)
def test_a_time_of_expiry_has_a_zone(written: str, at: float) -> None:
    (record,) = parse(UPLOADS + f"expires = {written}\n").records
    assert record.expires_at == at


DIGEST = token_digest("x")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", r"callers\.toml: holds no \[\[caller\]\]"),
        ("caller = 3\n", "holds no"),
        ("caller = [3]\n", r"caller\[0\]: must be a table"),
        ("[[caler]]\nname = 'a'\n", "caler: unknown key"),
        (UPLOADS + "[tenants]\n", "tenants: unknown key"),
        ("[[caller]\n", "not valid TOML"),
        (UPLOADS + "role = ['admin']\n", r"caller\[0\] \('uploads'\): role: unknown key"),
        (UPLOADS + "expires = '2027-01-31'\n", "expires: must be a date or a time, without quotes"),
        (UPLOADS + "expires = 2027-01-31T12:00:00\n", "expires: a time needs a zone"),
        (UPLOADS + "expires = 12:00:00\n", "expires: must be a date"),
        (UPLOADS.replace("uploader", "uploads"), "roles: unknown role 'uploads'; known: uploader,"),
        (UPLOADS.replace('["uploader"]', "[]"), "roles: must name at least one"),
        (UPLOADS.replace('["uploader"]', '"uploader"'), "roles: must be a list"),
        (UPLOADS.replace('["uploader"]', "[1]"), "roles: must be a list"),
        (UPLOADS.replace("tenant", "tennant"), "tennant: unknown key"),
        (UPLOADS.replace('"shop"', '""'), "tenant: must be"),
        (UPLOADS.replace('"shop"', '"a/b"'), "tenant: must be"),
        (UPLOADS.replace('"shop"', '".."'), "tenant: must be"),
        (UPLOADS.replace('"shop"', '"a\\n"'), "tenant: must be"),
        (UPLOADS.replace('"shop"', f'"{"t" * 65}"'), "tenant: must be"),
        (UPLOADS.replace('"uploads"', '""'), "name: must be text"),
        (UPLOADS.replace('"uploads"', '" a"'), "name: must be text"),
        (UPLOADS.replace('"uploads"', "7"), "name: must be text"),
        (UPLOADS.replace('"uploads"', f'"{"n" * 129}"'), "name: must be text"),
        (UPLOADS.replace('"uploads"', '"a\\u0007b"'), "name: has a character"),
        (UPLOADS.replace(token_digest(TOKEN), TOKEN), "token_sha256: each must be 64"),
        (UPLOADS.replace(token_digest(TOKEN), "A" * 64), "token_sha256: each must be 64"),
        (UPLOADS.replace(token_digest(TOKEN), token_digest("")), "token_sha256: each must be 64"),
        (UPLOADS.partition("token_sha256")[0], "neither token_sha256 nor certificates"),
        (UPLOADS + UPLOADS, "name: 'uploads' stands in the file twice"),
        (UPLOADS + UPLOADS.replace('"uploads"', '"b"'), "token_sha256: .* twice"),
        (ANN.replace("URI:", "uri:"), "certificates: 'uri:.*' must be URI:…, DNS:… or CN:…"),
        (ANN.replace("DNS:Ann", "DNS:*"), "certificates: .* without a wildcard"),
        (ANN.replace("CN:Ann of the forum", "CN:"), "certificates: 'CN:'"),
        (ANN.replace("CN:Ann of the forum", "DNS:ann.example.COM"), "certificates: .* twice"),
    ],
)
def test_mistakes_are_named(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        parse(text)


def test_a_file_that_is_not_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="not valid TOML"):
        parse_callers(b"\xff\xfe", file=FILE)


def test_no_mistake_shows_a_token() -> None:
    """Somebody will paste the token instead of its digest."""
    with pytest.raises(ConfigError) as caught:
        parse(UPLOADS.replace(token_digest(TOKEN), TOKEN))
    assert TOKEN not in str(caught.value)


def test_tokens_are_long_and_never_the_same() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {47}  # a prefix and 32 bytes in base64
    assert all(token.startswith("ims_") for token in tokens)


# --- who is believed ---


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


class Fixed:
    """An authenticator over text, at a time of the test's choice."""

    def __init__(self, tmp_path: Path, text: str, *, client_ca: bool = True) -> None:
        self.now = 0.0
        self.metrics = RecordingMetrics()
        self.path = write(tmp_path / "callers.toml", text)
        self.kept: Kept[Callers] = kept_callers(
            self.path, client_ca=client_ca, metrics=self.metrics
        )
        self.kept.load()
        self._inner = CallersAuthenticator(callers=self.kept, wall_clock=lambda: self.now)

    async def believes(
        self, header: str | bytes | None = None, **transport: list[bytes]
    ) -> Identity:
        metadata: dict[str, Any] = {} if header is None else {"authorization": header}
        if transport:
            transport.setdefault("x509_pem_cert", [b"verified by gRPC"])
        caller = Caller(peer="ipv4:10.0.0.1:1", metadata=metadata, transport=transport)
        return await self._inner.authenticate(caller)

    async def refuses(self, header: str | bytes | None = None, **transport: list[bytes]) -> str:
        with pytest.raises(Unauthenticated) as caught:
            await self.believes(header, **transport)
        return caught.value.metadata["detail"]


@pytest.fixture
def fixed(tmp_path: Path) -> Fixed:
    return Fixed(tmp_path, UPLOADS + ANN)


async def test_a_token_says_who_calls(fixed: Fixed) -> None:
    assert (await fixed.believes(f"Bearer {TOKEN}")).name == "uploads"
    assert (await fixed.believes(f"bearer  {OTHER}")).tenant == "forum"


@pytest.mark.parametrize(
    ("header", "detail"),
    [
        (f"Bearer {TOKEN}x", "UNKNOWN_TOKEN"),
        (f"Bearer {token_digest(TOKEN)}", "UNKNOWN_TOKEN"),  # the file itself opens nothing
        (f"Bearer {TOKEN} ", "MALFORMED"),
        (f"Bearer {TOKEN}\n", "MALFORMED"),
        ("Bearer ", "MALFORMED"),
        ("", "MALFORMED"),
        (TOKEN, "MALFORMED"),
        (f"Basic {TOKEN}", "MALFORMED"),
        (f"Bearer {'a' * 513}", "MALFORMED"),
        (b"Bearer x", "MALFORMED"),
        (None, "NO_CREDENTIALS"),
    ],
)
async def test_anything_else_is_refused(
    fixed: Fixed, header: str | bytes | None, detail: str
) -> None:
    assert await fixed.refuses(header) == detail


@pytest.mark.parametrize(
    "names",
    [
        {"peer_uri": [b"spiffe://example.com/ann"], "x509_subject_alternative_name": [b"x"]},
        {"peer_dns": [b"other", b"ANN.example.com"], "x509_subject_alternative_name": [b"x"]},
        {"x509_common_name": [b"Ann of the forum"]},
    ],
    ids=["uri", "dns", "common name"],
)
async def test_a_certificates_name_says_who_calls(
    fixed: Fixed, names: dict[str, list[bytes]]
) -> None:
    assert (await fixed.believes(**names)).name == "ann@example.com"


@pytest.mark.parametrize(
    "names",
    [
        {"peer_dns": [b"spiffe://example.com/ann"]},  # another kind of name
        {"peer_email": [b"ann.example.com"]},
        {"peer_uri": [b"spiffe://example.com/ann\0"]},
        {"peer_uri": [b"\xff"]},
        {"x509_common_name": [b"ann of the forum"]},  # case counts
        {"x509_common_name": [b"Ann of the forum"], "x509_subject_alternative_name": [b"a@b"]},
    ],
)
async def test_a_name_must_be_of_its_kind(fixed: Fixed, names: dict[str, list[bytes]]) -> None:
    assert await fixed.refuses(**names) == "UNKNOWN_CERTIFICATE"


def test_a_common_name_counts_only_where_there_is_no_other() -> None:
    names = {"x509_common_name": [b"ann"], "x509_subject_alternative_name": [b"a@b"]}
    assert certificate_names(names) == ()
    assert certificate_names({"x509_common_name": [b"ann"]}) == ("CN:ann",)


async def test_a_certificate_of_two_callers_is_nobodys(tmp_path: Path) -> None:
    uploads = UPLOADS + 'certificates = ["DNS:uploads"]\n'
    fixed = Fixed(tmp_path, uploads + ANN)
    detail = await fixed.refuses(peer_dns=[b"uploads", b"ann.example.com"])
    assert detail == "AMBIGUOUS_CERTIFICATE"
    assert (await fixed.believes(peer_dns=[b"uploads", b"unknown"])).name == "uploads"


async def test_a_token_counts_before_a_certificate_and_a_bad_one_alone(fixed: Fixed) -> None:
    names = {"peer_uri": [b"spiffe://example.com/ann"]}
    assert (await fixed.believes(f"Bearer {TOKEN}", **names)).name == "uploads"
    assert await fixed.refuses("Bearer wrong", **names) == "UNKNOWN_TOKEN"


async def test_a_callers_time_ends(fixed: Fixed) -> None:
    fixed.now = 1801439999.0
    assert await fixed.believes(f"Bearer {OTHER}")
    fixed.now = 1801440000.0
    assert await fixed.refuses(f"Bearer {OTHER}") == "EXPIRED"
    assert await fixed.refuses(peer_dns=[b"ann.example.com"]) == "EXPIRED"
    assert await fixed.believes(f"Bearer {TOKEN}")


async def test_a_token_is_replaced_without_a_moment_in_which_none_is_good(fixed: Fixed) -> None:
    new = new_token()
    both = UPLOADS.replace(token_digest(TOKEN), f'{token_digest(TOKEN)}", "{token_digest(new)}')
    write(fixed.path, both)
    await fixed.kept.look()
    assert await fixed.believes(f"Bearer {TOKEN}") == await fixed.believes(f"Bearer {new}")
    write(fixed.path, UPLOADS.replace(token_digest(TOKEN), token_digest(new)))
    await fixed.kept.look()
    assert await fixed.refuses(f"Bearer {TOKEN}") == "UNKNOWN_TOKEN"
    assert await fixed.believes(f"Bearer {new}")


@pytest.mark.parametrize("text", ["", UPLOADS[: len(UPLOADS) // 2], UPLOADS + "rolls = []\n"])
async def test_a_bad_file_leaves_the_old_callers_in_force(fixed: Fixed, text: str) -> None:
    write(fixed.path, text)
    await fixed.kept.look()
    assert (await fixed.believes(f"Bearer {OTHER}")).name == "ann@example.com"
    assert [call["ok"] for call in fixed.metrics.named("file_reload")] == [True, False]


async def test_a_caller_who_is_taken_out_is_unknown(fixed: Fixed) -> None:
    write(fixed.path, ANN)
    await fixed.kept.look()
    assert await fixed.refuses(f"Bearer {TOKEN}") == "UNKNOWN_TOKEN"


def test_certificates_that_nobody_could_show_are_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"without server\.tls_client_ca nobody"):
        Fixed(tmp_path, ANN, client_ca=False)
