"""The reviewers' console over a real queue in memory, and browsers that only know HTTP."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import argon2
import httpx2

from helpers.review_queue import ManualClock
from imagesieve_server.console.accounts import Account, ConsoleRole
from imagesieve_server.console.build import ConsoleOptions, build_console
from imagesieve_server.console.database import ConsoleDatabase, open_database
from imagesieve_server.console.exposure import Limits
from imagesieve_server.console.passwords import Passwords
from imagesieve_server.console.signing_in import Proxy
from imagesieve_server.core import answer as answers
from imagesieve_server.core.answer import Answer
from imagesieve_server.core.policy import Mode, Threshold
from imagesieve_server.core.review import ClaimRequest, Flag, Item, Lease
from imagesieve_server.core.verdict import (
    Band,
    CategoryScore,
    Judgement,
    Reason,
    ReasonCode,
    Verdict,
)
from imagesieve_server.core.views import DecodeInfo, View, ViewKind
from imagesieve_server.review_queue.evidence import MemoryEvidence
from imagesieve_server.review_queue.figures import QueueFigures
from imagesieve_server.review_queue.group_desk import QueueGroups
from imagesieve_server.review_queue.memory import memory_store
from imagesieve_server.review_queue.quality import QueueQuality
from imagesieve_server.review_queue.writer import QueueWriter
from imagesieve_server.testing import (
    RED,
    Colour,
    FakePreviews,
    RecordingMetrics,
    StaticPolicies,
    colour_policy,
    ppm,
)

ORIGIN = "http://127.0.0.1:8080"
PASSWORD = "correct horse battery"
HASHER = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
ENCODED = HASHER.hash(PASSWORD)


def account(name: str, role: str = "reviewer", *tenants: str) -> Account:
    return Account(name=name, role=ConsoleRole(role), tenants=tenants or ("t",), password=ENCODED)


@dataclass
class Browser:
    """One person's browser: cookies, and the token of the page it saw last."""

    client: httpx2.AsyncClient
    page: str = ""

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        answer = await self.client.get(path, headers=headers)
        if "text/html" in answer.headers.get("content-type", ""):
            self.page = answer.text
        return answer

    async def post(
        self, path: str, headers: Mapping[str, str] | None = None, **fields: Any
    ) -> httpx2.Response:
        """Send a form as the last page would, and look at where it leads."""
        token = re.search(r'name="csrf" value="([^"]+)"', self.page)
        data = {"csrf": token[1] if token else "", "item_id": self.item, **fields}
        answer = await self.client.post(
            path, data=data, headers={"Origin": ORIGIN, **(headers or {})}
        )
        if answer.status_code == 303:
            return await self.get(answer.headers["location"])
        if "text/html" in answer.headers.get("content-type", ""):
            self.page = answer.text
        return answer

    async def sign_in(self, name: str = "ann", password: str = PASSWORD) -> httpx2.Response:
        return await self.post("/login", name=name, password=password)

    async def take(self) -> str:
        """Take the next item; its id, "" where there is none."""
        await self.get("/review")
        await self.post("/review/next")
        return self.item

    async def decide(self, outcome: str, **fields: Any) -> httpx2.Response:
        return await self.post("/review/decide", outcome=outcome, **fields)

    @property
    def item(self) -> str:
        found = re.search(r'data-item="([^"]+)"', self.page)
        return found[1] if found else ""

    @property
    def told(self) -> str:
        found = re.search(r'<p class="told"[^>]*role="status"( hidden)?>(.*?)</p>', self.page, re.S)
        return found[2].strip() if found and not found[1] else ""


