"""The command ``serve``, which on SIGUSR1 writes to standard error what it has loaded.

Run as a module, as ``own_server.py`` is: ``launch(module="helpers.telling_server", ...)``.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from types import FrameType

from imagesieve_server.child_process import die_with_the_parent
from imagesieve_server.commands import main

LINE = "loaded: "


def _tell(number: int, frame: FrameType | None) -> None:
    loaded = {
        "modules": sorted(sys.modules),
        "threads": [thread.name for thread in threading.enumerate()],
    }
    print(LINE + json.dumps(loaded), file=sys.stderr, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _tell)
    die_with_the_parent(int(sys.argv[1]))
    raise SystemExit(main(sys.argv[2:]))
