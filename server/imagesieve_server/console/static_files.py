"""The style sheet, the script and the icon: kept by browsers for long, since each page names them
with the build that they belong to.

Knows files and how long they are good; nothing of what is behind a sign-in is here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_GOOD: Final = "public, max-age=31536000, immutable"
_ASK: Final = "no-cache"
"""Of another build: a server beside this one has it, which may be newer."""


class BuildFiles(StaticFiles):
    """The files of ``folder``; what is asked for as of ``build`` never changes."""

    def __init__(self, folder: Path, *, build: str) -> None:
        super().__init__(directory=folder)
        self._asked = build.encode()

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        ours = scope["query_string"] == self._asked
        response.headers["Cache-Control"] = _GOOD if ours else _ASK
        return response
