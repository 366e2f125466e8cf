"""The parts that are measured: encoder, decoder and a whole server, with the settings in force.

The server runs in a process of its own with policies that flag nothing (``policies.py``).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagesieve_server.assembly import limits_of, serving_options
from imagesieve_server.commands.bench.crew import Crew
from imagesieve_server.commands.bench.effort import Bench
from imagesieve_server.commands.bench.policies import write_policies
from imagesieve_server.commands.local_server import OWN_SERVER, LocalServer, start_server
from imagesieve_server.core.ports import EncoderSpec
from imagesieve_server.core.views import Coverage
from imagesieve_server.encoders.bundle import Bundle
from imagesieve_server.encoders.opening import open_encoders
from imagesieve_server.images.decoder_pool import DecoderPool
from imagesieve_server.testing import RecordingMetrics


def open_crew(bench: Bench, bundle: Bundle | None = None) -> Crew:
    """The image encoder as the server opens it, warm."""
    return Crew(open_encoders(bundle or bench.bundle, serving_options(bench.settings)))


def decoder_pool(bench: Bench, spec: EncoderSpec, *, workers: int = 0) -> DecoderPool:
    """Decode workers as the server has them, not yet started."""
    return DecoderPool(
        preprocessing=spec.preprocessing,
        limits=limits_of(bench.settings),
        workers=workers or bench.settings.images.workers or bench.cores,
        queue_capacity=1024,
        metrics=RecordingMetrics(),
    )


@contextmanager
def server_of(
    bench: Bench, bundle: Bundle | None = None, *, module: str = OWN_SERVER, **settings: str
) -> Iterator[LocalServer]:
    """A server that serves the bundle, for the length of a block. Raises StartupError."""
    served = bundle or bench.bundle
    with start_server(
        folder=Path(tempfile.mkdtemp(dir=bench.folder)),  # a queue of its own
        bundle=served.folder,
        policies=write_policies(bench.folder, served),
        module=module,
        IMAGESIEVE__POLICIES__DEFAULT=Coverage.CENTRE.value,
        **bench.server_settings(**settings),
    ) as server:
        yield server
