"""The command ``serve`` as the child of another command: it ends when that does, however it does.

A bench or a demo that is killed could not stop its server, which would go on for ever beside
whatever is measured next. Run as a module, as ``imagesieve_server`` is.
"""

from __future__ import annotations

import os

from imagesieve_server.child_process import die_with_the_parent
from imagesieve_server.commands import main

if __name__ == "__main__":
    die_with_the_parent(os.getppid())
    raise SystemExit(main())
