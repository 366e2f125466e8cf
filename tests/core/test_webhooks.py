"""One decision event as a signed webhook, checked by other people's code where there is some."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
from pathlib import Path

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from cloudevents.core.formats.json import JSONFormat
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from imagesieve_server.core import webhooks
from imagesieve_server.core.review import Cause, DecisionRecord, Outcome
from imagesieve_server.core.review_events import DecisionEvent
from imagesieve_server.grpc_api.wire.review import event_of

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
OTHER = "whsec_" + base64.b64encode(b"another key of thirty-two bytes.").decode()
GOLDEN = Path(__file__).parents[1] / "golden" / "webhook.json"


def an_event(**fields: object) -> DecisionEvent:
    decision = DecisionRecord(
        decision_id="018bcfe568001f5a2b3c4d5e6f708192",
        item_id="018bcfe5680000112233445566778899",
        round=2,
        outcome=Outcome.REJECT,
        labels=("weapons",),
        note="a <real> knife \u2028 \U0001f52a",
        reviewer="ann",
        decided_at=1_700_000_000.123456,
        effective=True,
        supersedes="018bcfe568001f5a2b3c4d5e6f708000",
        cause=Cause.DECIDE,
        policy_version="p1",
        model_version="m1",
    )
    plain = {
        "cursor": "opaque",
        "decision": decision,
        "request_id": "r1",
        "sha256": hashlib.sha256(b"picture").hexdigest(),
        "content_ref": "post/1",
        "uploader_ref": "u1",
        "surface": "avatar",
        "labels": {"lang": "de"},
    }
    return DecisionEvent(**{**plain, **fields})  # type: ignore[arg-type]


def signed(body: bytes, *secrets: str) -> dict[str, str]:
    return webhooks.headers(
        event_id="evt_1",
        timestamp=int(datetime.datetime.now(datetime.UTC).timestamp()),
        body=body,
        keys=[webhooks.signing_key(secret) for secret in secrets],
    )


@given(st.binary(max_size=200))
def test_the_reference_implementation_accepts_our_signature(data: bytes) -> None:
    body = json.dumps({"data": data.hex()}).encode()
    assert Webhook(SECRET).verify(body, signed(body, SECRET)) == json.loads(body)


def test_each_of_several_secrets_is_proved_while_one_replaces_another() -> None:
    body = webhooks.body_of("t", 7, an_event())
    headers = signed(body, OTHER, SECRET)
    for secret in (SECRET, OTHER):
        assert Webhook(secret).verify(body, headers)["id"].startswith("evt_")


def test_the_reference_implementation_refuses_what_was_changed() -> None:
    body = webhooks.body_of("t", 7, an_event())
    headers = signed(body, SECRET)
    for wrong in (
        {**headers, "webhook-id": "evt_2"},
        {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) - 1)},
        signed(body, OTHER),
        signed(body + b" ", SECRET),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(body, wrong)


@pytest.mark.parametrize(
    "secret", ["", "abc", "whsec_", "whsec_!!!!", "whsec_c2hvcnQ=", "whsec_" + "A" * 92]
)
def test_a_secret_that_is_none_is_refused_without_being_repeated(secret: str) -> None:
    with pytest.raises(ValueError) as caught:
        webhooks.signing_key(secret)
    assert not secret or secret == "whsec_" or secret not in str(caught.value)


def test_the_body_is_a_cloud_event() -> None:
    body = webhooks.body_of("t e/n", 7, an_event())
    message = HTTPMessage(headers={"content-type": webhooks.CONTENT_TYPE}, body=body)
    event = from_structured_event(message, JSONFormat())
    assert event.get_type() == "dev.imagesieve.decision.made"
    assert event.get_subject() == an_event().decision.item_id
    assert event.get_source() == "//imagesieve.dev/tenants/t%20e%2Fn"
    assert event.get_time() == datetime.datetime(
        2023, 11, 14, 22, 13, 20, 123456, tzinfo=datetime.UTC
    )
    assert event.get_data()["request_id"] == "r1"


def test_the_data_is_what_watch_decisions_tells_but_for_the_cursor() -> None:
    message = event_of(an_event())
    told = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    del told["cursor"]
    assert webhooks.data_of(an_event()) == told


def test_the_id_is_of_the_event_and_not_of_its_place() -> None:
    one = json.loads(webhooks.body_of("t", 7, an_event()))
    assert one["id"] == json.loads(webhooks.body_of("t", 8, an_event()))["id"]
    assert one["id"] != json.loads(webhooks.body_of("u", 7, an_event()))["id"]
    assert one["id"] != json.loads(webhooks.body_of("t", 7, an_event(request_id="r2")))["id"]


@given(st.lists(st.integers(min_value=0, max_value=2**63 - 1), min_size=2, max_size=2))
def test_sequences_are_ordered_as_text(places: list[int]) -> None:
    first, second = (json.loads(webhooks.body_of("t", p, an_event()))["sequence"] for p in places)
    assert (first < second) == (places[0] < places[1])


def test_one_webhook_as_it_leaves(request: pytest.FixtureRequest) -> None:
    body = webhooks.body_of("default", 42, an_event())
    headers = webhooks.headers(
        event_id=json.loads(body)["id"],
        timestamp=1_700_000_001,
        body=body,
        keys=[webhooks.signing_key(SECRET)],
    )
    text = json.dumps({"headers": headers, "body": json.loads(body)}, indent=2) + "\n"
    if request.config.getoption("--update-golden"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")
