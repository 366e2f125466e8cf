"""Pages of items by time of arrival, which never changes: each item is on exactly one page.

What a page costs is bounded, whatever is asked for and however rare it is: after so many items
that were looked at a page ends, short or even empty, and says where the next one begins.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace

from imagesieve_server.core.errors import InvalidRequest
from imagesieve_server.core.review import OPEN, ItemPage, ListRequest
from imagesieve_server.review_queue import checks, reading
from imagesieve_server.review_queue.list_rows import Place, Wanted
from imagesieve_server.review_queue.reason_bits import BIT
from imagesieve_server.review_queue.rows import ItemRow, Transaction

PAGE_MAX = 500
"""Items on one page at most; a larger wish is cut, not refused."""


def page(tx: Transaction, request: ListRequest) -> ItemPage:
    """Raises InvalidRequest."""
    _check(request)
    size = min(request.page_size, PAGE_MAX)
    rows: list[ItemRow] = []
    ends: list[Place] = []
    wanted = _wanted(tx, request, size)
    for state in sorted(set(request.states) or OPEN):
        found = tx.page(replace(wanted, state=state))
        rows += found.rows
        if found.reached is not None:
            ends.append(found.reached)
    rows.sort(key=_place)
    if ends:  # of another state there may be items before what this one's look did not reach
        rows = [row for row in rows if _place(row) <= min(ends)]
    shown = rows[:size]
    token = ""
    if len(rows) > size:
        token = _token_of(request, _place(shown[-1]))
    elif ends:
        token = _token_of(request, min(ends))
    items = reading.items_of(tx, request.tenant, shown)
    return ItemPage(items=tuple(items), next_page_token=token)


def _check(request: ListRequest) -> None:
    checks.within("page_size", request.page_size, low=1, high=checks.MAX_INT)
    checks.within("look_at", request.look_at, low=1, high=checks.MAX_INT)
    checks.text("category", request.category)
    checks.within("min_age_s", request.min_age_s, low=0, high=checks.MAX_INT)
    checks.within("max_age_s", request.max_age_s, low=0, high=checks.MAX_INT)


def _wanted(tx: Transaction, request: ListRequest, size: int) -> Wanted:
    """Of whatever state. A page knows one item more than it shows: whether there is a next."""
    now = tx.now()
    return Wanted(
        tenant=request.tenant,
        state=next(iter(OPEN)),
        category=request.category,
        reason_bit=0 if request.reason is None else BIT[request.reason],
        told_only=request.told_only,
        since=now - request.max_age_s if request.max_age_s else None,
        until=now - request.min_age_s if request.min_age_s else None,
        after=_key_of(request) if request.page_token else None,
        limit=size + 1,
        look_at=request.look_at,
    )


def _place(row: ItemRow) -> Place:
    return row.enqueued_at, row.item_id


def _question(request: ListRequest) -> str:
    """What a page token is good for: the same question of the same tenant."""
    asked = [request.tenant, sorted(set(request.states)), request.category, request.reason,
             request.min_age_s, request.max_age_s, request.told_only]  # fmt: skip
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


def _token_of(request: ListRequest, last: Place) -> str:
    text = json.dumps([_question(request), *last])
    return base64.urlsafe_b64encode(text.encode()).decode()


def _key_of(request: ListRequest) -> Place:
    """Raises InvalidRequest for a token that is not ours or of another question."""
    try:
        question, enqueued_at, item_id = json.loads(
            base64.urlsafe_b64decode(request.page_token.encode())
        )
        key = (float(enqueued_at), str(item_id))
    except (ValueError, TypeError):
        raise InvalidRequest("page_token", "was not made by this server") from None
    checks.text("page_token", key[1])
    if question != _question(request):
        raise InvalidRequest("page_token", "belongs to another tenant or filter")
    return key
