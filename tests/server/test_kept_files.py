"""Files whose content is in force until a good new one takes its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagesieve_server.core.errors import ConfigError
from imagesieve_server.kept_files import Kept
from imagesieve_server.testing import RecordingMetrics


def read_number(contents: tuple[bytes, ...]) -> int:
    try:
        return sum(int(content) for content in contents)
    except ValueError:
        raise ConfigError("not a number") from None


@pytest.fixture
def metrics() -> RecordingMetrics:
    return RecordingMetrics()


@pytest.fixture
def kept(tmp_path: Path, metrics: RecordingMetrics) -> Kept[int]:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("10")
    applied: list[int] = []
    kept = Kept(
        name="numbers",
        paths=[tmp_path / "a", tmp_path / "b"],
        read=read_number,
        metrics=metrics,
        applied=applied.append,
    )
    kept.load()
    assert (kept.value, applied) == (11, [11])
    return kept


def results(metrics: RecordingMetrics) -> list[bool]:
    return [call["ok"] for call in metrics.named("file_reload")]


async def test_a_change_of_either_file_comes_into_force(
    kept: Kept[int], tmp_path: Path, metrics: RecordingMetrics
) -> None:
    (tmp_path / "b").write_text("20")
    await kept.look()
    assert kept.value == 21
    (tmp_path / "a").write_text("2")
    await kept.look()
    assert kept.value == 22
    assert results(metrics) == [True, True, True]


async def test_files_that_stay_are_not_read_again(
    kept: Kept[int], tmp_path: Path, metrics: RecordingMetrics
) -> None:
    await kept.look()
    os.utime(tmp_path / "a")
    await kept.look()
    assert results(metrics) == [True]


async def test_a_replacement_of_the_same_age_and_size_is_seen(
    kept: Kept[int], tmp_path: Path
) -> None:
    before = (tmp_path / "a").stat()
    (tmp_path / "a").write_text("2")
    os.utime(tmp_path / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
    await kept.look()
    assert kept.value == 12


async def test_a_bad_file_leaves_the_old_value_and_is_told_once(
    kept: Kept[int],
    tmp_path: Path,
    metrics: RecordingMetrics,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "a").write_text("one")
    for _ in range(3):
        await kept.look()
    assert kept.value == 11
    assert results(metrics) == [True, False]
    (line,) = (vars(record) for record in caplog.records if record.levelname == "ERROR")
    assert (line["file"], line["problem"]) == ("numbers", "not a number")


async def test_the_old_file_put_back_is_good_again(
    kept: Kept[int], tmp_path: Path, metrics: RecordingMetrics
) -> None:
    for text in ("one", "1"):
        (tmp_path / "a").write_text(text)
        await kept.look()
    assert kept.value == 11
    assert results(metrics) == [True, False, True]


async def test_a_file_that_is_gone_leaves_the_old_value_until_it_returns(
    kept: Kept[int], tmp_path: Path, metrics: RecordingMetrics
) -> None:
    (tmp_path / "a").rename(tmp_path / "away")
    for _ in range(3):
        await kept.look()
    assert kept.value == 11
    (tmp_path / "away").rename(tmp_path / "a")
    await kept.look()
    assert results(metrics) == [True, False, True]


@pytest.mark.parametrize("text", [None, "one"])
def test_the_first_reading_must_succeed(
    tmp_path: Path, metrics: RecordingMetrics, text: str | None
) -> None:
    if text is not None:
        (tmp_path / "a").write_text(text)
    kept = Kept(name="numbers", paths=[tmp_path / "a"], read=read_number, metrics=metrics)
    with pytest.raises(ConfigError, match="not a number" if text else r"cannot read .*a: No such"):
        kept.load()
