"""Ports without models, codecs or processes: simple, complete implementations for tests.

They do real work on real values, only simpler: pictures are binary PPM files, an embedding is
the picture's mean colour, and a policy's prompts are colours. Public: embed the server in
your own tests with these.
"""

from imagesieve_server.testing.colours import (
    BLACK,
    BLUE,
    FINGERPRINT,
    GREEN,
    RED,
    WHITE,
    Colour,
    colour_policy,
    colour_vector,
    ppm,
)
from imagesieve_server.testing.embeddings import MemoryEmbeddings
from imagesieve_server.testing.metrics import RecordingMetrics
from imagesieve_server.testing.parts import (
    FakeDecoder,
    FakeEncoder,
    FakePreviews,
    FreePlace,
    StaticPolicies,
)
from imagesieve_server.testing.row_encoder import FaultyRowEncoder

__all__ = [
    "BLACK",
    "BLUE",
    "FINGERPRINT",
    "GREEN",
    "RED",
    "WHITE",
    "Colour",
    "FakeDecoder",
    "FakeEncoder",
    "FakePreviews",
    "FaultyRowEncoder",
    "FreePlace",
    "MemoryEmbeddings",
    "RecordingMetrics",
    "StaticPolicies",
    "colour_policy",
    "colour_vector",
    "ppm",
]
