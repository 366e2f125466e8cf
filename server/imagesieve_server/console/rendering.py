"""The pages' templates: every value escaped, no template changed while it serves."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import jinja2
from starlette.responses import HTMLResponse

from imagesieve_server.console.words import ago, span

STATIC = Path(__file__).parent / "static"


class Templates:
    """Renders ``templates/*.html``."""

    def __init__(self) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.build = _build()
        self._environment.globals |= {"build": self.build, "ago": ago, "span": span}

    def page(self, name: str, /, *, status: int = 200, **values: Any) -> HTMLResponse:
        """One page as a response."""
        text = self._environment.get_template(name).render(**values)
        return HTMLResponse(text, status_code=status)


def _build() -> str:
    """Changes with the static files, so that browsers may keep them for long."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]
