"""The worked example of docs/how-to/change-a-policy.md, word for word, on a real server."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imagesieve import Client
from imagesieve_server.commands import main
from imagesieve_server.commands.demo import read_pictures
from imagesieve_server.commands.local_server import LocalServer, start_server
from imagesieve_server.demo_data import DEMO_IMAGES, DEMO_POLICY_SOURCE
from imagesieve_server.policy_files import compiled

pytestmark = [pytest.mark.embeddings, pytest.mark.timeout(300)]

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "change-a-policy.md"
CHANGE = re.compile(r"  - id: (\w+)\n    (\w+: \S+) → (\S+)")


def commands_below(title: str) -> list[str]:
    """The page's shell lines from one heading to the next."""
    section = PAGE.read_text(encoding="utf-8").split(f"{title}\n", 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def run(lines: list[str]) -> None:
    assert lines
    for line in lines:
        words = shlex.split(line)
        if words[0] == "imagesieve-server":
            assert main(words[1:]) == 0, line
        else:
            subprocess.run(words, check=True)


def edit(source: Path) -> None:
    """The change that the page describes."""
    found = CHANGE.search(PAGE.read_text(encoding="utf-8"))
    assert found
    category, before, after = found.groups()
    head, _, tail = source.read_text(encoding="utf-8").partition(f"- id: {category}\n")
    key = before.partition(":")[0]
    source.write_text(
        head + f"- id: {category}\n" + tail.replace(before, f"{key}: {after}", 1), encoding="utf-8"
    )


def wait_for(ready: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def upload_all(server: LocalServer, round_: str) -> dict[str, str]:
    """Verdicts of the demo's pictures, by file."""
    with Client(server.target) as client:
        return {
            picture.file: client.moderate(
                DEMO_IMAGES / picture.file, request_id=f"{round_}-{picture.file}"
            ).verdict.value
            for picture in read_pictures(DEMO_IMAGES)
        }


def shadow_counts(server: LocalServer) -> dict[tuple[str, str], int]:
    found = {}
    for name, value in server.metrics().items():
        if name.startswith("imagesieve_shadow_verdicts_total"):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', name))
            if value:
                found[labels["live"], labels["shadow"]] = int(value)
    return found


def test_the_page_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(DEMO_POLICY_SOURCE, "demo.yaml")
    run(commands_below("# Changing a policy"))
    settings = {
        "IMAGESIEVE__POLICIES__SHADOW_FOLDER": "shadows",
        "IMAGESIEVE__POLICIES__WATCH_SECONDS": "0.1",
        "IMAGESIEVE__EMBEDDINGS__FOLDER": "embeddings",
        "IMAGESIEVE__EMBEDDINGS__FLUSH_SECONDS": "0.2",
        "IMAGESIEVE__LOG__LEVEL": "info",
    }
    with start_server(folder=tmp_path, policies=Path("policies"), **settings) as server:
        before = upload_all(server, "before")
        kept = "imagesieve_embeddings_kept_total"
        wait_for(lambda: server.metrics()[kept] >= len(before), "nothing was kept")
        edit(Path("demo.yaml"))
        run(commands_below("## 2. Edit and compile beside the policy in force"))
        new = compiled.read(Path("new.policy.npz")).policy.version

        capsys.readouterr()
        run(commands_below("## 3. Compare"))
        told = capsys.readouterr().out
        data = json.loads(Path("diff.json").read_text())

        run(commands_below("## 4. Let it run in shadow"))
        info = f'imagesieve_shadow_info{{policy="demo",shadow_version="{new}"}}'
        wait_for(lambda: info in server.metrics(), "the shadow was not taken up")
        live = upload_all(server, "shadow")
        wait_for(lambda: sum(shadow_counts(server).values()) == len(live), "not scored")
        in_shadow = shadow_counts(server)

        run(commands_below("## 5. Put it in force"))
        in_force = f'policy_version="{new}"'
        wait_for(
            lambda: any("policy_info" in n and in_force in n for n in server.metrics()), "not live"
        )
        after = upload_all(server, "after")
        wait_for(lambda: info not in server.metrics(), "the shadow did not go")

    assert "death" in told
    assert "review_at: 0.6 → 0.3" in told
    assert live == before
    changes = {(before[file], after[file]) for file in before}
    assert ("ALLOW", "REVIEW") in changes  # the example shows something
    by_upload = {pair: sum((before[f], after[f]) == pair for f in before) for pair in changes}
    # What the comparison foretold and what the shadow counted is what came.
    assert in_shadow == by_upload
    foretold = {
        (a, b): count for a, row in data["verdicts"].items() for b, count in row.items() if count
    }
    assert foretold == by_upload
    assert data["judged_by_a_before"] == {"images": len(before), "otherwise": 0}
