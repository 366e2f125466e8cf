"""The console in a real browser, over a real server: keys, pictures, a lost lease, a restart."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imagesieve import Client
from imagesieve_server.commands.local_server import LocalServer, launch
from imagesieve_server.console.passwords import encode_password
from imagesieve_server.demo_data import DEMO_IMAGES

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

PASSWORD = "correct horse battery"
ITEMS = 50
SLOW_MS = 60_000  # a machine with other things to do
_EXPECTED = (
    r".*ERR_CONNECTION|.*status of 401|Clear-Site-Data header .* Cleared"  # a restart, sign-outs
)
_PORT = re.compile(r"console on port (\d+)")


@dataclass
class Site:
    """A server with the console, that can be stopped and started on the same ports."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    server: LocalServer | None = None
    port: int = 0

    def start(self) -> None:
        address = f"127.0.0.1:{self.port}"
        self.server = launch(
            folder=self.folder,
            IMAGESIEVE__CONSOLE__ADDRESS=address,
            IMAGESIEVE__CONSOLE__ACCOUNTS=str(self.folder / "accounts.toml"),
            IMAGESIEVE__CONSOLE__DATABASE=str(self.folder / "console.sqlite3"),
        )
        found = _PORT.search(self.server.log.read_text())
        assert found is not None
        self.port = int(found[1])

    def stop(self) -> None:
        assert self.server is not None
        assert self.server.stop() == 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def client(self) -> Client:
        assert self.server is not None
        return Client(self.server.target)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("console")
    encoded = encode_password(PASSWORD)
    (folder / "accounts.toml").write_text(
        "".join(
            f'[[account]]\nname = "{name}"\nrole = "{role}"\ntenants = ["default"]\n'
            f'password_argon2 = "{encoded}"\n'
            for name, role in (("ann", "reviewer"), ("bob", "reviewer"), ("lea", "lead"))
        )
    )
    made = Site(folder=folder)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "there is no chromium on the PATH"
    with sync_playwright() as playwright:
        # The sandbox needs rights that containers do not have; only our own pages are loaded.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def ann(site: Site, chromium: Any) -> Iterator[Any]:
    with person(site, chromium, "ann") as page:
        yield page


@contextlib.contextmanager
def person(site: Site, chromium: Any, name: str, **options: Any) -> Iterator[Any]:
    """Somebody's page, signed in. Whatever the browser complains of fails the test."""
    context = chromium.new_context(**options)
    context.set_default_timeout(SLOW_MS)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if m.type != "info" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(site.url)
    page.fill("#name", name)
    page.fill("#password", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site.url}/review")
    yield page
    context.close()
    assert [line for line in complaints if not re.match(_EXPECTED, line)] == []
    assert [url for url in asked if not url.startswith(site.url)] == []


def upload(site: Site, count: int, *, first: int = 0) -> list[str]:
    """So many flagged pictures, each different; the ids of their items."""
    flagged = [p for p in sorted(DEMO_IMAGES.iterdir()) if "weapon" in p.name or "drug" in p.name]
    sources = flagged or sorted(DEMO_IMAGES.glob("*.png"))
    items: list[str] = []
    with site.client as client:
        for number in range(first, first + 20 * count):
            data = _varied(sources[number % len(sources)], number)
            answer = client.moderate(data, content_ref=f"post-{number}")
            if answer.item_id and answer.item_id not in items:
                items.append(answer.item_id)
            if len(items) == count:
                return items
    raise AssertionError(f"only {len(items)} of {count} pictures were flagged")


