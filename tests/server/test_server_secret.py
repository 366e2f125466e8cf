"""One secret, a key for each purpose, the same on all servers that share the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesieve_server.core.errors import ConfigError
from imagesieve_server.server_secret import MIN_BYTES, Purpose, ServerSecret, load_secret


def test_servers_that_share_the_file_have_the_same_keys(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"s" * 40)
    (tmp_path / "b").write_bytes(b"s" * 40 + b"\n")
    keys = {load_secret(str(tmp_path / name)).key(Purpose.FRAMES) for name in "ab"}
    assert keys == {ServerSecret(b"s" * 40).key(Purpose.FRAMES)}
    assert len(keys.pop()) == 32


def test_another_secret_makes_another_key_and_none_is_the_secret() -> None:
    raw = b"s" * 32
    assert ServerSecret(raw).key(Purpose.FRAMES) != ServerSecret(b"t" * 32).key(Purpose.FRAMES)
    assert ServerSecret(raw).key(Purpose.FRAMES) != raw


def test_without_a_file_every_start_has_its_own() -> None:
    assert load_secret("").key(Purpose.FRAMES) != load_secret("").key(Purpose.FRAMES)


@pytest.mark.parametrize("content", [None, b"", b" " * 64, b"s" * (MIN_BYTES - 1)])
def test_a_secret_that_is_missing_or_short_stops_the_start(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"server\.secret_file"):
        load_secret(str(path))
