"""The wheel, installed alone with nothing but the base dependencies, is a working client."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = "numpy PIL onnxruntime sqlalchemy torch prometheus_client ruamel"

pytestmark = [pytest.mark.wheel, pytest.mark.timeout(600)]


def _run(*command: str | Path, expect: int = 0) -> str:
    """Output of a command that must end with ``expect``; nothing of this checkout is visible."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(word) for word in command],
        env=environment,
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == expect, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT)
    (built,) = folder.glob("imagesieve-*.whl")
    return built


@pytest.fixture(scope="module")
def bin_folder(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel and its base dependencies."""
    folder = tmp_path_factory.mktemp("client")
    _run("sh", ROOT / "deploy" / "make-venv.sh", folder / "venv")
    binaries = folder / "venv" / "bin"
    _run(
        binaries / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        "-c", ROOT / "deploy" / "constraints.txt", wheel,
    )  # fmt: skip
    return binaries


def test_the_wheel_has_both_packages_types_and_license(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"imagesieve", "imagesieve_server"}
    assert "imagesieve/py.typed" in names
    assert [name for name in names if name.endswith("licenses/LICENSE")]
    assert [name for name in names if "/demo_data/" in name and name.endswith(".policy.npz")]
    starters = {name for name in names if "/starter_policies/" in name and name.endswith(".yaml")}
    assert {Path(name).stem for name in starters} == {"starter_clip", "starter_siglip"}
    assert not [name for name in names if name.startswith(("tests/", "docs/"))]


def test_the_base_install_is_light(bin_folder: Path) -> None:
    check = f"import importlib.util as u\nprint([n for n in '{HEAVY}'.split() if u.find_spec(n)])"
    assert _run(bin_folder / "python", "-c", check).strip() == "[]"


def test_the_client_works_alone(bin_folder: Path) -> None:
    use = (
        "from imagesieve import Client\n"
        "from imagesieve.testing import FakeServer\n"
        "with FakeServer() as server, Client(server.target) as client:\n"
        "    print(client.moderate(b'any bytes').verdict.value)"
    )
    # gRPC may add a line of its own to standard error when a server goes.
    assert _run(bin_folder / "python", "-c", use).splitlines()[0] == "ALLOW"
    assert "moderate" in _run(bin_folder / "imagesieve", "--help")


def test_the_server_command_says_which_extra_to_install(bin_folder: Path) -> None:
    said = _run(bin_folder / "imagesieve-server", "serve", expect=1)
    assert "imagesieve[cpu]" in said
    assert "Traceback" not in said
