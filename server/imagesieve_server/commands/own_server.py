"""The command ``serve`` as the child of another command: on Linux it ends when that does, however
it does.

A bench or a demo that is killed could not stop its server, which would go on for ever beside
whatever is measured next. Run as ``python -m imagesieve_server.commands.own_server PARENT serve``
(the process id of the other command, which may have ended by now).
"""

from __future__ import annotations

import sys

from imagesieve_server.child_process import die_with_the_parent
from imagesieve_server.commands import main

if __name__ == "__main__":
    die_with_the_parent(int(sys.argv[1]))
    raise SystemExit(main(sys.argv[2:]))
