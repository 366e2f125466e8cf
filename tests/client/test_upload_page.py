"""The how-to for upload services: its blocks run, in their order, in one namespace."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from imagesieve import Client
from imagesieve.command_manifest import read_manifest
from imagesieve.testing import FakeServer

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "upload.md"


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    return found


def test_its_python_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    with FakeServer() as server:
        for block in blocks("python"):
            before = names.get("client")
            exec(block.replace("127.0.0.1:50051", server.target), names)
            if isinstance(before, Client):
                before.close()
        assert server.count("ModerateBatch") == 1
    assert capsys.readouterr().out == "cat.jpg ALLOW\n"


@pytest.mark.parametrize(("language", "name"), [("csv", "m.csv"), ("json", "m.jsonl")])
def test_its_manifests_are_read(tmp_path: Path, language: str, name: str) -> None:
    (tmp_path / name).write_text(blocks(language)[0])
    (row,) = read_manifest(str(tmp_path / name))
    assert row.upload.content_ref == "post/7"
    assert row.upload.labels["lang"] == "de"