def _varied(path: Path, number: int) -> bytes:
    """The same picture in other bytes."""
    image = Image.open(path).convert("RGB")
    image.putpixel((0, number % image.height), (number % 256, number // 256, 7))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def press(page: Any, key: str) -> str:
    """Press a key that leads to another page; the item that is then in hand."""
    with page.expect_navigation():
        page.keyboard.press(key)
    return str(page.get_attribute("body", "data-item") or "")


def reveal(page: Any) -> None:
    page.keyboard.press("v")
    page.wait_for_selector("#veil:visible")


def drain(page: Any) -> None:
    """Decide whatever earlier tests left."""
    if not page.get_attribute("body", "data-item"):
        press(page, "n")
    while page.get_attribute("body", "data-item"):
        press(page, "a")


def test_fifty_items_by_keyboard_alone(site: Site, ann: Any) -> None:
    """Approve, reject with labels, escalate, skip, reveal, undo; no pointer is touched."""
    items = upload(site, ITEMS)
    seen = []
    current = press(ann, "n")
    started = time.perf_counter()
    for number in range(ITEMS):
        assert current, f"nothing in hand after {number}"
        seen.append(current)
        if number % 10 == 0:
            reveal(ann)
        if number % 3 == 1:
            ann.keyboard.press("1")
            if not ann.is_checked("[name=label] >> nth=0"):
                ann.keyboard.press("1")
        current = press(ann, {0: "a", 1: "r", 2: "e"}[number % 3])
    took = time.perf_counter() - started
    assert sorted(seen) == sorted(items)
    assert "Nothing waits" in ann.inner_text("main")
    print(f"{ITEMS} items by keyboard: {took / ITEMS * 1000:.0f} ms each")
    with site.client as client:
        outcomes = [client.review.get(item).decisions[-1].outcome.name for item in seen]
    assert outcomes == [("APPROVE", "REJECT", "ESCALATE")[n % 3] for n in range(ITEMS)]


def test_a_picture_is_veiled_until_v_and_each_reveal_is_counted(site: Site, ann: Any) -> None:
    upload(site, 1, first=5000)
    press(ann, "n")
    assert "clear" not in ann.get_attribute("#picture", "src")
    assert ann.evaluate("document.querySelector('#picture').naturalWidth") > 0
    assert site.server is not None
    before = site.server.metrics()['imagesieve_console_reveals_total{how="asked"}']
    reveal(ann)
    ann.wait_for_selector("#picture[src*=clear]")
    ann.keyboard.press("v")
    ann.wait_for_selector("#picture:not([src*=clear])")
    ann.keyboard.press(" ")
    ann.wait_for_selector("#picture[src*=clear]")
    after = site.server.metrics()['imagesieve_console_reveals_total{how="asked"}']
    assert after - before == 1  # the second look is the same person at the same item
    ann.keyboard.press("g")
    assert ann.get_attribute("#grey", "aria-pressed") == "true"
    ann.keyboard.press("z")
    assert ann.get_attribute("#zoom", "aria-pressed") == "true"
    ann.keyboard.press("Shift+ArrowDown")
    assert ann.evaluate("document.querySelector('#frame').scrollTop") > 0
    drain(ann)


def test_views_and_frames_can_be_stepped_through(site: Site, ann: Any) -> None:
    source = next(iter(sorted(DEMO_IMAGES.glob("*.png"))))
    tile = Image.open(source).convert("RGB").resize((128, 128))
    with site.client as client:
        for path in sorted(DEMO_IMAGES.glob("*.png")):
            wide = Image.new("RGB", (384, 128), (90, 120, 90))
            wide.paste(Image.open(path).convert("RGB").resize((128, 128)), (256, 0))
            wide.paste(tile, (0, 0))
            buffer = io.BytesIO()
            wide.save(buffer, "PNG")
            if client.moderate(buffer.getvalue()).item_id:
                break
    press(ann, "n")
    views = ann.locator("#view option").count()
    assert views == 3
    first = ann.input_value("#view")
    boxes = set()
    for _ in range(views):
        boxes.add(ann.get_attribute("#outline .line", "x"))
        ann.keyboard.press("ArrowRight")
    assert len(boxes) == views
    assert ann.input_value("#view") == first
    ann.keyboard.press("ArrowLeft")
    assert ann.input_value("#view") != first
    ann.keyboard.press("ArrowRight")
    ann.keyboard.press("z")
    outlined, frame = (ann.locator(one).bounding_box() for one in ("#outline .line", "#frame"))
    for start, length in (("x", "width"), ("y", "height")):
        middle = outlined[start] + outlined[length] / 2
        assert frame[start] <= middle <= frame[start] + frame[length], "the outlined view is seen"
    drain(ann)


def test_no_picture_is_taken_for_another_while_one_is_fetched(site: Site, ann: Any) -> None:
    """Neither is the clear one seen when it was veiled already."""
    upload(site, 1, first=5500)
    press(ann, "n")
    reveal(ann)
    ann.wait_for_selector("#frame:not(.loading)")
    held: list[Any] = []
    ann.route(re.compile("/picture"), lambda route: held.append(route))
    ann.keyboard.press("v")
    ann.wait_for_selector("#frame.loading")
    assert (
        ann.evaluate("getComputedStyle(document.querySelector('#picture')).visibility") == "hidden"
    )
    for route in held:
        route.continue_()
    ann.wait_for_selector("#frame:not(.loading)")
    assert ann.is_visible("#picture")
    drain(ann)


def test_long_names_stay_on_the_page(site: Site, ann: Any) -> None:
    upload(site, 1, first=5700)
    press(ann, "n")
    word = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerk" * 3
    ann.eval_on_selector_all(
        "h1, .chip span, .bar-title, .reasons li, dd, .who span",
        "(all, word) => { for (const one of all) one.textContent = word; }",
        word,
    )
    for width in (1280, 800, 390):
        ann.set_viewport_size({"width": width, "height": 800})
        assert ann.evaluate("document.documentElement.scrollWidth - innerWidth") <= 1, width
    drain(ann)


def test_undo_by_key(site: Site, ann: Any) -> None:
    (item,) = upload(site, 1, first=6000)
    assert press(ann, "n") == item
    assert press(ann, "a") == ""
    assert press(ann, "u") == item
    assert "Undone" in ann.inner_text("#told")
    drain(ann)


def test_what_comes_is_chosen_by_keyboard(site: Site, ann: Any) -> None:
    upload(site, 1, first=6200)
    press(ann, "n")
    press(ann, "c")
    assert ann.url == f"{site.url}/choose"
    ann.focus("[name=category] >> nth=0")
    ann.keyboard.press("Space")
    assert press(ann, "Enter")
    assert "1 category chosen" in ann.inner_text("main")
    drain(ann)
    press(ann, "c")
    ann.uncheck("[name=category] >> nth=0")
    ann.focus("[name=category] >> nth=0")
    press(ann, "Enter")
    assert "All categories" in ann.inner_text("main")


def test_similar_pictures_are_opened_by_key(site: Site, ann: Any) -> None:
    drain(ann)
    (path, *_) = [p for p in sorted(DEMO_IMAGES.iterdir()) if "weapon" in p.name]
    with site.client as client:
        for number in (13_000, 13_001):
            assert client.moderate(_varied(path, number)).item_id
            if number == 13_000:
                press(ann, "n")
                press(ann, "a")
    assert press(ann, "n")
    assert not ann.is_visible("#similar img")
    ann.keyboard.press("l")
    first = ann.locator("#similar img").first
    first.scroll_into_view_if_needed()
    ann.wait_for_load_state("networkidle")
    assert first.evaluate("image => image.naturalWidth") > 0
    assert "Approved" in ann.inner_text("#similar")
    looker = Looker()
    looker.look(ann, "similar")
    assert looker.found == {}
    drain(ann)


def test_writing_a_note_presses_no_keys(site: Site, ann: Any) -> None:
    (item,) = upload(site, 1, first=6500)
    press(ann, "n")
    ann.keyboard.press("o")
    ann.keyboard.type("areas?")
    ann.keyboard.press("Escape")
    assert press(ann, "a") == ""
    with site.client as client:
        assert client.review.get(item).decisions[-1].note == "areas?"


def test_the_help_opens_and_closes_by_key(site: Site, ann: Any) -> None:
    upload(site, 1, first=7000)
    ann.keyboard.press("?")
    assert ann.is_visible("#help")
    keys = ann.inner_text("#help")
    ann.keyboard.press("Escape")
    press(ann, "n")
    used = ann.eval_on_selector_all("[data-key]", "all => all.map(one => one.dataset.key)")
    assert "1–9" in keys
    shown = {"ArrowLeft": "←", "ArrowRight": "→"}
    for key in {*used, "n", "k", "u"} - {str(digit) for digit in range(10)}:
        assert shown.get(key, key.upper()) in keys.split(), key
    ann.keyboard.press("?")
    assert ann.is_visible("#help")
    ann.keyboard.press("a")  # decides nothing while the help is open
    ann.keyboard.press("Escape")
    assert not ann.is_visible("#help")
    assert ann.get_attribute("body", "data-item")
    drain(ann)


def test_a_lease_lost_to_another_reviewer_is_told_kindly(
    site: Site, ann: Any, chromium: Any
) -> None:
    """Ann leaves in another window; Bob takes the item; Ann's old page then presses a key."""
    (item,) = upload(site, 1, first=7500)
    assert press(ann, "n") == item
    other = ann.context.new_page()
    other.goto(site.url + "/review")
    press(other, "s")
    other.close()
    with person(site, chromium, "bob") as bob:
        assert press(bob, "n") == item
        press(ann, "a")
        assert "went back to the queue" in ann.inner_text("main")
        assert press(bob, "r") == ""
    with site.client as client:
        decisions = client.review.get(item).decisions
    assert [decision.reviewer for decision in decisions] == ["bob"]


def test_a_restart_of_the_server_in_mid_review(site: Site, ann: Any) -> None:
    (item,) = upload(site, 1, first=8000)
    assert press(ann, "n") == item
    reveal(ann)
    site.stop()
    site.start()
    assert press(ann, "a") == ""
    assert "Nothing waits" in ann.inner_text("main")
    with site.client as client:
        assert client.review.get(item).decisions[-1].reviewer == "ann"


def test_a_key_while_the_server_is_away_loses_nothing(site: Site, ann: Any) -> None:
    (item,) = upload(site, 1, first=8200)
    assert press(ann, "n") == item
    ann.keyboard.press("o")
    ann.keyboard.type("kept")
    ann.keyboard.press("Escape")
    site.stop()
    ann.keyboard.press("a")
    ann.wait_for_selector("#told:has-text('Nothing was lost')")
    assert ann.input_value("#note") == "kept"
    site.start()
    assert press(ann, "a") == ""
    with site.client as client:
        assert client.review.get(item).decisions[-1].note == "kept"


def test_who_is_signed_out_in_mid_review_is_told(site: Site, ann: Any) -> None:
    (item,) = upload(site, 1, first=8400)
    assert press(ann, "n") == item
    ann.keyboard.press("o")
    ann.keyboard.type("kept")
    ann.keyboard.press("Escape")
    cookies = ann.context.cookies()
    ann.context.clear_cookies()
    ann.keyboard.press("a")
    ann.wait_for_selector("#told:has-text('You are signed out')")
    assert ann.input_value("#note") == "kept"
    ann.context.add_cookies(cookies)
    assert press(ann, "a") == ""


def test_enter_on_a_label_decides_nothing(site: Site, ann: Any) -> None:
    """The form's first button would approve what somebody is about to reject."""
    (item,) = upload(site, 1, first=8600)
    assert press(ann, "n") == item
    ann.focus("[name=label] >> nth=0")
    ann.keyboard.press("Enter")
    assert not ann.evaluate("document.body.classList.contains('waiting-for-answer')")
    assert press(ann, "a") == ""


class Looker:
    """Runs axe-core over pages and keeps what it finds serious."""

    def __init__(self) -> None:
        self.found: dict[str, list[str]] = {}

    def look(self, page: Any, name: str) -> None:
        from axe_playwright_python.sync_playwright import Axe

        for problem in Axe().run(page).response["violations"]:
            if problem["impact"] in ("serious", "critical"):
                nodes = [node["html"][:120] for node in problem["nodes"]]
                self.found.setdefault(name, []).append(f"{problem['id']}: {nodes}")
        if page.evaluate("document.documentElement.scrollWidth > innerWidth + 1"):
            self.found.setdefault(name, []).append("the page is wider than the screen")


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(site: Site, chromium: Any, scheme: str, width: int) -> None:
    upload(site, 1, first=9000 + width + len(scheme))
    size = {"width": width, "height": 800}
    looker = Looker()
    look = looker.look
    with person(site, chromium, "ann", color_scheme=scheme, viewport=size, bypass_csp=True) as page:
        look(page, "empty")
        assert press(page, "n")
        look(page, "review")
        reveal(page)
        look(page, "revealed")
        page.keyboard.press("?")
        look(page, "help")
        page.keyboard.press("Escape")
        press(page, "a")
        for path in ("/preferences", "/choose"):
            page.goto(site.url + path)
            look(page, path)
        page.get_by_role("button", name="Sign out", exact=True).click()
        page.wait_for_url(f"{site.url}/login")
        look(page, "sign in")
    assert looker.found == {}


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_axe_finds_nothing_serious_on_the_leads_pages(
    site: Site, chromium: Any, scheme: str, width: int
) -> None:
    (item,) = upload(site, 1, first=12_000 + width)
    size = {"width": width, "height": 800}
    looker = Looker()
    with person(site, chromium, "lea", color_scheme=scheme, viewport=size, bypass_csp=True) as page:
        press(page, "n")
        press(page, "a")
        for path in ("/overview", "/queue", "/queue?state=DECIDED&age=new", f"/items/{item}"):
            page.goto(site.url + path)
            looker.look(page, path)
        reveal(page)
        looker.look(page, "an item revealed")
        page.keyboard.press("z")
        looker.look(page, "an item zoomed")
        page.goto(site.url + "/review")
        drain(page)
    assert looker.found == {}


def flood(site: Site, count: int, *, first: int) -> list[str]:
    """One picture again and again, in other bytes each time."""
    (path, *_) = [p for p in sorted(DEMO_IMAGES.iterdir()) if "weapon" in p.name]
    with site.client as client:
        return [client.moderate(_varied(path, n)).item_id for n in range(first, first + count)]


def test_a_flood_is_closed_by_keyboard_and_taken_back(site: Site, chromium: Any) -> None:
    with person(site, chromium, "lea", bypass_csp=True) as lea:
        drain(lea)
        items = flood(site, 37, first=14_000)
        looker = Looker()

        def states() -> set[str]:
            with site.client as client:
                return {client.review.get(item).state.name for item in items}

        assert press(lea, "n") in items
        assert "look-alikes; 37 of them wait" in lea.inner_text("main")
        press(lea, "j")
        assert "37 pictures would be decided" in lea.inner_text("main")
        looker.look(lea, "a group")
        press(lea, "v")
        lea.wait_for_selector(".members img[src*=clear]")
        lea.keyboard.press("o")
        lea.keyboard.type("a raid")
        lea.keyboard.press("Escape")
        assert lea.is_checked("[name=label]:checked"), "the category is chosen already"
        press(lea, "r")
        assert lea.inner_text("h1") == "Reject 37 pictures?"
        looker.look(lea, "the number once more")
        press(lea, "Escape")
        assert states() <= {"READY", "LEASED"}, "Escape decides nothing"
        press(lea, "r")
        press(lea, "Enter")
        assert "Rejected 37 pictures" in lea.inner_text("main")
        assert states() == {"DECIDED"}
        looker.look(lea, "a closed group")
        group = lea.url
        lea.goto(site.url + "/review")
        assert "went back to the queue" in lea.inner_text(".told"), "its item was among them"
        lea.goto(site.url + "/groups")
        looker.look(lea, "no groups")
        lea.goto(group)
        press(lea, "u")
        assert "37 reopened" in lea.inner_text("main")
        assert states() == {"READY"}
        lea.goto(site.url + "/groups")
        looker.look(lea, "groups")
        lea.get_by_role("link", name="Weapon").first.press("Enter")
        lea.wait_for_url("**/groups/*")
        press(lea, "a")
        press(lea, "Enter")
        assert states() == {"DECIDED"}
    assert looker.found == {}


def test_a_flood_that_has_changed_is_told_with_the_new_number(site: Site, chromium: Any) -> None:
    """Somebody takes a decision back between the look and the last key."""
    with person(site, chromium, "lea") as lea, person(site, chromium, "ann") as ann:
        drain(ann)
        items = flood(site, 5, first=15_000)
        if press(ann, "n") == items[-1]:
            press(ann, "s")  # what comes back behind all that were shown is as a later arrival
        press(ann, "a")
        press(ann, "s")
        with site.client as client:
            group_id = client.review.get(items[0]).group_id
        lea.goto(f"{site.url}/groups/{group_id}")
        press(lea, "a")
        assert lea.inner_text("h1") == "Approve 4 pictures?"
        press(ann, "u")
        press(lea, "Enter")
        assert "Now 5 pictures would be decided, not 4" in lea.inner_text("#told")
        press(lea, "a")
        press(lea, "Enter")
        with site.client as client:
            assert {client.review.get(item).state.name for item in items} == {"DECIDED"}


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 400)])
def test_axe_finds_nothing_serious_on_the_pages_of_look_alikes(
    site: Site, chromium: Any, scheme: str, width: int
) -> None:
    size = {"width": width, "height": 800}
    looker = Looker()
    with person(site, chromium, "lea", color_scheme=scheme, viewport=size, bypass_csp=True) as lea:
        drain(lea)
        items = flood(site, 3, first=16_000 + width)
        with site.client as client:
            group = f"{site.url}/groups/{client.review.get(items[0]).group_id}"
        for path in (f"{site.url}/groups", f"{site.url}/items/{items[0]}", group):
            lea.goto(path)
            looker.look(lea, path)
        lea.keyboard.press("?")
        looker.look(lea, "help")
        lea.keyboard.press("Escape")
        press(lea, "r")
        looker.look(lea, "the number once more")
        press(lea, "Enter")
        looker.look(lea, "closed")
    assert looker.found == {}
