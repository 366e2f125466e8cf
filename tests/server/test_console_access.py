"""Who gets into the console, and what strangers and other sites cannot do."""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from helpers.console_rig import ORIGIN, PASSWORD, Browser, Rig, account, console
from imagesieve_server.console.accounts import ConsoleRole
from imagesieve_server.console.guard import HEADERS, MAX_BODY_BYTES
from imagesieve_server.console.login_limit import (
    PER_ADDRESS,
    PER_NAME_AND_ADDRESS,
    WINDOW_S,
    LoginLimit,
)
from imagesieve_server.console.signing_in import TOO_OFTEN, WRONG, Proxy, proxy_of
from imagesieve_server.core.errors import ConfigError
from imagesieve_server.core.review import ClaimRequest, Lease, State

PAGES = ("/review", "/preferences", "/items/x/picture")
FORMS = (
    "/review/next", "/review/decide", "/review/skip", "/review/take-skipped", "/review/undo",
    "/review/extend", "/review/reveal", "/preferences", "/tenant", "/logout",
    "/logout-everywhere", "/items/requeue", "/items/take", "/choose",
    "/items/golden", "/items/golden/end",
    "/groups/confirm", "/groups/close", "/groups/undo", "/groups/reveal",
)  # fmt: skip


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with console(tmp_path) as made:
        yield made


# --- signing in ------------------------------------------------------------------------------


async def test_without_a_session_every_page_leads_to_the_sign_in(rig: Rig) -> None:
    stranger = rig.browser()
    for page in PAGES:
        answer = await stranger.get(page)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/login?next=")
    for form in FORMS:
        answer = await stranger.client.post(form, data={"csrf": ""}, headers={"Origin": ORIGIN})
        assert answer.headers["location"].startswith("/login"), form


async def test_every_form_is_tested_here(rig: Rig) -> None:
    routes = rig.app._app.routes  # type: ignore[attr-defined]
    posted = {r.path for r in routes if "POST" in (getattr(r, "methods", None) or ())}
    assert posted == {*FORMS, "/login"}


async def test_signing_in_leads_where_one_wanted_to_go(rig: Rig) -> None:
    ann = rig.browser()
    answer = await ann.post("/login", name="ann", password=PASSWORD, next="/preferences")
    assert answer.url.path == "/preferences"


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example", "//evil.example", "/\\evil.example", "evil", "/\tx"]
)
async def test_signing_in_never_leads_to_another_site(rig: Rig, elsewhere: str) -> None:
    ann = rig.browser()
    answer = await ann.post("/login", name="ann", password=PASSWORD, next=elsewhere)
    assert answer.url.path == "/review"
    assert answer.url.host == "127.0.0.1"


async def test_a_wrong_name_and_a_wrong_password_look_the_same(rig: Rig) -> None:
    pages = []
    for name, password in (("ann", "wrong"), ("nobody", PASSWORD)):
        browser = rig.browser()
        answer = await browser.sign_in(name, password)
        assert answer.status_code == 403
        pages.append(answer.text.replace(f'value="{name}"', ""))
    assert WRONG in pages[0]
    assert pages[0] == pages[1]


