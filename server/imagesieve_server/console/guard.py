"""What holds for every request: known hosts, own origin, small bodies, strict headers.

Knows HTTP headers and nothing of sessions. A page of another site cannot make a browser act
here: its Origin is not ours, and its cookie is not sent.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import MutableMapping
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES: Final = 64 * 1024

_CSP: Final = "; ".join(
    [
        "default-src 'none'",
        "img-src 'self'",
        "style-src 'self'",
        "script-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
)
HEADERS: Final = {
    "Content-Security-Policy": _CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Nothing to other sites; with no-referrer our own forms would send "Origin: null".
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "X-Robots-Tag": "noindex",
}


class Guard:
    """ASGI middleware around the whole site."""

    def __init__(self, app: ASGIApp, *, origins: frozenset[str], secure: bool) -> None:
        """``origins``: how browsers may name this site, for example https://review.example.com.
        ``secure``: it is only ever reached over TLS."""
        self._app = app
        self._origins = origins
        self._hosts = {urllib.parse.urlsplit(origin).netloc.lower() for origin in origins}
        self._headers = dict(HEADERS)
        if secure:
            self._headers["Strict-Transport-Security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                # Whatever is behind a sign-in is kept by no cache; static files say otherwise.
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        if refusal:
            await PlainTextResponse(*refusal)(scope, receive, guarded_send)
            return
        await self._app(scope, _bounded(receive), guarded_send)

    def _refusal(self, scope: MutableMapping[str, Any]) -> tuple[str, int] | None:
        headers = Headers(scope=scope)
        if headers.get("host", "").lower() not in self._hosts:
            # A name that an attacker's DNS points here would make this site theirs.
            return ("This site is not known under this name.", 421)
        if scope["method"] in ("GET", "HEAD"):
            return None
        if scope["method"] != "POST":
            return ("Method not allowed.", 405)
        site = headers.get("sec-fetch-site", "same-origin")  # not every browser says
        if headers.get("origin", "").lower() not in self._origins or site != "same-origin":
            return ("Only this site's own pages may send this.", 403)
        length = headers.get("content-length", "")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            return ("The form is too large, or does not say how large it is.", 413)
        return None


def _bounded(receive: Receive) -> Receive:
    """Whatever a header announced, no more than the limit is read."""
    seen = 0

    async def bounded() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > MAX_BODY_BYTES:
            return {"type": "http.disconnect"}
        return message

    return bounded
