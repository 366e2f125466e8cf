"""Sessions: who is signed in, until when, and what they have in hand.

Kept on disk, so that a restart of the server does not sign anybody out in mid-review. A
session ends when it was idle too long, when it is too old, and when its account changed.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import secrets
import weakref
from collections.abc import Callable
from dataclasses import dataclass

from imagesieve_server.console.accounts import Account, Accounts
from imagesieve_server.console.database import ConsoleDatabase, Deed, SessionRow

_SEEN_EVERY_S = 60.0  # not every look is worth a write
_REMEMBERED = 50  # items skipped and revealed that a session remembers


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a session has in hand. The lease's token stays here: browsers never see it."""

    claim_id: str = ""  # of the claim under way or in hand; made before it, so that it repeats
    tier: int = 0  # that the claim asked for
    item_id: str = ""  # in hand; "" where nothing is
    token: str = ""
    last_item_id: str = ""  # the last decision, for undo
    last_decision_id: str = ""
    last_outcome: str = ""
    nothing: bool = False  # the last claim found none for this person
    message: str = ""  # told on the next page, once
    decided: int = 0  # in this session
    busy_since: float = 0.0  # Unix time: since when without a break
    last_at: float = 0.0  # when an item was taken last
    highest: int = 4  # the highest severity that came last: below 4, a limit was reached
    skipped: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()  # that the person wants to come; none: all
    revealed: tuple[str, ...] = ()

    def without_item(self) -> Work:
        """Nothing in hand any more."""
        return dataclasses.replace(self, claim_id="", tier=0, item_id="", token="")

    def remembering(self, *, skipped: str = "", revealed: str = "") -> Work:
        """With one more item skipped or revealed."""
        return dataclasses.replace(
            self,
            skipped=_with(self.skipped, skipped),
            revealed=_with(self.revealed, revealed),
        )


class SessionMoved(Exception):
    """Another request of this session changed what is in hand first, at another server, or
    ended the session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One signed-in browser."""

    id: str  # sha256 of its cookie
    account: Account
    csrf: str
    tenant: str
    work: Work
    version: int = 0  # of tenant and work, as they were read


class Sessions:
    """All sessions, for one event loop."""

    def __init__(
        self,
        *,
        database: ConsoleDatabase,
        accounts: Callable[[], Accounts],
        clock: Callable[[], float],
        idle_s: float,
        absolute_s: float,
    ) -> None:
        """``clock`` gives Unix time. A session ends ``idle_s`` after it was last used, and
        ``absolute_s`` after it began."""
        self._database = database
        self._accounts = accounts
        self._clock = clock
        self._idle_s = idle_s
        self._absolute_s = absolute_s
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    def account(self, name: str) -> Account | None:
        """The account of that name, as the file says now."""
        return self._accounts().get(name)

    async def begin(self, account: Account) -> str:
        """Start a session; returns the cookie's value."""
        now = self._clock()
        await self._database.drop_old_sessions(
            created_before=now - self._absolute_s, seen_before=now - self._idle_s
        )
        cookie = secrets.token_urlsafe(32)
        row = SessionRow(
            id=_id_of(cookie),
            account=account.name,
            fingerprint=account.fingerprint,
            csrf=secrets.token_urlsafe(24),
            created_at=now,
            seen_at=now,
            tenant=account.tenants[0],
            work=_dump(Work()),
        )
        await self._database.add_session(row)
        return cookie

    async def find(self, cookie: str) -> Session | None:
        """The session of a cookie; None where there is none any more."""
        row = await self._database.session(_id_of(cookie))
        if row is None:
            return None
        now = self._clock()
        account = self.account(row.account)
        ended = now - row.created_at > self._absolute_s or now - row.seen_at > self._idle_s
        if ended or account is None or account.fingerprint != row.fingerprint:
            await self._database.drop_session(row.id)
            return None
        if now - row.seen_at > _SEEN_EVERY_S:
            await self._database.session_seen(row.id, at=now)
        return Session(
            id=row.id,
            account=account,
            csrf=row.csrf,
            tenant=row.tenant,
            work=_load(row.work),
            version=row.version,
        )

    async def again(self, session: Session) -> Session:
        """The session as it is on disk now, for whoever waited for its lock.

        Raises SessionMoved where it has ended: what it took now would be in nobody's hand.
        """
        row = await self._database.session(session.id)
        if row is None:
            raise SessionMoved
        return dataclasses.replace(
            session, tenant=row.tenant, work=_load(row.work), version=row.version
        )

    async def save(self, session: Session, work: Work) -> Session:
        """Keep what is in hand; returns the session with it.

        Raises SessionMoved where another server changed it since it was read: what that one
        knows must not be forgotten, a claim above all.
        """
        kept = await self._database.update_session(
            session.id, version=session.version, tenant=session.tenant, work=_dump(work)
        )
        if not kept:
            raise SessionMoved
        return dataclasses.replace(session, work=work, version=session.version + 1)

    async def note(self, session: Session, *, item_id: str, what: str) -> None:
        """Put on record what the person did."""
        deed = Deed(
            at=self._clock(),
            account=session.account.name,
            tenant=session.tenant,
            item_id=item_id,
            what=what,
        )
        await self._database.add_deed(deed)

    async def change_tenant(self, session: Session, tenant: str) -> Session:
        """Go on in another tenant, with nothing in hand."""
        changed = dataclasses.replace(session, tenant=tenant)
        return await self.save(changed, Work(decided=session.work.decided))

    async def end(self, session: Session) -> None:
        await self._database.drop_session(session.id)

    async def end_all(self, account: Account) -> None:
        """Sign a person out everywhere."""
        await self._database.drop_sessions_of(account.name)

    def lock(self, session: Session) -> asyncio.Lock:
        """Held while what is in hand changes: two tabs, or one key pressed twice. Other servers
        do not see it: there ``save`` refuses whoever comes second."""
        lock = self._locks.get(session.id)
        if lock is None:
            lock = asyncio.Lock()
            self._locks[session.id] = lock
        return lock


def _id_of(cookie: str) -> str:
    """What is kept of a cookie: a stolen database signs nobody in."""
    return hashlib.sha256(cookie.encode()).hexdigest()


def _with(items: tuple[str, ...], item: str) -> tuple[str, ...]:
    if not item or item in items:
        return items
    return (*items, item)[-_REMEMBERED:]


def _dump(work: Work) -> str:
    return json.dumps(dataclasses.asdict(work))


def _load(text: str) -> Work:
    known = {field.name for field in dataclasses.fields(Work)}
    # A server of a newer release may have written it, and of an older one.
    raw = {name: value for name, value in json.loads(text).items() if name in known}
    for name in ("skipped", "revealed", "categories"):
        raw[name] = tuple(raw.get(name, ()))
    return Work(**raw)
