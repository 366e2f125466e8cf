"""``imagesieve-server evaluate --from-decisions``: what is asked and printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.review_queue import Desk, ManualClock
from imagesieve_server.commands import main
from imagesieve_server.review_queue.sqlite import migrate_sqlite, open_sqlite

Printed = pytest.CaptureFixture[str]
WAY = ["evaluate", "--from-decisions"]


@pytest.fixture
def config(tmp_path: Path) -> list[str]:
    """The option that names the settings of a server with one rejected flag."""
    path = tmp_path / "queue.db"
    migrate_sqlite(path=path)
    clock = ManualClock()
    desk = Desk(store=open_sqlite(path=path, clock=clock), clock=clock)
    desk.keep("f1")
    desk.decide(desk.lease(), labels=("gun",))
    desk.store.close()
    settings = tmp_path / "imagesieve.toml"
    settings.write_text(f'[queue]\ndatabase = "{path}"\n')
    return ["--config", str(settings)]


def test_decisions_are_measured(config: list[str], tmp_path: Path, capsys: Printed) -> None:
    out = tmp_path / "recall.json"
    assert main([*WAY, *config, "--label", "gun=weapons", "--json", str(out)]) == 0
    told = capsys.readouterr().out
    assert "policy demo, version p1, since 2023-11-14" in told
    assert "weapons" in told
    assert "nothing was audited" in told
    (version,) = json.loads(out.read_text())["versions"]
    assert version["categories"][0]["precision"]["value"] == 1.0


@pytest.mark.parametrize("chosen", [["--policy", "other"], ["--since", "2023-11-15"],
                                    ["--tenant", "u"]])  # fmt: skip
def test_policy_day_and_tenant_choose(
    config: list[str], chosen: list[str], capsys: Printed
) -> None:
    assert main([*WAY, *config, *chosen]) == 0
    assert "No flag, sample or count of such a policy" in capsys.readouterr().out
    assert main([*WAY, *config, "--policy", "demo", "--since", "2023-11-14", "--tenant", "t"]) == 0
    assert "policy demo" in capsys.readouterr().out


def test_mistakes_are_named(config: list[str], tmp_path: Path, capsys: Printed) -> None:
    nothing = tmp_path / "nothing.toml"
    nothing.write_text(f'[queue]\ndatabase = "{tmp_path / "no.db"}"\n')
    assert main([*WAY, "--config", str(nothing)]) == 1
    assert "no.db cannot be read" in capsys.readouterr().err
    assert main([*WAY, *config, "--json", str(tmp_path / "no" / "r.json")]) == 1
    assert "--json: there is no folder" in capsys.readouterr().err
    assert main(["evaluate"]) == 1
    assert "give --labels and --images, or --from-decisions" in capsys.readouterr().err
    for wrong in (["--since", "yesterday"], ["--label", "gun"]):
        with pytest.raises(SystemExit):
            main([*WAY, *config, *wrong])
        assert wrong[1] in capsys.readouterr().err
