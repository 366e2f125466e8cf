"""A process that serves multiplies on the thread that asks: another would have to find a core."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SERVING = """
import json
from imagesieve_server.commands import main, serve
from threadpoolctl import threadpool_info

async def nothing(settings):
    pass

serve.serve = nothing
assert main(["serve"]) == 0
"""
CHILD = """
import json, socket
from imagesieve_server.config import Settings
from imagesieve_server.processes import child
from imagesieve_server.processes.orders import Orders, Part
from threadpoolctl import threadpool_info

async def nothing(orders, control):
    pass

child._run = nothing
child.die_with_the_parent = lambda parent: None
ours, theirs = socket.socketpair()
theirs.sendall(Orders(part=Part.LEADER, name="front-1", meeting=0, settings=Settings()).dump())
assert child.main([str(ours.detach()), "1"]) == 0
"""
TOLD = """
print(json.dumps([one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]))
"""


@pytest.mark.parametrize("program", [SERVING, CHILD], ids=["one process", "of several"])
def test_products_use_one_thread(program: str) -> None:
    """Of every library that multiplies for numpy, whatever the machine would give it."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "3"}
    done = subprocess.run(
        [sys.executable, "-c", program + TOLD],
        env=environment, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert found
    assert set(found) == {1}
