"""The parts that are measured: encoder, decoder and a whole server, with the settings in force.

The server runs in a process of its own with a policy that flags nothing, so that no review queue
is measured by accident.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagesieve_server.assembly import limits_of, serving_options
from imagesieve_server.commands.bench.crew import Crew
from imagesieve_server.commands.bench.effort import Bench
from imagesieve_server.commands.local_server import OWN_SERVER, LocalServer, start_server
from imagesieve_server.core.ports import EncoderSpec
from imagesieve_server.core.views import Coverage
from imagesieve_server.encoders.bundle import Bundle
from imagesieve_server.encoders.opening import open_encoders
from imagesieve_server.encoders.text import OnnxTextEncoder
from imagesieve_server.images.decoder_pool import DecoderPool
from imagesieve_server.offline.compile_policy import compile_policy
from imagesieve_server.testing import RecordingMetrics

POLICY = """\
name: {coverage}
coverage: {coverage}
neutral: [a photo of an animal, a photo of food, a landscape]
categories:
  - {{id: weapons, severity: 3, prompts: [a handgun, a rifle], review_at: {{logit: 1000}}}}
  - {{id: drugs, severity: 2, prompts: [a syringe, a pill], review_at: {{logit: 1000}}}}
"""


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


def write_policies(folder: Path, bundle: Bundle) -> Path:
    """One compiled policy for each coverage, named after it; the folder they are in."""
    policies = folder / f"policies-{bundle.fingerprint[:12]}"
    if policies.exists():
        return policies
    policies.mkdir()
    texts = OnnxTextEncoder(bundle=bundle)
    for coverage in Coverage:
        source = folder / f"{coverage.value}.yaml"
        source.write_text(POLICY.format(coverage=coverage.value), encoding="utf-8")
        compile_policy(
            source_path=source,
            bundle=bundle,
            encode_texts=texts.encode,
            out=policies / f"{coverage.value}.policy.npz",
        )
    return policies


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
