"""Who asks: the session of a request, signing in and out.

Knows cookies, the trusted proxy's header, and forms' tokens. What a person may do once
signed in is the pages' business.
"""

from __future__ import annotations

import hmac
import ipaddress
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from imagesieve_server.console.accounts import Account
from imagesieve_server.console.login_limit import LoginLimit
from imagesieve_server.console.passwords import Passwords, TooManyChecks
from imagesieve_server.console.sessions import Session, Sessions
from imagesieve_server.core.errors import ConfigError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

WRONG = "Name and password do not match."
TOO_OFTEN = "Too many attempts. Wait five minutes and try again."
BUSY = "Too many people sign in just now. Try again in a moment."


class Forbidden(Exception):
    """The request is not one that this person's own page made, or may make."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A proxy in front, which may have signed people in already and name them in a header."""

    header: str  # "" where it names nobody
    networks: tuple[Network, ...] = ()  # only from here that and X-Forwarded-For are believed


def proxy_of(*, header: str, addresses: str) -> Proxy:
    """From the settings. Raises ConfigError."""
    names = [part.strip() for part in addresses.split(",") if part.strip()]
    if header and not names:
        raise ConfigError("console.proxy_header needs console.proxy_addresses")
    try:
        networks = tuple(ipaddress.ip_network(name) for name in names)
    except ValueError as error:
        raise ConfigError(f"console.proxy_addresses: {error}") from None
    return Proxy(header=header, networks=networks)


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningIn:
    """Sessions by cookie."""

    sessions: Sessions
    passwords: Passwords
    limit: LoginLimit
    secure: bool  # cookies travel over TLS alone
    proxy: Proxy = field(default_factory=lambda: Proxy(header=""))

    @property
    def cookie(self) -> str:
        """The cookie's name; the prefix makes browsers refuse one from a sister domain."""
        return "__Host-imagesieve" if self.secure else "imagesieve"

    async def session(self, request: Request) -> tuple[Session | None, str]:
        """Who asks, and the value of a cookie to set where the proxy vouched for somebody new.

        Raises Forbidden where the proxy names somebody without an account.
        """
        session = await self.of_cookie(request)
        name = self._named(request)
        if name is None:
            return session, ""
        account = self.sessions.account(name)
        if account is None:
            raise Forbidden("You are signed in, but have no account for reviewing here.")
        if session is not None and session.account.name == account.name:
            return session, ""
        if session is not None:
            await self.sessions.end(session)
        fresh = await self.sessions.begin(account)
        return await self.sessions.find(fresh), fresh

    async def of_cookie(self, request: Request) -> Session | None:
        """The session that the browser's cookie belongs to, whoever the proxy names."""
        value = request.cookies.get(self.cookie, "")
        return await self.sessions.find(value) if value else None

    async def sign_in(self, request: Request, *, name: str, password: str) -> str | Account:
        """The account that name and password belong to, or what to tell whoever tried."""
        address = self._address(request)
        name = name[:256]
        if not self.limit.begin(name=name, address=address):
            return TOO_OFTEN
        account = self.sessions.account(name)
        try:
            right = await self.passwords.matches(account.password if account else "", password)
        except TooManyChecks:
            return BUSY
        if account is None or not right:
            return WRONG
        self.limit.succeeded(name=name, address=address)
        return account

    def set_cookie(self, response: Response, value: str) -> None:
        """A session cookie: gone with the browser, unseen by scripts and other sites."""
        response.set_cookie(
            self.cookie, value, path="/", httponly=True, samesite="strict", secure=self.secure
        )

    def clear_cookie(self, response: Response) -> None:
        response.delete_cookie(
            self.cookie, path="/", httponly=True, samesite="strict", secure=self.secure
        )

    def _named(self, request: Request) -> str | None:
        """Whom the proxy names; None where the request does not come through it."""
        if not self.proxy.header or not self._is_proxied(request):
            return None
        names = request.headers.getlist(self.proxy.header)
        if len(names) > 1:
            raise Forbidden("The proxy names several people.")
        return names[0] if names and names[0] else None

    def _address(self, request: Request) -> str:
        """Whose attempts are counted together: behind the proxy everybody has its address, and
        one stranger's guesses would shut out all."""
        peer = request.client.host if request.client else ""
        if not self._is_proxied(request):
            return peer
        # The last one is the proxy's own word; those before it may be the browser's.
        told = ",".join(request.headers.getlist("X-Forwarded-For")).rpartition(",")[2].strip()
        return told if _parsed(told) else peer

    def _is_proxied(self, request: Request) -> bool:
        peer = _parsed(request.client.host) if request.client else None
        return peer is not None and any(peer in network for network in self.proxy.networks)


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address; one of IPv4 as such, too, where a socket for both kinds writes it as of IPv6."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


Form = Mapping[str, list[str]]


async def read_form(request: Request, session: Session | None) -> Form:
    """The fields of a posted form. Raises Forbidden where the session's token is missing."""
    try:
        body = await request.body()
        form = urllib.parse.parse_qs(
            body.decode(), keep_blank_values=True, strict_parsing=bool(body), max_num_fields=200
        )
    except (ValueError, ClientDisconnect):
        raise Forbidden("The form cannot be read.") from None
    if session is not None:
        given = form.get("csrf", [""])[0]
        if not hmac.compare_digest(given.encode(), session.csrf.encode()):
            raise Forbidden("The page was too old. Load it again.")
    return form


def field_of(form: Form, name: str, *, limit: int = 4096) -> str:
    """One field's text, "" where it is missing."""
    return form.get(name, [""])[0][:limit].strip()


def for_leads(session: Session) -> None:
    """Raises Forbidden for everybody else."""
    if not session.account.role.leads:
        raise Forbidden("This page is for leads.")