async def test_a_password_for_nobody_is_checked_all_the_same(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same work is done, so that the time tells nothing."""
    from imagesieve_server.console.passwords import Passwords

    checked = []
    real = Passwords._check
    monkeypatch.setattr(
        Passwords, "_check", lambda self, *given: checked.append(given) or real(self, *given)
    )
    await rig.browser().sign_in("nobody", "guess")
    await rig.browser().sign_in("ann", "guess")
    assert [len(given[0]) for given in checked] == [len(checked[0][0])] * 2


async def test_an_account_without_a_password_cannot_sign_in_with_any(rig: Rig) -> None:
    rig.accounts["eve"] = replace(account("eve"), password="")
    for password in ("", "x", PASSWORD):
        assert (await rig.browser().sign_in("eve", password)).status_code == 403


async def test_after_some_wrong_passwords_the_right_one_has_to_wait(rig: Rig) -> None:
    """From there; the owner at another address is not shut out."""
    stranger = rig.browser("10.0.0.1")
    for _ in range(PER_NAME_AND_ADDRESS):
        assert WRONG in (await stranger.sign_in("ann", "guess")).text
    assert TOO_OFTEN in (await stranger.sign_in("ann", PASSWORD)).text
    assert TOO_OFTEN in (await rig.browser("10.0.0.1").sign_in("ann", PASSWORD)).text
    assert (await rig.browser("10.0.0.2").sign_in("ann")).status_code == 200
    rig.clock.advance(WINDOW_S + 1)
    assert (await stranger.sign_in("ann")).status_code == 200
    results = [call["result"] for call in rig.metrics.named("console_login")]
    assert results == ["failed"] * 5 + ["limited"] * 2 + ["ok"] * 2


async def test_names_that_do_not_exist_are_limited_alike(rig: Rig) -> None:
    stranger = rig.browser()
    for _ in range(PER_NAME_AND_ADDRESS):
        await stranger.sign_in("nobody", "guess")
    assert TOO_OFTEN in (await stranger.sign_in("nobody", "guess")).text


def test_refused_attempts_under_other_names_do_not_push_out_what_is_remembered() -> None:
    limit = LoginLimit(clock=lambda: 0.0)
    for _ in range(PER_NAME_AND_ADDRESS):
        assert limit.begin(name="ann", address="a")
    for n in range(12_000):  # more than are remembered at once
        limit.begin(name=f"n{n}", address="a")
    assert not limit.begin(name="ann", address="a")
    limit = LoginLimit(clock=lambda: 0.0)
    for _ in range(PER_NAME_AND_ADDRESS):
        assert limit.begin(name="ann", address="a")
    for n in range(12_000):
        limit.begin(name=f"n{n}", address="b")
    assert not limit.begin(name="ann", address="a")


def test_a_customers_many_ipv6_addresses_count_as_one() -> None:
    limit = LoginLimit(clock=lambda: 0.0)
    tried = [limit.begin(name="ann", address=f"2001:db8:1:2::{n:x}") for n in range(1, 9)]
    assert tried == [True] * PER_NAME_AND_ADDRESS + [False] * 3
    assert limit.begin(name="ann", address="2001:db8:1:3::1")
    assert [limit.begin(name="bob", address="::ffff:10.0.0.1") for _ in range(6)][-1] is False
    assert limit.begin(name="bob", address="::ffff:10.0.0.2")


def test_one_address_cannot_try_many_names() -> None:
    limit = LoginLimit(clock=lambda: 0.0)
    tried = [limit.begin(name=f"n{n}", address="a") for n in range(PER_ADDRESS + 5)]
    assert tried.count(True) == PER_ADDRESS
    assert limit.begin(name="n0", address="b")


def test_signing_in_rightly_is_not_counted() -> None:
    limit = LoginLimit(clock=lambda: 0.0)
    for _ in range(5 * PER_ADDRESS):
        assert limit.begin(name="ann", address="a")
        limit.succeeded(name="ann", address="a")


# --- sessions --------------------------------------------------------------------------------


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(rig: Rig) -> None:
    answer = await rig.browser().client.post(
        "/login", data={"name": "ann", "password": PASSWORD}, headers={"Origin": ORIGIN}
    )
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/" in cookie
    assert "max-age" not in cookie


async def test_over_tls_the_cookie_travels_over_tls_alone(tmp_path: Path) -> None:
    async with console(tmp_path, secure=True) as rig:
        answer = await rig.browser().client.post(
            "/login", data={"name": "ann", "password": PASSWORD}, headers={"Origin": ORIGIN}
        )
        assert answer.headers["set-cookie"].startswith("__Host-imagesieve=")
        assert "secure" in answer.headers["set-cookie"].lower()
        assert "max-age" in answer.headers["strict-transport-security"]


async def test_each_sign_in_is_a_new_session(rig: Rig) -> None:
    ann = await rig.signed_in()
    first = ann.client.cookies["imagesieve"]
    await ann.sign_in()
    assert ann.client.cookies["imagesieve"] != first


async def test_who_signs_in_leaves_the_session_that_the_browser_had(rig: Rig) -> None:
    """On a shared machine: the one before forgot to sign out, with an item in hand."""
    item = await rig.flag()
    browser = await rig.signed_in("ann")
    assert await browser.take() == item
    before = browser.client.cookies["imagesieve"]
    await browser.sign_in("bob")
    assert (await rig.item(item)).state is State.READY
    thief = rig.browser()
    thief.client.cookies.set("imagesieve", before)
    assert (await thief.get("/review")).status_code == 303


async def test_what_another_tab_takes_meanwhile_goes_back_at_a_sign_in(rig: Rig) -> None:
    item = await rig.flag()
    browser = await rig.signed_in("ann")
    tab = Browser(client=browser.client, page=browser.page)
    claim, asked, gate = rig.queue.claim, asyncio.Event(), asyncio.Event()

    async def held(request: ClaimRequest) -> Lease | None:
        asked.set()
        await gate.wait()
        return await claim(request)

    rig.queue.claim = held  # type: ignore[method-assign]
    taking = asyncio.create_task(tab.post("/review/next"))
    await asked.wait()
    signing = asyncio.create_task(browser.sign_in("bob"))
    await asyncio.wait({signing}, timeout=0.5)  # it must wait for the other
    gate.set()
    await asyncio.gather(taking, signing)
    assert (await rig.item(item)).state is State.READY


async def test_a_session_that_has_ended_takes_nothing_more(rig: Rig) -> None:
    ann = await rig.signed_in()
    await ann.take()  # of an empty queue
    tab = Browser(client=ann.client, page=ann.page)
    item = await rig.flag()
    drop, asked, gate = rig.database.drop_session, asyncio.Event(), asyncio.Event()

    async def held(session: str) -> None:
        asked.set()
        await gate.wait()
        await drop(session)

    rig.database.drop_session = held  # type: ignore[method-assign]
    leaving = asyncio.create_task(ann.post("/logout"))
    await asked.wait()
    taking = asyncio.create_task(tab.post("/review/next"))
    await asyncio.wait({taking}, timeout=0.5)
    gate.set()
    await asyncio.gather(leaving, taking)
    assert (await rig.item(item)).state is State.READY


@pytest.mark.parametrize("step", [3601.0, 3000.0])
async def test_a_session_ends_when_unused_and_when_old(rig: Rig, step: float) -> None:
    ann = await rig.signed_in()
    for _ in range(20):
        rig.clock.advance(step)
        if (await ann.get("/review")).status_code == 303:
            break
    since = rig.clock() - 1_700_000_000.0
    assert since == (3601.0 if step > 3600 else 15 * 3000.0)


@pytest.mark.parametrize(
    "change",
    [{"role": ConsoleRole.LEAD}, {"tenants": ("t", "u")}, {"password": "$argon2id$other"}, None],
)
async def test_a_changed_account_is_signed_out_everywhere(rig: Rig, change: object) -> None:
    browsers = [await rig.signed_in(), await rig.signed_in()]
    if change is None:
        del rig.accounts["ann"]
    else:
        assert isinstance(change, dict)
        rig.accounts["ann"] = replace(rig.accounts["ann"], **change)
    for browser in browsers:
        assert (await browser.get("/review")).status_code == 303


async def test_signing_out(rig: Rig) -> None:
    here, there = await rig.signed_in(), await rig.signed_in()
    cookie = here.client.cookies["imagesieve"]
    await here.post("/logout")
    here.client.cookies.set("imagesieve", cookie)
    assert (await here.get("/review")).status_code == 303
    assert (await there.get("/review")).status_code == 200
    third = await rig.signed_in()
    await third.post("/logout-everywhere")
    assert (await there.get("/review")).status_code == 303


async def test_a_stolen_database_holds_no_cookie(rig: Rig, tmp_path: Path) -> None:
    ann = await rig.signed_in()
    await rig.database.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("console.sqlite3*"))
    assert ann.client.cookies["imagesieve"].encode() not in kept
    rig.start()


# --- other sites -----------------------------------------------------------------------------


@pytest.mark.parametrize("form", [*FORMS, "/login"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:8081"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "same-site"},
    ],
)
async def test_another_sites_form_is_refused(rig: Rig, form: str, headers: dict[str, str]) -> None:
    ann = await rig.signed_in()
    answer = await ann.client.post(form, data={"name": "ann", "password": PASSWORD},
                                   headers=headers)  # fmt: skip
    assert answer.status_code == 403


@pytest.mark.parametrize("form", FORMS)
async def test_a_form_without_the_sessions_token_is_refused(rig: Rig, form: str) -> None:
    await rig.flag()
    ann, bob = await rig.signed_in(), await rig.signed_in("bob")
    item = await ann.take()
    await bob.get("/review")
    theirs = bob.page.split('name="csrf" value="')[1].split('"')[0]
    for token in ("", theirs):
        answer = await ann.client.post(
            form, data={"csrf": token, "item_id": item, "outcome": "approve"},
            headers={"Origin": ORIGIN},
        )  # fmt: skip
        assert answer.status_code == 403
    assert (await rig.item(item)).decisions == ()
    assert (await ann.get("/review")).status_code == 200


async def test_a_name_that_is_not_ours_is_refused(rig: Rig) -> None:
    """DNS that an attacker controls may point their name at this server."""
    ann = await rig.signed_in()
    for host in ("evil.example", "127.0.0.1", "127.0.0.1:80", ""):
        assert (await ann.get("/review", Host=host)).status_code == 421


async def test_other_methods_and_large_bodies_are_refused(rig: Rig) -> None:
    ann = await rig.signed_in()
    assert (await ann.client.put("/review", headers={"Origin": ORIGIN})).status_code == 405
    answer = await ann.client.post(
        "/review/next", content=b"x" * (MAX_BODY_BYTES + 1), headers={"Origin": ORIGIN}
    )
    assert answer.status_code == 413

    async def endless() -> AsyncIterator[bytes]:
        yield b"csrf=x"

    answer = await ann.client.post("/login", content=endless(), headers={"Origin": ORIGIN})
    assert answer.status_code == 413


async def test_more_than_was_announced_is_not_read(rig: Rig) -> None:
    async def lying() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 4096

    answer = await rig.browser().client.post(
        "/login", content=lying(), headers={"Origin": ORIGIN, "Content-Length": "10"}
    )
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "path", ["/login", "/review", "/nowhere", "/static/console.css", "/static/../site.py"]
)
async def test_every_answer_carries_the_headers(rig: Rig, path: str) -> None:
    ann = await rig.signed_in()
    answer = await ann.get(path)
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs_inline() -> None:
    policy = HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


async def test_a_broken_form_is_refused(rig: Rig) -> None:
    ann = await rig.signed_in()
    for body in (b"\xff\xfe=1", b"a&b;c", b"&".join(b"a=1" for _ in range(300))):
        answer = await ann.client.post("/review/next", content=body, headers={"Origin": ORIGIN})
        assert answer.status_code == 403


# --- a proxy that signs people in ------------------------------------------------------------

PROXY = Proxy(header="X-Remote-User", networks=(ipaddress.ip_network("10.1.0.0/16"),))


async def test_a_trusted_proxy_names_who_is_there(tmp_path: Path) -> None:
    async with console(tmp_path, proxy=PROXY) as rig:
        rig.accounts["eve"] = replace(account("eve"), password="")
        item = await rig.flag()
        eve = rig.browser("10.1.2.3")
        eve.client.headers["X-Remote-User"] = "eve"
        assert (await eve.get("/review")).status_code == 200
        await eve.post("/review/next")
        await eve.decide("approve")
        assert (await rig.item(item)).decisions[-1].reviewer == "eve"
        eve.client.headers["X-Remote-User"] = "ann"
        await eve.get("/review")
        assert ">ann</span>" in eve.page
        eve.client.headers["X-Remote-User"] = "nobody"
        assert (await eve.get("/review")).status_code == 403


async def test_nobody_else_can_name_themselves(tmp_path: Path) -> None:
    async with console(tmp_path, proxy=PROXY) as rig:
        stranger = rig.browser("10.2.0.1")
        assert (await stranger.get("/review", **{"X-Remote-User": "ann"})).status_code == 303


async def test_without_a_proxy_its_header_is_nothing(rig: Rig) -> None:
    answer = await rig.browser().get("/review", **{"X-Remote-User": "ann"})
    assert answer.status_code == 303


async def test_two_names_are_none(tmp_path: Path) -> None:
    async with console(tmp_path, proxy=PROXY) as rig:
        browser = rig.browser("10.1.0.9")
        headers = [("X-Remote-User", "ann"), ("X-Remote-User", "lea")]
        answer = await browser.client.get("/review", headers=headers)
        assert answer.status_code == 403


@pytest.mark.parametrize(
    ("header", "addresses"), [("X", ""), ("", "somewhere"), ("X", "somewhere"), ("X", "10.0.0.1/8")]
)
def test_a_proxy_that_cannot_be_known_is_refused(header: str, addresses: str) -> None:
    with pytest.raises(ConfigError, match=r"console\.proxy"):
        proxy_of(header=header, addresses=addresses)


@pytest.mark.parametrize("proxy", ["10.1.0.4", "::ffff:10.1.0.4"])
async def test_behind_a_proxy_guesses_shut_out_only_who_guesses(tmp_path: Path, proxy: str) -> None:
    """A socket for both kinds writes IPv4 addresses as such of IPv6."""
    networks = (ipaddress.ip_network("10.1.0.0/16"),)
    async with console(tmp_path, proxy=Proxy(header="", networks=networks)) as rig:

        async def tries(name: str, password: str, forwarded: str, peer: str = proxy) -> str:
            answer = await rig.browser(peer).client.post(
                "/login", data={"name": name, "password": password},
                headers={"Origin": ORIGIN, "X-Forwarded-For": forwarded},
            )  # fmt: skip
            return answer.text

        for number in range(PER_ADDRESS):
            await tries(f"n{number}", "wrong", f"192.0.2.{number}, 198.51.100.7")
        assert TOO_OFTEN in await tries("ann", PASSWORD, "203.0.113.5, 198.51.100.7")
        assert await tries("ann", PASSWORD, "198.51.100.7, 203.0.113.5") == ""
        assert WRONG in await tries("bob", "wrong", "unknown")
        for number in range(PER_ADDRESS):
            await tries(f"m{number}", "wrong", f"203.0.113.{number}", peer="10.2.0.1")
        assert TOO_OFTEN in await tries("ann", PASSWORD, "203.0.113.99", peer="10.2.0.1")


# --- what browsers keep ----------------------------------------------------------------------


async def test_the_style_and_the_script_are_kept_by_browsers(rig: Rig) -> None:
    browser = await rig.signed_in()
    found = re.findall(r'(?:href|src)="(/static/[^"]+)"', browser.page)
    assert len(found) >= 3
    for path in found:
        answer = await browser.client.get(path)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        other = await browser.client.get(path.partition("?")[0] + "?ofanotherbuild")
        assert other.headers["cache-control"] == "no-cache"
    assert (await browser.client.get("/static/none.css")).headers["cache-control"] == "no-store"


# --- a store that is down ----------------------------------------------------------------------


async def test_a_queue_that_does_not_answer_is_told_and_nothing_is_lost(rig: Rig) -> None:
    ann = await rig.signed_in()
    await rig.queue.close()
    answer = await ann.post("/review/next")
    assert answer.status_code == 503
    assert "try again" in answer.text


@pytest.mark.parametrize("how", ["/logout", "/logout-everywhere", "/login"])
async def test_nobody_stays_signed_in_because_the_queue_does_not_answer(rig: Rig, how: str) -> None:
    await rig.flag()
    ann = await rig.signed_in()
    await ann.take()
    token = ann.page.split('name="csrf" value="')[1].split('"')[0]
    before = ann.client.cookies["imagesieve"]
    await rig.queue.close()
    await ann.client.post(
        how,
        data={"csrf": token, "name": "bob", "password": PASSWORD},
        headers={"Origin": ORIGIN},
    )
    thief = rig.browser()
    thief.client.cookies.set("imagesieve", before)
    assert (await thief.get("/preferences")).status_code == 303


async def test_a_mistake_of_the_servers_is_a_page_that_tells_nothing_of_it(rig: Rig) -> None:
    ann = await rig.signed_in()

    async def broken(**_: object) -> None:
        raise RuntimeError("internal words")

    rig.queue.stats = broken  # type: ignore[method-assign, assignment]
    transport = httpx2.ASGITransport(app=rig.app, raise_app_exceptions=False)
    cookies = dict(ann.client.cookies)
    async with httpx2.AsyncClient(transport=transport, base_url=ORIGIN, cookies=cookies) as client:
        answer = await client.get("/review")
    assert answer.status_code == 500
    assert "That went wrong" in answer.text
    assert "internal" not in answer.text
    assert answer.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]