@dataclass
class Rig:
    """The parts of a console, to be started again and again over the same data."""

    folder: Path
    clock: ManualClock = field(default_factory=ManualClock)
    accounts: dict[str, Account] = field(default_factory=dict)
    metrics: RecordingMetrics = field(default_factory=RecordingMetrics)
    previews: FakePreviews = field(default_factory=FakePreviews)
    options: dict[str, Any] = field(default_factory=dict)
    flags: int = 0

    def __post_init__(self) -> None:
        people = (account("ann"), account("bob"), account("lea", "lead"))
        self.accounts |= {person.name: person for person in people}
        self.policies = StaticPolicies(colour_policy())
        self.store = memory_store(clock=self.clock)
        self.queue = QueueWriter(store=self.store, evidence=MemoryEvidence(), metrics=self.metrics)
        self.start()

    def start(self) -> None:
        """The console as after a start of the server: nothing but the files is left."""
        self.database: ConsoleDatabase = open_database(self.folder / "console.sqlite3")
        self.app = self.site(self.database)

    def site(self, database: ConsoleDatabase) -> Any:
        """The pages of one server; several may share the queue and a database."""
        options = ConsoleOptions(
            **{
                "origins": frozenset({ORIGIN}),
                "secure": False,
                "proxy": Proxy(header=""),
                "always_veil": False,
                "idle_s": 3600.0,
                "absolute_s": 12 * 3600.0,
                "limits": Limits(),
                "break_after_s": 3600.0,
                **self.options,
            }
        )
        return build_console(
            options=options,
            accounts=lambda: self.accounts,
            queue=self.queue,
            groups=QueueGroups(calls=self.queue.calls),
            figures=QueueFigures(calls=self.queue.calls),
            quality=QueueQuality(calls=self.queue.calls),
            policies=self.policies,
            previews=self.previews,
            database=database,
            passwords=Passwords(hasher=HASHER),
            metrics=self.metrics,
            clock=self.clock,
            monotonic=self.clock,
        )

    async def restart(self) -> None:
        await self.database.close()
        self.start()

    def browser(self, address: str = "127.0.0.1", *, site: Any = None) -> Browser:
        rig = self

        async def app(scope: Any, receive: Any, send: Any) -> None:
            # The present one, also after a restart.
            await (site or rig.app)(scope, receive, send)

        transport = httpx2.ASGITransport(app=app, client=(address, 40000))
        return Browser(client=httpx2.AsyncClient(transport=transport, base_url=ORIGIN))

    async def signed_in(self, name: str = "ann") -> Browser:
        browser = self.browser()
        answer = await browser.sign_in(name)
        assert answer.status_code == 200, answer.text
        return browser

    async def flag(self, colour: Colour = RED, *, data: bytes = b"", **fields: Any) -> str:
        """Put a picture into the queue; the item's id."""
        self.flags += 1
        shade = tuple(min(255, part + self.flags % 200) for part in colour)
        data = data or ppm((shade[0], shade[1], shade[2]), side=64)
        sha256 = hashlib.sha256(data).hexdigest()
        made = make_flag(f"r{self.flags}", sha256, len(data), **fields)
        return (await self.queue.submit(made, data)).item_id

    async def item(self, item_id: str, tenant: str = "t") -> Item:
        return await self.queue.get(tenant=tenant, item_id=item_id)

    async def claim(self, reviewer: str, **fields: Any) -> Lease | None:
        self.flags += 1
        request = ClaimRequest(tenant="t", reviewer=reviewer, claim_id=f"c{self.flags}", **fields)
        return await self.queue.claim(request)

    async def close(self) -> None:
        await self.database.close()
        await self.queue.close()


@asynccontextmanager
async def console(folder: Path, **options: Any) -> AsyncIterator[Rig]:
    rig = Rig(folder=folder, options=options)
    try:
        yield rig
    finally:
        await rig.close()


def make_flag(request_id: str, sha256: str, size: int, **fields: Any) -> Flag:
    given = {
        "tenant": "t",
        "request_id": request_id,
        "request_digest": sha256,
        "sha256": sha256,
        "size_bytes": size,
        "media_type": "image/x-portable-pixmap",
        "verdict": Verdict.REVIEW,
        "policy": "colours",
        "policy_version": "v1",
        "model_version": "m1",
        "reasons": (ReasonCode.CATEGORY_REVIEW,),
        "category": "red",
        "severity": 2,
        "score": 0.83,
        "answer": answer_json(sha256),
    }
    return Flag(**{**given, **fields})


def answer_json(sha256: str = "0" * 64) -> str:
    """A judged picture: red over its threshold at the second of two tiles, green below."""
    views = tuple(View(kind=ViewKind.TILE, box=(at, 0, at + 32, 64)) for at in (0, 32))
    return answers.to_json(
        Answer(
            request_id="r",
            sha256=sha256,
            judgement=Judgement(
                verdict=Verdict.REVIEW,
                reasons=(Reason(code=ReasonCode.CATEGORY_REVIEW, category="red"),),
                scores=(_score("red", 0.83, Band.REVIEW), _score("green", 0.1, Band.CLEAR)),
            ),
            policy="colours",
            policy_version="v1",
            model_version="m1",
            views=views,
            coverage=1.0,
            decode_info=DecodeInfo(format="PPM", width=64, height=64, mode="RGB"),
        )
    )


def _score(category: str, score: float, band: Band) -> CategoryScore:
    return CategoryScore(
        category=category,
        score=score,
        log_odds=0.0,
        neutral_score=0.21,
        threshold=Threshold(value=0.6),
        block_threshold=None,
        margin=score - 0.6,
        band=band,
        view=1,
        severity=2,
        mode=Mode.ENFORCE,
    )
