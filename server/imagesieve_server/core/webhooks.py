"""One decision event as a signed webhook: its id, its body, its headers.

Body: a CloudEvents 1.0 event in JSON (structured mode). Headers: Standard Webhooks
(https://www.standardwebhooks.com): HMAC-SHA256 over ``id.timestamp.body``. Pure; times are
seconds since the epoch.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import hmac
import json
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from imagesieve_server.core.review import DecisionRecord
from imagesieve_server.core.review_events import DecisionEvent

EVENT_TYPE = "dev.imagesieve.decision.made"
CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
SECRET_PREFIX = "whsec_"
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
KEY_BYTES = range(24, 65)
"""How long a key may be, bytes; by Standard Webhooks."""


def signing_key(secret: str) -> bytes:
    """The key of a secret as people write it, ``whsec_`` and base64. Raises ValueError, whose
    words never hold the secret."""
    if not secret.startswith(SECRET_PREFIX):
        raise ValueError(f"must begin with {SECRET_PREFIX}")
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"must be base64 behind {SECRET_PREFIX}") from None
    if len(key) not in KEY_BYTES:
        raise ValueError(f"must be {KEY_BYTES[0]} to {KEY_BYTES[-1]} bytes, not {len(key)}")
    return key


def event_id(tenant: str, decision_id: str, request_id: str) -> str:
    """Of the event of one submission's share of a decision: the same at every attempt and at
    every endpoint, and no other event's. Made of what is told and not of its position, which a
    database put back from a backup gives a second time."""
    text = "\0".join((tenant, decision_id, request_id))
    return "evt_" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def headers(*, event_id: str, timestamp: int, body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """What proves the body to whoever has one of the keys. ``timestamp`` is the attempt's."""
    signed = f"{event_id}.{timestamp}.".encode() + body
    proofs = (hmac.new(key, signed, hashlib.sha256).digest() for key in keys)
    return {
        "content-type": CONTENT_TYPE,
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(p).decode()}" for p in proofs),
    }


def body_of(tenant: str, position: int, event: DecisionEvent) -> bytes:
    """The CloudEvents envelope around the event. ``sequence`` (an extension that CloudEvents
    documents) orders a tenant's events as text."""
    envelope = {
        "specversion": "1.0",
        "id": event_id(tenant, event.decision.decision_id, event.request_id),
        "source": f"//imagesieve.dev/tenants/{urllib.parse.quote(tenant, safe='')}",
        "type": EVENT_TYPE,
        "subject": event.decision.item_id,
        "time": moment(event.decision.decided_at),
        "sequence": f"{position:020d}",
        "datacontenttype": "application/json",
        "data": data_of(event),
    }
    return json.dumps(envelope, separators=(",", ":")).encode()


def data_of(event: DecisionEvent) -> dict[str, Any]:
    """What WatchDecisions tells of the event, under the same names, but for the cursor."""
    return {
        "decision": _decision(event.decision),
        "sha256": event.sha256,
        "content_ref": event.content_ref,
        "uploader_ref": event.uploader_ref,
        "surface": event.surface,
        "labels": dict(event.labels),
        "request_id": event.request_id,
    }


def moment(seconds: float) -> str:
    """RFC 3339 in UTC, to the microsecond."""
    at = _EPOCH + datetime.timedelta(microseconds=round(seconds * 1e6))
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _decision(decision: DecisionRecord) -> Mapping[str, Any]:
    return {
        "decision_id": decision.decision_id,
        "item_id": decision.item_id,
        "round": decision.round,
        "outcome": f"OUTCOME_{decision.outcome.value}",
        "labels": list(decision.labels),
        "note": decision.note,
        "reviewer": decision.reviewer,
        "decided_at": moment(decision.decided_at),
        "effective": decision.effective,
        "supersedes": decision.supersedes,
        "cause": decision.cause.value,
        "policy_version": decision.policy_version,
        "model_version": decision.model_version,
    }
