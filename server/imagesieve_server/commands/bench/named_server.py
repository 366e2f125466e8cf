"""The command ``serve``, which besides says which of its threads are the encoder's.

A process's own name for a thread is not the kernel's, by which processor time is read; so it has
to be asked for inside. Run as ``python -m imagesieve_server.commands.bench.named_server PARENT
serve``, as ``own_server.py`` is, with the settings in the environment.
"""

from __future__ import annotations

import sys
import threading

from imagesieve_server.child_process import die_with_the_parent
from imagesieve_server.commands import main

ENCODER_THREADS = "encoder"
"""What the names of sessions' threads begin with."""
LINE = "encoder thread "


def _tell() -> None:
    """The threads are there before the server listens, all begun in one go."""
    pause = threading.Event()
    while not _encoders():
        pause.wait(0.02)
    pause.wait(0.1)
    for number in _encoders():
        print(f"{LINE}{number}", file=sys.stderr, flush=True)


def _encoders() -> list[int]:
    return [
        thread.native_id
        for thread in threading.enumerate()
        if thread.name.startswith(ENCODER_THREADS) and thread.native_id is not None
    ]


if __name__ == "__main__":
    die_with_the_parent(int(sys.argv[1]))
    threading.Thread(target=_tell, daemon=True).start()
    raise SystemExit(main(sys.argv[2:]))
