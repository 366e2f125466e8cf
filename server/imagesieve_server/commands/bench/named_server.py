"""The command ``serve``, which besides says which of its threads is the encoder's.

A process's own name for a thread is not the kernel's, by which processor time is read; so it has
to be asked for inside. Run as a module with the settings in the environment.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading

from imagesieve_server import config, log_setup
from imagesieve_server.commands.serve import serve

ENCODER_THREAD = "encoder"
LINE = "encoder thread "


def main() -> int:
    settings = config.load(None, os.environ)
    log_setup.set_up(level=settings.log.level, style=settings.log.format)
    threading.Thread(target=_tell, daemon=True).start()
    asyncio.run(serve(settings))
    return 0


def _tell() -> None:
    """The thread is there before the server listens."""
    pause = threading.Event()
    while True:
        for thread in threading.enumerate():
            if thread.name == ENCODER_THREAD and thread.native_id is not None:
                print(f"{LINE}{thread.native_id}", file=sys.stderr, flush=True)
                return
        pause.wait(0.02)


if __name__ == "__main__":
    raise SystemExit(main())
