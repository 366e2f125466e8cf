"""Processes of a server that do nothing but talk to their supervisor."""

from __future__ import annotations

import sys

from imagesieve_server.config import Settings
from imagesieve_server.processes.one_process import OneProcess, start_process
from imagesieve_server.processes.orders import Orders, Part

_CODE = """
import json, os, signal, socket, sys, time
control = socket.socket(fileno=int(sys.argv[1]))
lines = control.makefile("rb")
json.loads(lines.readline())
{before}
control.sendall(b'{{"ready": {{"provider": "{provider}", "policies": []}}}}\\n')
while line := lines.readline():
    {answer}
"""


class StandIn:
    """What the next of them does; lines of Python."""

    def __init__(
        self, *, before: str = "", answer: str = "control.sendall(b'0\\n')", provider: str = ""
    ) -> None:
        self.before = before  # it is ready
        self.answer = answer  # to each question
        self.provider = provider  # that it says it computes with

    async def start(self, orders: Orders) -> OneProcess:
        code = _CODE.format(before=self.before, answer=self.answer, provider=self.provider)
        return await start_process(orders, command=(sys.executable, "-c", code))


def order(name: str, part: Part = Part.FRONT_END) -> Orders:
    """What stand-ins do not look at; standard error is a descriptor that is always there."""
    return Orders(part=part, name=name, meeting=2, settings=Settings())
