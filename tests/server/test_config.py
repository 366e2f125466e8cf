"""Settings: every mistake is named, and the environment wins over the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesieve_server import config
from imagesieve_server.core.errors import ConfigError


def load(tmp_path: Path, text: str, **environ: str) -> config.Settings:
    path = tmp_path / "imagesieve.toml"
    path.write_text(text)
    return config.load(path, environ)


def test_defaults_need_no_file() -> None:
    settings = config.load(None, {"HOME": "/home/x"})
    assert settings.server.address == "127.0.0.1:50051"
    assert not settings.server.insecure


def test_file_then_environment(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        '[server]\naddress = "127.0.0.1:1"\n[model]\nhang_seconds = 5\n',
        IMAGESIEVE__SERVER__ADDRESS="[::1]:2",
        IMAGESIEVE__MODEL__THREADS="3",
        IMAGESIEVE__SERVER__INSECURE="true",
    )
    assert settings.server.address == "[::1]:2"
    assert settings.server.insecure
    assert settings.model.threads == 3
    assert settings.model.hang_seconds == 5.0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[sever]\n", "unknown section 'sever'"),
        ("[server]\nadress = 'x'\n", "server.adress: unknown setting"),
        ("[server]\naddress = 7\n", "server.address: must be text"),
        ("[server]\naddress = 'here'\n", "not host:port"),
        ("[server]\naddress = 'h:70000'\n", "not host:port"),
        ("[server]\ninsecure = 1\n", "true or false"),
        ("[server]\ntls_cert = 'c.pem'\n", "belong together"),
        ("[server]\ntls_client_ca = 'c.pem'\n", "tls_client_ca needs"),
        ("[server]\nwatch_seconds = 0\n", "more than 0"),
        ("[model]\nthreads = true\n", "a whole number"),
        ("[model]\nthreads = -1\n", "must not be negative"),
        ("[model]\nprovider = 'tpu'\n", "one of auto, cuda, cpu"),
        ("[images]\nmax_mib = 0\n", "more than 0"),
        ("[log]\nlevel = 'loud'\n", "log.level"),
        ("server = 3\n", "must be a table"),
        ("[server\n", "not valid TOML"),
    ],
)
def test_mistakes_in_the_file(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load(tmp_path, text)


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("IMAGESIEVE__SERVER__PORT", "1", "no such setting"),
        ("IMAGESIEVE__SEVER__ADDRESS", "1", "no such setting"),
        ("IMAGESIEVE__MODEL__THREADS", "many", "must be a whole number"),
        ("IMAGESIEVE__MODEL__THREADS", "1.5", "must be a whole number"),
    ],
)
def test_mistakes_in_the_environment(variable: str, value: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        config.load(None, {variable: value})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read"):
        config.load(tmp_path / "nowhere.toml", {})


SHARED = """[server]
secret_file = "s"
[queue]
evidence_shared = true
database = "postgresql://u@h/q"
"""


def test_a_database_that_servers_share_needs_what_they_share(tmp_path: Path) -> None:
    assert load(tmp_path, SHARED).queue.is_postgres
    with pytest.raises(ConfigError, match=r"queue\.evidence_shared: servers that share"):
        load(tmp_path, SHARED.replace("true", "false"))
    with pytest.raises(ConfigError, match=r"server\.secret_file: servers that share"):
        load(tmp_path, SHARED.replace('"s"', '""'))
    with pytest.raises(ConfigError, match="database_connections: must be more than 0"):
        load(tmp_path, SHARED + "database_connections = 0\n")


def test_several_front_ends_need_a_database_that_processes_share(tmp_path: Path) -> None:
    shared = SHARED.replace("[server]", "[server]\nfront_ends = 3")
    assert load(tmp_path, shared).server.front_ends == 3
    with pytest.raises(ConfigError, match=r"server\.front_ends: several processes cannot share"):
        load(tmp_path, "[server]\nfront_ends = 2\n")
    with pytest.raises(ConfigError, match=r"server\.front_ends: must be more than 0"):
        load(tmp_path, "[server]\nfront_ends = 0\n")
    with pytest.raises(ConfigError, match=r"queue\.evidence_shared: servers that share"):
        load(tmp_path, shared.replace("true", "false"))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2@h/q",
        "postgres://u:hunter2@h1,h2/q",
        "postgresql://h/q?user=u&password=hunter2",
        "postgresql://u:hunter2?@h/q",
        "postgresql://h/q?user=u&%70assword=hunter2",
        "postgresql://h/q?PASSWORD=hunter2",
        "mysql://u:hunter2@h/q",
    ],
)
def test_a_password_in_the_url_is_refused_and_not_shown(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, SHARED.replace("postgresql://u@h/q", url))
    assert "hunter2" not in str(caught.value)
    assert "queue.database" in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ('evidence = "gs://b/p"', "queue.evidence: must be a folder or like s3://bucket/prefix"),
        ('evidence = "s3://"', "queue.evidence: must be like s3://bucket"),
        ('evidence = "s3://b?x/p"', "queue.evidence: must be like s3://bucket"),
        ('evidence = "s3://key:secret@bucket/p"', "queue.evidence: must be like s3://bucket"),
        ('evidence = "s3://bucket/a//b"', "queue.evidence: a prefix may hold"),
        ('evidence = "s3://bucket/../b"', "queue.evidence: a prefix may hold"),
        ('evidence_endpoint = "objects:9000"', "queue.evidence_endpoint: must be like https"),
        ('evidence_endpoint = "ftp://objects"', "queue.evidence_endpoint: must be like https"),
        ('evidence_endpoint = "https://objects:x"', "queue.evidence_endpoint: must be like https"),
        ('evidence_endpoint = "https://k:s@objects"', "queue.evidence_endpoint: must be scheme"),
        ('evidence_endpoint = "https://objects/x"', "queue.evidence_endpoint: must be scheme"),
        ('evidence_endpoint = "http://objects:9000"', "would carry pictures unencrypted"),
        ('evidence_access_key = "k"', "evidence_access_key and .* belong together"),
        ('evidence_secret_key_file = "f"', "evidence_access_key and .* belong together"),
    ],
)
def test_a_bucket_that_cannot_be_meant_is_refused(tmp_path: Path, lines: str, problem: str) -> None:
    bucket = "" if lines.startswith("evidence =") else 'evidence = "s3://bucket/p"\n'
    with pytest.raises(ConfigError, match=problem) as caught:
        load(tmp_path, f"[queue]\n{bucket}{lines}\n")
    assert "secret@" not in str(caught.value)


@pytest.mark.parametrize(
    "lines",
    [
        'evidence = "s3://bucket"',
        'evidence = "s3://my.bucket-1/a/b.c/"\nevidence_endpoint = "https://objects:9000/"',
        'evidence = "s3://b-1"\nevidence_endpoint = "http://127.0.0.1:9000"',
        'evidence = "s3://b-1"\nevidence_endpoint = "http://o:9"\nevidence_insecure = true',
    ],
)
def test_a_bucket_counts_as_shared(tmp_path: Path, lines: str) -> None:
    text = SHARED.replace("evidence_shared = true", lines)
    assert load(tmp_path, text).queue.evidence_is_bucket
