"""One real server with the demo model for the whole folder, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesieve import Client
from imagesieve_server.commands.local_server import LocalServer, start_server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with start_server(folder=tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def client(server: LocalServer) -> Iterator[Client]:
    with Client(server.target) as connected:
        yield connected


@pytest.fixture(scope="session")
def demo_images() -> Path:
    from imagesieve_server.demo_data import DEMO_IMAGES

    return DEMO_IMAGES
