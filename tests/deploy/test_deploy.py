"""The files of deploy/ agree with the code: settings, ports, files that are copied."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from imagesieve import HealthStatus
from imagesieve.testing import FakeServer
from imagesieve_server import config

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def _yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


IMAGES = ("Dockerfile", "Dockerfile.gpu")
images = pytest.mark.parametrize("image", IMAGES)


def _instructions(image: str) -> list[tuple[str, str]]:
    """(instruction, rest) of a Dockerfile, continued lines joined."""
    text = (DEPLOY / image).read_text(encoding="utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]  # type: ignore[misc]


def _environment(text: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in shlex.split(text))


# --- settings ---------------------------------------------------------------------------------


def test_the_example_file_is_read_and_changes_nothing() -> None:
    assert config.load(DEPLOY / "imagesieve.example.toml", {}) == config.Settings()


def test_the_example_file_with_every_setting_taken_in_is_the_default(tmp_path: Path) -> None:
    text = (DEPLOY / "imagesieve.example.toml").read_text(encoding="utf-8")
    taken_in = tmp_path / "all.toml"
    taken_in.write_text(re.sub(r"^#(\w+ = )", r"\1", text, flags=re.MULTILINE), encoding="utf-8")
    assert "\n#" not in re.sub(r"\n# .*", "", taken_in.read_text(encoding="utf-8"))
    assert config.load(taken_in, {}) == config.Settings()


@images
def test_environments_of_image_and_compose_file_are_settings(image: str) -> None:
    built_in = {
        key: value
        for instruction, rest in _instructions(image)
        if instruction == "ENV"
        for key, value in _environment(rest).items()
    }
    compose = _yaml(DEPLOY / "compose.yaml")["services"]["imagesieve"]["environment"]
    assert config.load(None, built_in) != config.Settings()
    settings = config.load(None, {**built_in, **compose})
    assert settings.server.insecure
    assert settings.queue.database.startswith("/var/lib/imagesieve/")
    assert settings.queue.evidence.startswith("/var/lib/imagesieve/")


# --- image and compose file ---------------------------------------------------------------------


@images
def test_everything_the_image_copies_exists_and_is_in_the_context(image: str) -> None:
    ignored = (DEPLOY / f"{image}.dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    copied = [
        source
        for instruction, rest in _instructions(image)
        if instruction == "COPY" and "--from=" not in rest
        for source in rest.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
    assert set(copied) == let_in


@images
def test_the_image_runs_as_nobody_in_particular_and_names_its_ports(image: str) -> None:
    instructions = _instructions(image)
    names = [name for name, _ in instructions]
    last = dict(instructions)
    assert last["USER"].split(":")[0].isdigit()
    assert last["USER"].split(":")[0] != "0"
    assert names.index("USER") < names.index("ENTRYPOINT")
    defaults = config.Settings()
    ports = {
        defaults.server.address.rpartition(":")[2],
        defaults.metrics.address.rpartition(":")[2],
    }
    assert set(last["EXPOSE"].split()) == ports
    assert last["ENTRYPOINT"] == '["imagesieve-server"]'
    assert not [rest for name, rest in instructions if name == "RUN" and "torch" in rest]
    assert [rest for name, rest in instructions if name == "FROM"][-1] == "python:3.12-slim"


def test_the_image_for_gpus_differs_where_it_must_and_nowhere_else() -> None:
    plain, gpu = (_instructions(image) for image in IMAGES)
    differing = [
        (name, set(shlex.split(theirs)) ^ set(shlex.split(ours)))
        for (name, theirs), (also, ours) in zip(plain, gpu, strict=True)
        if name != also or theirs != ours
    ]
    visible = {"NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=compute,utility"}
    assert differing == [("RUN", {".[cpu,postgres,s3]", ".[gpu,postgres,s3]"}), ("ENV", visible)]


def test_what_the_image_for_gpus_installs_is_pinned_and_is_one_runtime() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (own, runtime) = project["project"]["optional-dependencies"]["gpu"]
    assert own == "imagesieve[server]"
    assert runtime.startswith("onnxruntime-gpu[cuda,cudnn]>=")
    pins = (DEPLOY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    versions = dict(line.split("==") for line in pins if "==" in line)
    assert versions["onnxruntime-gpu"] == versions["onnxruntime"]


def test_the_compose_file_for_gpus_asks_for_one_and_serves_on_nothing_else() -> None:
    service = _yaml(DEPLOY / "compose.gpu.yaml")["services"]["imagesieve"]
    assert (DEPLOY / ".." / service["build"]["dockerfile"]).exists()
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    plain = _yaml(DEPLOY / "compose.yaml")["services"]["imagesieve"]["environment"]
    settings = config.load(None, {**plain, **service["environment"]})
    assert settings.model.provider == "cuda"


def test_the_compose_file_publishes_on_this_machine_only() -> None:
    compose = _yaml(DEPLOY / "compose.yaml")
    for service in compose["services"].values():
        assert [port for port in service["ports"] if not port.startswith("127.0.0.1:")] == []
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            known = source in compose["volumes"] or (DEPLOY / source).exists()
            assert known, volume
    grace = int(compose["services"]["imagesieve"]["stop_grace_period"].removesuffix("s"))
    assert grace > config.Settings().server.drain_seconds


def test_the_compose_file_with_postgresql_is_one_of_several_servers() -> None:
    plain, shared = (
        _yaml(DEPLOY / name)["services"]["imagesieve"]["environment"]
        for name in ("compose.yaml", "compose.postgres.yaml")
    )
    settings = config.load(None, {**plain, **shared})
    assert settings.queue.is_postgres
    compose = _yaml(DEPLOY / "compose.postgres.yaml")
    named = {f"/run/secrets/{name}" for name in compose["secrets"]}
    assert {settings.server.secret_file, settings.queue.database_password_file} == named
    assert "ports" not in compose["services"]["database"]


def test_git_takes_in_no_secret_of_the_compose_files() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    secrets = _yaml(DEPLOY / "compose.postgres.yaml")["secrets"].values()
    assert len(secrets) == 2
    for secret in secrets:
        folder = (DEPLOY / secret["file"]).parent.relative_to(ROOT)
        assert f"/{folder}/" in ignored


def test_prometheus_scrapes_the_service_of_the_compose_file() -> None:
    (job,) = _yaml(DEPLOY / "prometheus" / "prometheus.yml")["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    host, _, port = target.partition(":")
    assert job["job_name"] == "imagesieve"
    assert host in _yaml(DEPLOY / "compose.yaml")["services"]
    assert port == config.Settings().metrics.address.rpartition(":")[2]


def _health_check(target: str) -> int:
    command = [sys.executable, str(DEPLOY / "healthcheck.py"), target]
    return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode


def test_the_health_check_tells_a_serving_server_from_none() -> None:
    with FakeServer() as server:
        assert _health_check(server.target) == 0
        target = server.target
    assert _health_check(target) == 1


def test_the_health_check_fails_where_the_server_does_not_serve() -> None:
    with FakeServer() as server:
        server.set_health(HealthStatus.NOT_SERVING)
        assert _health_check(server.target) == 1
