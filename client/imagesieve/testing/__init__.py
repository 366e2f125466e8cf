"""A server for your own tests: in this process, on a free port of 127.0.0.1, without a model.

    from imagesieve import Client
    from imagesieve.testing import FakeServer, flag

    with FakeServer(lambda request: flag("weapons")) as server, Client(server.target) as client:
        assert client.moderate(b"any bytes").verdict == "REVIEW"
        assert server.queue.items[0].category == "weapons"

It speaks the real protocol over a real socket, so retries, timeouts and typed errors are the
client's own. It judges nothing: a rule of yours gives each answer. ``in_turn`` scripts several,
``undecided`` is the answer of a server that cannot answer, ``fail_next`` and ``set_latency``
make it fail and slow.
"""

from imagesieve.testing.queue import FakeQueue
from imagesieve.testing.rules import (
    ReceivedRequest,
    Rule,
    allow,
    by_sha256,
    flag,
    in_turn,
    undecided,
)
from imagesieve.testing.server import FakeServer

__all__ = [
    "FakeQueue",
    "FakeServer",
    "ReceivedRequest",
    "Rule",
    "allow",
    "by_sha256",
    "flag",
    "in_turn",
    "undecided",
]
