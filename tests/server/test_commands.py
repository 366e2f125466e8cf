"""The ``imagesieve-server`` command: what people read, and exit codes."""

from __future__ import annotations

import hashlib
import stat
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from imagesieve.command import main as client
from imagesieve_server.commands import local_server, main
from imagesieve_server.commands.demo import Picture, as_expected, read_pictures
from imagesieve_server.core.errors import StartupError
from imagesieve_server.demo_data import DEMO_BUNDLE, DEMO_IMAGES, DEMO_POLICY_SOURCE
from imagesieve_server.encoders.bundle import load_bundle
from imagesieve_server.encoders.opening import has_cuda
from imagesieve_server.encoders.text import OnnxTextEncoder
from imagesieve_server.offline.compile_policy import compile_in_memory, compile_policy

TLS = Path(__file__).parent.parent / "data" / "tls"
Printed = pytest.CaptureFixture[str]


@pytest.mark.parametrize(("command", "name"), [(main, "imagesieve-server"), (client, "imagesieve")])
def test_both_commands_say_their_release(
    command: Callable[[list[str]], int], name: str, capsys: Printed
) -> None:
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(command(["--version"]))
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"{name} {metadata.version('imagesieve')}\n"


def test_a_server_that_says_nothing_before_it_ends_is_told_from_a_slow_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StartupError, match=r"ended with status 0\n\(it said nothing\)"):
        local_server.launch(folder=tmp_path, module="this")
    monkeypatch.setattr(local_server, "START_LIMIT_S", 0.0)
    with pytest.raises(StartupError, match="was not ready within 0 s"):
        local_server.launch(folder=tmp_path)


def test_a_policy_is_checked(tmp_path: Path, capsys: Printed) -> None:
    assert main(["policy", "check", str(DEMO_POLICY_SOURCE)]) == 0
    assert "no mistakes found" in capsys.readouterr().out
    bad = tmp_path / "bad.yaml"
    bad.write_text(DEMO_POLICY_SOURCE.read_text().replace("severity: 4", "severity: 5", 1))
    assert main(["policy", "check", str(bad)]) == 1
    told = capsys.readouterr().err
    assert "bad.yaml:" in told
    assert "categories[0].severity" in told


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_an_unreadable_policy_is_named(
    tmp_path: Path, capsys: Printed, content: bytes | None
) -> None:
    path = tmp_path / "p.yaml"
    if content is not None:
        path.write_bytes(content)
    assert main(["policy", "check", str(path)]) == 1
    assert "p.yaml" in capsys.readouterr().err


def test_an_artefact_is_compiled_and_shown(tmp_path: Path, capsys: Printed) -> None:
    out = tmp_path / "demo.policy.npz"
    assert main(["policy", "compile", str(DEMO_POLICY_SOURCE), "--out", str(out)]) == 0
    assert " 0 reused" in capsys.readouterr().out
    assert main(["policy", "compile", str(DEMO_POLICY_SOURCE), "--out", str(out)]) == 0
    assert " 0 prompts encoded" in capsys.readouterr().out
    assert main(["policy", "show", str(out)]) == 0
    assert "weapons" in capsys.readouterr().out
    assert main(["policy", "show", "--source", str(out)]) == 0
    assert capsys.readouterr().out == DEMO_POLICY_SOURCE.read_text()


def test_an_artefact_is_written_to_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    out = tmp_path / "server" / "policies" / "demo.policy.npz"
    assert main(["policy", "compile", str(DEMO_POLICY_SOURCE), "--out", str(out)]) == 0
    assert main(["policy", "show", str(out)]) == 0


def test_an_artefact_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OnnxTextEncoder, "encode", lambda self, texts: np.ones((len(texts), 1)))
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "demo.policy.npz"
    assert main(["policy", "compile", str(DEMO_POLICY_SOURCE), "--out", str(out)]) == 1
    assert f"{out}: cannot be written: Not a directory" in capsys.readouterr().err


def test_a_policy_compiled_in_memory_is_the_same_and_writes_nothing(tmp_path: Path) -> None:
    source, out = tmp_path / "demo.yaml", tmp_path / "demo.policy.npz"
    source.write_text(DEMO_POLICY_SOURCE.read_text())
    bundle = load_bundle(DEMO_BUNDLE)
    encode = OnnxTextEncoder(bundle=bundle).encode
    found = compile_in_memory(source_path=source, bundle=bundle, encode_texts=encode)
    assert list(tmp_path.iterdir()) == [source]
    written = compile_policy(source_path=source, bundle=bundle, encode_texts=encode, out=out)
    assert found.policy.version == written.policy.version


