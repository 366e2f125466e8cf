"""What leads see: the list, an item's page, the overview; and that reviewers do not."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from helpers.console_rig import Rig, account, console, make_flag
from imagesieve_server.core.policy import AuditRates
from imagesieve_server.core.review import LOOK_AT, DecideRequest, Outcome, State
from imagesieve_server.core.verdict import ReasonCode
from imagesieve_server.testing import colour_policy


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with console(tmp_path) as made:
        yield made


async def parked(rig: Rig) -> str:
    item = await rig.flag()
    for _ in range(5):
        assert await rig.claim("bob") is not None
        rig.clock.advance(601.0)
        await rig.queue.expire_leases()
    assert (await rig.item(item)).state is State.PARKED
    return item


@pytest.mark.parametrize("page", ["/queue", "/overview", "/items/x"])
async def test_reviewers_see_no_more_than_the_item_in_hand(rig: Rig, page: str) -> None:
    ann = await rig.signed_in()
    assert (await ann.get(page)).status_code == 403
    await ann.get("/review")
    assert "Overview" not in ann.page
    assert (await ann.post("/items/requeue", item_id="x")).status_code == 403


async def test_the_list_is_filtered_by_state_and_category(rig: Rig) -> None:
    await rig.flag(category="red", severity=4)
    await rig.flag(category="blue", reasons=(ReasonCode.UNDECODABLE,))
    lea = await rig.signed_in("lea")
    await lea.take()
    await lea.decide("approve")
    await lea.get("/queue")
    assert lea.page.count('<a href="/items/') == 1
    await lea.get("/queue?state=DECIDED")
    assert lea.page.count('<a href="/items/') == 1
    assert "<td>Approved</td>" in lea.page
    await lea.get("/queue?category=blue")
    assert "no picture" in lea.page
    await lea.get("/queue?category=green")
    assert "There are none." in lea.page
    assert (await lea.get("/queue?state=NONSENSE")).status_code == 200


async def test_the_list_goes_on_page_by_page(rig: Rig) -> None:
    for _ in range(60):
        rig.clock.advance(1.0)
        await rig.flag()
    lea = await rig.signed_in("lea")
    await lea.get("/queue")
    assert lea.page.count('<a href="/items/') == 50
    later = lea.page.split('class="button" href="')[1].split('"')[0].replace("&amp;", "&")
    await lea.get(later)
    assert lea.page.count('<a href="/items/') == 10
    answer = await lea.get("/queue?after=nonsense")
    assert answer.headers["location"] == "/queue"


async def test_a_parked_item_is_put_back(rig: Rig) -> None:
    item = await parked(rig)
    lea = await rig.signed_in("lea")
    await lea.get("/overview")
    assert f'href="/items/{item}"' in lea.page
    await lea.get(f"/items/{item}")
    assert "Parked" in lea.page
    await lea.post("/items/requeue")
    assert (await rig.item(item)).state is State.READY
    answer = await lea.post("/items/requeue", item_id=item)
    assert answer.status_code == 200


async def test_a_lead_may_reveal_any_item_and_that_is_on_record(rig: Rig) -> None:
    item = await rig.flag()
    lea = await rig.signed_in("lea")
    await lea.get(f"/items/{item}")
    assert (await lea.get(f"/items/{item}/picture")).status_code == 200
    assert (await lea.get(f"/items/{item}/picture?clear")).status_code == 403
    await lea.get(f"/items/{item}")
    answer = await lea.post("/review/reveal")
    assert answer.url.path == f"/items/{item}"
    assert (await lea.get(f"/items/{item}/picture?clear")).status_code == 200
    await lea.get(f"/items/{item}")
    assert "<li>lea, just now</li>" in lea.page


async def test_a_lead_sees_nothing_of_other_tenants(rig: Rig) -> None:
    item = await rig.flag(tenant="other")
    lea = await rig.signed_in("lea")
    for page in (f"/items/{item}", f"/items/{item}/picture"):
        assert (await lea.get(page)).status_code == 404
    await lea.get("/queue")
    assert item not in lea.page
    assert (await lea.post("/items/requeue", item_id=item)).status_code == 404
    await lea.get("/queue")
    assert (await lea.post("/review/reveal", item_id=item)).status_code == 404


@pytest.mark.parametrize("path", ["/items/%00", "/items/a%00b/picture"])
async def test_an_address_that_no_item_can_have_is_not_found(rig: Rig, path: str) -> None:
    lea = await rig.signed_in("lea")
    assert (await lea.get(path)).status_code == 404
    assert (await lea.get("/queue?category=%00")).headers["location"] == "/queue"
    await lea.get("/queue")
    assert (await lea.post("/items/requeue", item_id="\0")).status_code == 404


async def test_an_open_item_of_a_policy_that_audits_tells_a_lead_no_more(rig: Rig) -> None:
    """Leads decide, too; once decided they see what it was, but for who may undo it."""
    item = await rig.flag(blind=True, audit=True, inclusion_probability=0.1,
                          reasons=(ReasonCode.AUDIT_SAMPLE,))  # fmt: skip
    lea = await rig.signed_in("lea")
    for page in (f"/items/{item}", "/queue", "/overview"):
        await lea.get(page)
        assert "0.83" not in lea.page
        assert "audit" not in lea.page.lower()
        assert "due in" not in lea.page
    await lea.take()
    await lea.decide("approve")
    for page in (f"/items/{item}", "/queue?state=DECIDED"):
        await lea.get(page)
        assert "0.83" not in lea.page
        assert "audit" not in lea.page.lower()
    await lea.get(f"/items/{item}")
    assert "approved just now by lea" in lea.page
    rig.accounts["mia"] = account("mia", "lead")
    mia = await rig.signed_in("mia")
    await mia.get(f"/items/{item}")
    assert "0.83" in mia.page
    await mia.get("/queue?state=DECIDED")
    assert "audit" in mia.page


async def test_the_overview_counts(rig: Rig) -> None:
    for number in range(4):
        await rig.flag(category="red" if number else "blue", severity=2)
    ann, lea = await rig.signed_in(), await rig.signed_in("lea")
    await ann.take()
    await ann.post("/review/reveal")
    await ann.decide("approve")
    await ann.post("/review/undo")
    await ann.decide("reject", label="red")
    await ann.post("/review/skip")
    rig.clock.advance(9 * 3600.0)
    await lea.sign_in("lea")
    await lea.get("/overview")
    row = lea.page.split('<th scope="row">ann</th>')[1].split("</tr>")[0]
    assert row.replace("<td>", " ").replace("</td>", "").split() == list("2110111")
    assert "Decisions per hour: 2 9 h ago" in lea.page
    assert " overdue</span>" in lea.page
    assert "9 hours" in lea.page


async def test_an_empty_overview(rig: Rig) -> None:
    lea = await rig.signed_in("lea")
    await lea.get("/overview")
    assert "Nothing waits." in lea.page
    assert "Decisions per hour: none" in lea.page
    assert '<a href="/quality">By category and reviewer</a>' in lea.page


def titles(page: str) -> list[str]:
    return re.findall(r'<a href="/items/[^"]+">([^<]+)</a>', page)


async def test_the_list_is_filtered_by_reason_and_age(rig: Rig) -> None:
    await rig.flag(category="red")
    rig.clock.advance(2 * 3600.0)
    await rig.flag(category="blue", reasons=(ReasonCode.UNDECODABLE,))
    lea = await rig.signed_in("lea")
    for query, found in {
        "reason=UNDECODABLE": ["blue"],
        "reason=CATEGORY_REVIEW": ["Red"],
        "age=1h": ["Red"],
        "age=new": ["blue"],
        "age=8h": [],
        "age=1h&reason=UNDECODABLE": [],
        "age=nonsense&reason=nonsense": ["Red", "blue"],
    }.items():
        await lea.get(f"/queue?{query}")
        assert titles(lea.page) == found, query


async def test_a_filter_tells_no_lead_which_items_are_samples(rig: Rig) -> None:
    """Of a policy that audits nothing is found by reason or age; it says so."""
    rig.policies.policies = (colour_policy(audit=AuditRates(rate=0.1)),)
    await rig.flag(blind=True)
    await rig.flag(blind=True, audit=True, reasons=(ReasonCode.AUDIT_SAMPLE,))
    lea = await rig.signed_in("lea")
    for query in ("reason=AUDIT_SAMPLE", "reason=CATEGORY_REVIEW", "age=new"):
        await lea.get(f"/queue?{query}")
        assert titles(lea.page) == []
        assert "are left out" in lea.page
    await lea.get("/queue")
    assert len(titles(lea.page)) == 2
    assert "are left out" not in lea.page
    assert "Audit" not in lea.page


async def test_a_rare_kind_is_looked_for_page_by_page(rig: Rig) -> None:
    """A page without a find that has not looked at everything says so and goes on."""
    for number in range(LOOK_AT + 1):
        flag = make_flag(f"f{number}", f"{number:064x}", 1)
        rig.store.record([flag])
    rig.clock.advance(1.0)
    await rig.flag(category="rare")
    lea = await rig.signed_in("lea")
    await lea.get("/queue?category=rare")
    assert "None among those looked at so far." in lea.page
    further = re.search(r'class="button" href="([^"]+)">Look further', lea.page)
    assert further is not None
    await lea.get(further[1].replace("&amp;", "&"))
    assert titles(lea.page) == ["rare"]


async def test_a_lead_takes_an_item_out_of_its_turn(rig: Rig) -> None:
    first, second = await rig.flag(severity=4), await rig.flag(severity=1)
    lea = await rig.signed_in("lea")
    assert await lea.take() == first
    await lea.get(f"/items/{second}")
    await lea.post("/items/take")
    assert lea.item == second
    assert (await rig.item(first)).state is State.READY
    ann = await rig.signed_in()
    assert (await ann.post("/items/take", item_id=first)).status_code == 403
    await ann.take()
    await lea.get(f"/items/{first}")
    assert "Take it in hand" not in lea.page
    await lea.post("/items/take", item_id=first)
    assert "could not be taken" in lea.told
    assert (await rig.item(second)).state is State.READY


async def test_the_overview_counts_what_was_said_over_the_service_too(rig: Rig) -> None:
    await rig.flag(category="red")
    lease = await rig.claim("api-bot")
    assert lease is not None
    said = DecideRequest(tenant="t", item_id=lease.item.item_id, token=lease.token,
                         reviewer="api-bot", outcome=Outcome.REJECT)  # fmt: skip
    await rig.queue.decide(said)
    lea = await rig.signed_in("lea")
    await lea.get("/overview")
    assert "Decisions per hour: 1 in the last hour" in lea.page
    row = lea.page.split('<th scope="row">api-bot</th>')[1].split("</tr>")[0]
    assert row.replace("<td>", " ").replace("</td>", "").split() == list("1010000")


async def test_the_overview_marks_what_is_overdue_and_what_is_due_soon(rig: Rig) -> None:
    await rig.flag(category="red", severity=4)  # due in half an hour
    lea = await rig.signed_in("lea")
    await lea.get("/overview")
    assert "1 waiting, 1 due within the hour, the oldest less than a minute" in lea.page
    rig.clock.advance(1800.5)
    await lea.get("/overview")
    assert '1 waiting, <span class="late">1 overdue</span>, the oldest 30 minutes' in lea.page


async def test_precision_is_drawn_by_category_and_day(rig: Rig) -> None:
    ann, lea = await rig.signed_in(), await rig.signed_in("lea")
    for outcome in ("approve", "reject", "reject"):
        await rig.flag(category="red")
        await ann.take()
        await ann.decide(outcome, label=["red"])
    rig.clock.advance(24 * 3600.0)
    await lea.sign_in("lea")
    await lea.get("/overview")
    assert "67 % (21 to 94 %) of 3" in lea.page
    assert 'aria-label="Precision of Red: 67 % 1 day ago"' in lea.page


async def test_no_day_is_counted_before_it_is_over_where_samples_are_taken(rig: Rig) -> None:
    """Or whoever decides an item could see whether the number of flags has risen."""
    rig.policies.policies = (colour_policy(audit=AuditRates(rate=0.1)),)
    await rig.flag(blind=True)
    ann, lea = await rig.signed_in(), await rig.signed_in("lea")
    await ann.take()
    await ann.decide("approve")
    await lea.get("/overview")
    assert "No flag has been decided before today" in lea.page
    rig.clock.advance(24 * 3600.0)
    await lea.sign_in("lea")
    await lea.get("/overview")
    assert "of 1</span>" in lea.page