def test_a_calibration_is_shown_and_a_stale_one_warned_of(tmp_path: Path, capsys: Printed) -> None:
    source, out = tmp_path / "demo.yaml", tmp_path / "demo.policy.npz"
    line = '    calibration: {method: platt, slope: 0.5, intercept: 2, fitted_on: "0123456789ab"}\n'
    limit = "    review_at: 0.60\n"
    source.write_text(DEMO_POLICY_SOURCE.read_text().replace(limit, limit + line, 1))
    assert main(["policy", "compile", str(source), "--out", str(out)]) == 0
    assert "warning: category 'weapons': prompts, model or views" in capsys.readouterr().out
    assert main(["policy", "show", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "platt 0.5, +2" in shown
    assert "warning: category 'weapons'" in shown


def test_audit_rates_are_shown_with_what_they_need(tmp_path: Path, capsys: Printed) -> None:
    source, out = tmp_path / "demo.yaml", tmp_path / "demo.policy.npz"
    rates = "audit: {rate: 0.001, near: [{within: 2, rate: 0.05}]}\n"
    source.write_text(DEMO_POLICY_SOURCE.read_text() + rates)
    assert main(["policy", "check", str(source)]) == 0
    assert "note: audit samples need server.secret_file" in capsys.readouterr().out
    assert main(["policy", "compile", str(source), "--out", str(out)]) == 0
    assert main(["policy", "show", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "audit    0.05 within 2 log-odds below a threshold, 0.001 of other allowed" in shown
    assert main(["policy", "check", str(DEMO_POLICY_SOURCE)]) == 0
    assert "secret_file" not in capsys.readouterr().out


def test_the_queue_is_migrated_and_counted(
    tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGESIEVE__QUEUE__DATABASE", str(tmp_path / "queue.sqlite3"))
    assert main(["queue", "migrate"]) == 0
    assert main(["queue", "stats"]) == 0
    assert "ready    0" in capsys.readouterr().out


def test_a_new_token_is_shown_once_with_the_line_that_knows_it(
    tmp_path: Path, capsys: Printed
) -> None:
    assert main(["caller", "new-token"]) == 0
    _, token, _, line = capsys.readouterr().out.splitlines()
    assert line == f'token_sha256 = ["{hashlib.sha256(token.encode()).hexdigest()}"]'
    out = tmp_path / "a.token"
    assert main(["caller", "new-token", "--out", str(out)]) == 0
    told = capsys.readouterr().out
    kept = out.read_text().strip()
    assert kept not in told
    assert hashlib.sha256(kept.encode()).hexdigest() in told
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert main(["caller", "new-token", "--out", str(out)]) == 1
    assert "a.token: File exists" in capsys.readouterr().err
    assert out.read_text().strip() == kept


def test_a_callers_file_is_checked(tmp_path: Path, capsys: Printed) -> None:
    path = tmp_path / "callers.toml"
    path.write_text(
        f"""[[caller]]
name = "ann"
tenant = "shop"
roles = ["reviewer", "admin"]
token_sha256 = ["{"a" * 64}"]
certificates = ["DNS:ann.shop"]
expires = 2027-01-31
"""
    )
    assert main(["caller", "check", str(path)]) == 0
    assert capsys.readouterr().out == (
        "ann: tenant shop, admin, reviewer; by 1 token(s), DNS:ann.shop; "
        "until 2027-01-31 23:59 UTC\n"
    )
    path.write_text(path.read_text().replace("reviewer", "viewer"))
    assert main(["caller", "check", str(path)]) == 1
    assert "callers.toml: caller[0] ('ann'): roles: unknown role" in capsys.readouterr().err
    assert main(["caller", "check", str(tmp_path / "none.toml")]) == 1
    assert "cannot read" in capsys.readouterr().err


def test_the_doctor_says_what_is_wrong(
    tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.count("ok ") == 13
    monkeypatch.setenv("IMAGESIEVE__MODEL__BUNDLE", str(tmp_path))
    assert main(["doctor"]) == 1
    assert "FAIL  model" in capsys.readouterr().out
    monkeypatch.setenv("IMAGESIEVE__MODEL__BUNDEL", "x")
    assert main(["doctor"]) == 1
    assert "FAIL  settings" in capsys.readouterr().out


@pytest.mark.skipif(has_cuda(), reason="this ONNX Runtime has CUDA")
def test_the_doctor_says_whether_a_gpu_could_be_used(
    capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["doctor"]) == 0
    assert "ok    gpu: not used, " in capsys.readouterr().out
    monkeypatch.setenv("IMAGESIEVE__MODEL__PROVIDER", "cuda")
    assert main(["doctor"]) == 1
    assert "FAIL  gpu: this ONNX Runtime has no CUDA: pip install" in capsys.readouterr().out


def test_the_doctor_reads_the_endpoints_of_webhooks(
    tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "webhooks.toml"
    entry = (
        '[[endpoint]]\nname = "uploads"\ntenant = "default"\n'
        f'url = "https://hooks.example/secret/path"\nsecrets = ["whsec_{"A" * 32}"]\n'
    )
    path.write_text(entry)
    monkeypatch.setenv("IMAGESIEVE__WEBHOOKS__ENDPOINTS", str(path))
    assert main(["doctor"]) == 0
    assert "ok    webhooks: uploads at https://hooks.example\n" in capsys.readouterr().out
    path.write_text(entry.replace("https", "http"))
    assert main(["doctor"]) == 1
    assert "FAIL  webhooks" in capsys.readouterr().out


@pytest.mark.embeddings
def test_the_doctor_looks_at_the_folder_of_embeddings(
    tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGESIEVE__EMBEDDINGS__FOLDER", str(tmp_path / "kept"))
    assert main(["doctor"]) == 0
    assert f"0 MiB in {tmp_path / 'kept'}, kept for 30 days" in capsys.readouterr().out
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("IMAGESIEVE__EMBEDDINGS__FOLDER", str(tmp_path / "file"))
    assert main(["doctor"]) == 1
    assert "FAIL  embeddings" in capsys.readouterr().out
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "pyarrow", None)
        assert main(["doctor"]) == 1
    assert "pip install 'imagesieve[embeddings]'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("IMAGESIEVE__SERVER__ADDRESS", "0.0.0.0:0", "reached from other machines"),
        ("IMAGESIEVE__SERVER__CALLERS", "/nowhere", "cannot read /nowhere"),
        ("IMAGESIEVE__MODEL__BUNDLE", "/nowhere", "bundle.json"),
        ("IMAGESIEVE__MODEL__PROVIDER", "cuda", "CUDA provider"),
        ("IMAGESIEVE__POLICIES__FOLDER", "/nowhere", "policy compile"),
        ("IMAGESIEVE__QUEUE__DATABASE", "/proc/none/queue.sqlite3", "/proc/none"),
        pytest.param(
            "IMAGESIEVE__EMBEDDINGS__FOLDER",
            "/proc/none",
            "the embeddings folder /proc/none is not writable",
            marks=pytest.mark.embeddings,
        ),
    ],
)
@pytest.mark.usefixtures("own_log")
def test_a_server_that_cannot_serve_says_why(
    tmp_path: Path,
    capsys: Printed,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMAGESIEVE__SERVER__ADDRESS", "127.0.0.1:0")
    monkeypatch.setenv("IMAGESIEVE__METRICS__ADDRESS", "127.0.0.1:0")
    monkeypatch.setenv(variable, value)
    assert main(["serve"]) == 1
    assert told in capsys.readouterr().err


def test_every_demo_picture_is_there_and_says_what_it_is() -> None:
    pictures = read_pictures(DEMO_IMAGES)
    assert all((DEMO_IMAGES / picture.file).is_file() for picture in pictures)
    assert {p.kind.partition(":")[0] for p in pictures} == {"ordinary", "flagged", "evasion"}


def test_a_surprise_is_a_surprise_in_both_directions() -> None:
    from imagesieve import Verdict

    ordinary = Picture(file="", kind="ordinary", category="")
    hidden = Picture(file="", kind="evasion:cmyk", category="weapons")
    assert as_expected(ordinary, Verdict.ALLOW)
    assert not as_expected(ordinary, Verdict.REVIEW)
    assert not as_expected(ordinary, Verdict.UNDECIDED)
    assert as_expected(hidden, Verdict.BLOCK)
    assert not as_expected(hidden, Verdict.ALLOW)


@pytest.mark.usefixtures("own_log")
def test_a_port_that_others_reach_needs_to_know_who_may_call(
    tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate of its own encrypts; it keeps nobody out."""
    monkeypatch.setenv("IMAGESIEVE__SERVER__ADDRESS", "0.0.0.0:0")
    monkeypatch.setenv("IMAGESIEVE__SERVER__TLS_CERT", str(TLS / "certificate.pem"))
    monkeypatch.setenv("IMAGESIEVE__SERVER__TLS_KEY", str(TLS / "key.pem"))
    assert main(["serve"]) == 1
    assert "nothing says who may call" in capsys.readouterr().err
