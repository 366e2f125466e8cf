import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from imagesieve.v1 import moderation_pb2 as _moderation_pb2
from imagesieve.v1 import verdict_pb2 as _verdict_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ItemState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ITEM_STATE_UNSPECIFIED: _ClassVar[ItemState]
    ITEM_STATE_READY: _ClassVar[ItemState]
    ITEM_STATE_LEASED: _ClassVar[ItemState]
    ITEM_STATE_PARKED: _ClassVar[ItemState]
    ITEM_STATE_DECIDED: _ClassVar[ItemState]
    ITEM_STATE_EXPIRED: _ClassVar[ItemState]

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_APPROVE: _ClassVar[Outcome]
    OUTCOME_REJECT: _ClassVar[Outcome]
    OUTCOME_ESCALATE: _ClassVar[Outcome]

class ReopenCause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REOPEN_CAUSE_UNSPECIFIED: _ClassVar[ReopenCause]
    REOPEN_CAUSE_APPEAL: _ClassVar[ReopenCause]
    REOPEN_CAUSE_UNDO: _ClassVar[ReopenCause]
    REOPEN_CAUSE_OVERTURN: _ClassVar[ReopenCause]

class GroupCloseProgress(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GROUP_CLOSE_PROGRESS_UNSPECIFIED: _ClassVar[GroupCloseProgress]
    GROUP_CLOSE_PROGRESS_CLOSING: _ClassVar[GroupCloseProgress]
    GROUP_CLOSE_PROGRESS_CLOSED: _ClassVar[GroupCloseProgress]
    GROUP_CLOSE_PROGRESS_UNDOING: _ClassVar[GroupCloseProgress]
    GROUP_CLOSE_PROGRESS_UNDONE: _ClassVar[GroupCloseProgress]
ITEM_STATE_UNSPECIFIED: ItemState
ITEM_STATE_READY: ItemState
ITEM_STATE_LEASED: ItemState
ITEM_STATE_PARKED: ItemState
ITEM_STATE_DECIDED: ItemState
ITEM_STATE_EXPIRED: ItemState
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_APPROVE: Outcome
OUTCOME_REJECT: Outcome
OUTCOME_ESCALATE: Outcome
REOPEN_CAUSE_UNSPECIFIED: ReopenCause
REOPEN_CAUSE_APPEAL: ReopenCause
REOPEN_CAUSE_UNDO: ReopenCause
REOPEN_CAUSE_OVERTURN: ReopenCause
GROUP_CLOSE_PROGRESS_UNSPECIFIED: GroupCloseProgress
GROUP_CLOSE_PROGRESS_CLOSING: GroupCloseProgress
GROUP_CLOSE_PROGRESS_CLOSED: GroupCloseProgress
GROUP_CLOSE_PROGRESS_UNDOING: GroupCloseProgress
GROUP_CLOSE_PROGRESS_UNDONE: GroupCloseProgress

class Decision(_message.Message):
    __slots__ = ("decision_id", "item_id", "round", "outcome", "labels", "note", "reviewer", "decided_at", "effective", "supersedes", "cause", "policy_version", "model_version")
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    REVIEWER_FIELD_NUMBER: _ClassVar[int]
    DECIDED_AT_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_FIELD_NUMBER: _ClassVar[int]
    SUPERSEDES_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    item_id: str
    round: int
    outcome: Outcome
    labels: _containers.RepeatedScalarFieldContainer[str]
    note: str
    reviewer: str
    decided_at: _timestamp_pb2.Timestamp
    effective: bool
    supersedes: str
    cause: str
    policy_version: str
    model_version: str
    def __init__(self, decision_id: _Optional[str] = ..., item_id: _Optional[str] = ..., round: _Optional[int] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., labels: _Optional[_Iterable[str]] = ..., note: _Optional[str] = ..., reviewer: _Optional[str] = ..., decided_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., effective: bool = ..., supersedes: _Optional[str] = ..., cause: _Optional[str] = ..., policy_version: _Optional[str] = ..., model_version: _Optional[str] = ...) -> None: ...

class Item(_message.Message):
    __slots__ = ("item_id", "sha256", "state", "verdict", "policy", "policy_version", "model_version", "reasons", "category", "severity", "score", "answer", "media_type", "size_bytes", "enqueued_at", "due_at", "surface", "content_ref", "uploader_ref", "labels", "submissions", "round", "tier", "reviews_needed", "expiries", "claimed_by", "claimed_at", "lease_until", "decisions", "group_id", "opened_by", "opening_note", "attached_to", "earlier")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    ENQUEUED_AT_FIELD_NUMBER: _ClassVar[int]
    DUE_AT_FIELD_NUMBER: _ClassVar[int]
    SURFACE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_REF_FIELD_NUMBER: _ClassVar[int]
    UPLOADER_REF_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    SUBMISSIONS_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    REVIEWS_NEEDED_FIELD_NUMBER: _ClassVar[int]
    EXPIRIES_FIELD_NUMBER: _ClassVar[int]
    CLAIMED_BY_FIELD_NUMBER: _ClassVar[int]
    CLAIMED_AT_FIELD_NUMBER: _ClassVar[int]
    LEASE_UNTIL_FIELD_NUMBER: _ClassVar[int]
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    OPENED_BY_FIELD_NUMBER: _ClassVar[int]
    OPENING_NOTE_FIELD_NUMBER: _ClassVar[int]
    ATTACHED_TO_FIELD_NUMBER: _ClassVar[int]
    EARLIER_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    sha256: str
    state: ItemState
    verdict: _verdict_pb2.Verdict
    policy: str
    policy_version: str
    model_version: str
    reasons: _containers.RepeatedScalarFieldContainer[str]
    category: str
    severity: int
    score: float
    answer: _moderation_pb2.ModerateResponse
    media_type: str
    size_bytes: int
    enqueued_at: _timestamp_pb2.Timestamp
    due_at: _timestamp_pb2.Timestamp
    surface: str
    content_ref: str
    uploader_ref: str
    labels: _containers.ScalarMap[str, str]
    submissions: int
    round: int
    tier: int
    reviews_needed: int
    expiries: int
    claimed_by: str
    claimed_at: _timestamp_pb2.Timestamp
    lease_until: _timestamp_pb2.Timestamp
    decisions: _containers.RepeatedCompositeFieldContainer[Decision]
    group_id: str
    opened_by: str
    opening_note: str
    attached_to: str
    earlier: Decision
    def __init__(self, item_id: _Optional[str] = ..., sha256: _Optional[str] = ..., state: _Optional[_Union[ItemState, str]] = ..., verdict: _Optional[_Union[_verdict_pb2.Verdict, str]] = ..., policy: _Optional[str] = ..., policy_version: _Optional[str] = ..., model_version: _Optional[str] = ..., reasons: _Optional[_Iterable[str]] = ..., category: _Optional[str] = ..., severity: _Optional[int] = ..., score: _Optional[float] = ..., answer: _Optional[_Union[_moderation_pb2.ModerateResponse, _Mapping]] = ..., media_type: _Optional[str] = ..., size_bytes: _Optional[int] = ..., enqueued_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., due_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., surface: _Optional[str] = ..., content_ref: _Optional[str] = ..., uploader_ref: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., submissions: _Optional[int] = ..., round: _Optional[int] = ..., tier: _Optional[int] = ..., reviews_needed: _Optional[int] = ..., expiries: _Optional[int] = ..., claimed_by: _Optional[str] = ..., claimed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., lease_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., decisions: _Optional[_Iterable[_Union[Decision, _Mapping]]] = ..., group_id: _Optional[str] = ..., opened_by: _Optional[str] = ..., opening_note: _Optional[str] = ..., attached_to: _Optional[str] = ..., earlier: _Optional[_Union[Decision, _Mapping]] = ...) -> None: ...

class ClaimRequest(_message.Message):
    __slots__ = ("claim_id", "reviewer", "categories", "tier", "lease_seconds", "include_image", "item_id")
    CLAIM_ID_FIELD_NUMBER: _ClassVar[int]
    REVIEWER_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    LEASE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_IMAGE_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    claim_id: str
    reviewer: str
    categories: _containers.RepeatedScalarFieldContainer[str]
    tier: int
    lease_seconds: int
    include_image: bool
    item_id: str
    def __init__(self, claim_id: _Optional[str] = ..., reviewer: _Optional[str] = ..., categories: _Optional[_Iterable[str]] = ..., tier: _Optional[int] = ..., lease_seconds: _Optional[int] = ..., include_image: bool = ..., item_id: _Optional[str] = ...) -> None: ...

class ClaimResponse(_message.Message):
    __slots__ = ("item", "token", "lease_until", "image")
    ITEM_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    LEASE_UNTIL_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    item: Item
    token: str
    lease_until: _timestamp_pb2.Timestamp
    image: bytes
    def __init__(self, item: _Optional[_Union[Item, _Mapping]] = ..., token: _Optional[str] = ..., lease_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., image: _Optional[bytes] = ...) -> None: ...

class ExtendRequest(_message.Message):
    __slots__ = ("item_id", "token", "lease_seconds")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    LEASE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    token: str
    lease_seconds: int
    def __init__(self, item_id: _Optional[str] = ..., token: _Optional[str] = ..., lease_seconds: _Optional[int] = ...) -> None: ...

class ExtendResponse(_message.Message):
    __slots__ = ("lease_until",)
    LEASE_UNTIL_FIELD_NUMBER: _ClassVar[int]
    lease_until: _timestamp_pb2.Timestamp
    def __init__(self, lease_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ReleaseRequest(_message.Message):
    __slots__ = ("item_id", "token")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    token: str
    def __init__(self, item_id: _Optional[str] = ..., token: _Optional[str] = ...) -> None: ...

class ReleaseResponse(_message.Message):
    __slots__ = ("item",)
    ITEM_FIELD_NUMBER: _ClassVar[int]
    item: Item
    def __init__(self, item: _Optional[_Union[Item, _Mapping]] = ...) -> None: ...

class DecideRequest(_message.Message):
    __slots__ = ("item_id", "token", "outcome", "labels", "note", "reviewer")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    REVIEWER_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    token: str
    outcome: Outcome
    labels: _containers.RepeatedScalarFieldContainer[str]
    note: str
    reviewer: str
    def __init__(self, item_id: _Optional[str] = ..., token: _Optional[str] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., labels: _Optional[_Iterable[str]] = ..., note: _Optional[str] = ..., reviewer: _Optional[str] = ...) -> None: ...

class DecideResponse(_message.Message):
    __slots__ = ("decision",)
    DECISION_FIELD_NUMBER: _ClassVar[int]
    decision: Decision
    def __init__(self, decision: _Optional[_Union[Decision, _Mapping]] = ...) -> None: ...

class GetRequest(_message.Message):
    __slots__ = ("item_id", "include_image")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_IMAGE_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    include_image: bool
    def __init__(self, item_id: _Optional[str] = ..., include_image: bool = ...) -> None: ...

class GetResponse(_message.Message):
    __slots__ = ("item", "image")
    ITEM_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    item: Item
    image: bytes
    def __init__(self, item: _Optional[_Union[Item, _Mapping]] = ..., image: _Optional[bytes] = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = ("states", "category", "page_size", "page_token", "reason", "min_age_seconds", "max_age_seconds")
    STATES_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MIN_AGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MAX_AGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    states: _containers.RepeatedScalarFieldContainer[ItemState]
    category: str
    page_size: int
    page_token: str
    reason: str
    min_age_seconds: float
    max_age_seconds: float
    def __init__(self, states: _Optional[_Iterable[_Union[ItemState, str]]] = ..., category: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., reason: _Optional[str] = ..., min_age_seconds: _Optional[float] = ..., max_age_seconds: _Optional[float] = ...) -> None: ...

class ListResponse(_message.Message):
    __slots__ = ("items", "next_page_token")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Item]
    next_page_token: str
    def __init__(self, items: _Optional[_Iterable[_Union[Item, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class StatsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatsResponse(_message.Message):
    __slots__ = ("ready", "leased", "parked", "oldest_ready_age_seconds", "awaiting_second_review")
    READY_FIELD_NUMBER: _ClassVar[int]
    LEASED_FIELD_NUMBER: _ClassVar[int]
    PARKED_FIELD_NUMBER: _ClassVar[int]
    OLDEST_READY_AGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    AWAITING_SECOND_REVIEW_FIELD_NUMBER: _ClassVar[int]
    ready: int
    leased: int
    parked: int
    oldest_ready_age_seconds: float
    awaiting_second_review: int
    def __init__(self, ready: _Optional[int] = ..., leased: _Optional[int] = ..., parked: _Optional[int] = ..., oldest_ready_age_seconds: _Optional[float] = ..., awaiting_second_review: _Optional[int] = ...) -> None: ...

class RequeueRequest(_message.Message):
    __slots__ = ("item_id",)
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    def __init__(self, item_id: _Optional[str] = ...) -> None: ...

class RequeueResponse(_message.Message):
    __slots__ = ("item",)
    ITEM_FIELD_NUMBER: _ClassVar[int]
    item: Item
    def __init__(self, item: _Optional[_Union[Item, _Mapping]] = ...) -> None: ...

class ReopenRequest(_message.Message):
    __slots__ = ("item_id", "cause", "decision_id", "note", "reopened_by")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    REOPENED_BY_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    cause: ReopenCause
    decision_id: str
    note: str
    reopened_by: str
    def __init__(self, item_id: _Optional[str] = ..., cause: _Optional[_Union[ReopenCause, str]] = ..., decision_id: _Optional[str] = ..., note: _Optional[str] = ..., reopened_by: _Optional[str] = ...) -> None: ...

class ReopenResponse(_message.Message):
    __slots__ = ("item",)
    ITEM_FIELD_NUMBER: _ClassVar[int]
    item: Item
    def __init__(self, item: _Optional[_Union[Item, _Mapping]] = ...) -> None: ...

class EraseRequest(_message.Message):
    __slots__ = ("sha256", "item_id", "reason", "erased_by")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ERASED_BY_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    item_id: str
    reason: str
    erased_by: str
    def __init__(self, sha256: _Optional[str] = ..., item_id: _Optional[str] = ..., reason: _Optional[str] = ..., erased_by: _Optional[str] = ...) -> None: ...

class EraseResponse(_message.Message):
    __slots__ = ("sha256", "decisions")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    decisions: _containers.RepeatedCompositeFieldContainer[Decision]
    def __init__(self, sha256: _Optional[str] = ..., decisions: _Optional[_Iterable[_Union[Decision, _Mapping]]] = ...) -> None: ...

class WatchDecisionsRequest(_message.Message):
    __slots__ = ("cursor", "from_oldest")
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    FROM_OLDEST_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    from_oldest: bool
    def __init__(self, cursor: _Optional[str] = ..., from_oldest: bool = ...) -> None: ...

class WatchDecisionsResponse(_message.Message):
    __slots__ = ("decision", "cursor", "sha256", "content_ref", "uploader_ref", "surface", "labels", "request_id")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DECISION_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    CONTENT_REF_FIELD_NUMBER: _ClassVar[int]
    UPLOADER_REF_FIELD_NUMBER: _ClassVar[int]
    SURFACE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    decision: Decision
    cursor: str
    sha256: str
    content_ref: str
    uploader_ref: str
    surface: str
    labels: _containers.ScalarMap[str, str]
    request_id: str
    def __init__(self, decision: _Optional[_Union[Decision, _Mapping]] = ..., cursor: _Optional[str] = ..., sha256: _Optional[str] = ..., content_ref: _Optional[str] = ..., uploader_ref: _Optional[str] = ..., surface: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., request_id: _Optional[str] = ...) -> None: ...

class ListGroupsRequest(_message.Message):
    __slots__ = ("page_size",)
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    def __init__(self, page_size: _Optional[int] = ...) -> None: ...

class ListGroupsResponse(_message.Message):
    __slots__ = ("groups",)
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.RepeatedCompositeFieldContainer[GroupSummary]
    def __init__(self, groups: _Optional[_Iterable[_Union[GroupSummary, _Mapping]]] = ...) -> None: ...

class GroupSummary(_message.Message):
    __slots__ = ("group_id", "ready", "leased", "parked", "decided", "expired", "first_at", "last_at")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    LEASED_FIELD_NUMBER: _ClassVar[int]
    PARKED_FIELD_NUMBER: _ClassVar[int]
    DECIDED_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_FIELD_NUMBER: _ClassVar[int]
    FIRST_AT_FIELD_NUMBER: _ClassVar[int]
    LAST_AT_FIELD_NUMBER: _ClassVar[int]
    group_id: str
    ready: int
    leased: int
    parked: int
    decided: int
    expired: int
    first_at: _timestamp_pb2.Timestamp
    last_at: _timestamp_pb2.Timestamp
    def __init__(self, group_id: _Optional[str] = ..., ready: _Optional[int] = ..., leased: _Optional[int] = ..., parked: _Optional[int] = ..., decided: _Optional[int] = ..., expired: _Optional[int] = ..., first_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetGroupRequest(_message.Message):
    __slots__ = ("group_id",)
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    group_id: str
    def __init__(self, group_id: _Optional[str] = ...) -> None: ...

class GetGroupResponse(_message.Message):
    __slots__ = ("summary", "closable", "held_for_several_reviews", "held_as_escalated", "held_as_contested", "more", "snapshot", "closes", "held_as_judged_otherwise")
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    CLOSABLE_FIELD_NUMBER: _ClassVar[int]
    HELD_FOR_SEVERAL_REVIEWS_FIELD_NUMBER: _ClassVar[int]
    HELD_AS_ESCALATED_FIELD_NUMBER: _ClassVar[int]
    HELD_AS_CONTESTED_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    CLOSES_FIELD_NUMBER: _ClassVar[int]
    HELD_AS_JUDGED_OTHERWISE_FIELD_NUMBER: _ClassVar[int]
    summary: GroupSummary
    closable: int
    held_for_several_reviews: int
    held_as_escalated: int
    held_as_contested: int
    more: int
    snapshot: str
    closes: _containers.RepeatedCompositeFieldContainer[GroupClose]
    held_as_judged_otherwise: int
    def __init__(self, summary: _Optional[_Union[GroupSummary, _Mapping]] = ..., closable: _Optional[int] = ..., held_for_several_reviews: _Optional[int] = ..., held_as_escalated: _Optional[int] = ..., held_as_contested: _Optional[int] = ..., more: _Optional[int] = ..., snapshot: _Optional[str] = ..., closes: _Optional[_Iterable[_Union[GroupClose, _Mapping]]] = ..., held_as_judged_otherwise: _Optional[int] = ...) -> None: ...

class ListGroupItemsRequest(_message.Message):
    __slots__ = ("group_id", "page_size", "page_token")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    group_id: str
    page_size: int
    page_token: str
    def __init__(self, group_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListGroupItemsResponse(_message.Message):
    __slots__ = ("items", "next_page_token")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Item]
    next_page_token: str
    def __init__(self, items: _Optional[_Iterable[_Union[Item, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CloseGroupRequest(_message.Message):
    __slots__ = ("close_id", "group_id", "snapshot", "count", "outcome", "labels", "note", "closed_by")
    CLOSE_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    CLOSED_BY_FIELD_NUMBER: _ClassVar[int]
    close_id: str
    group_id: str
    snapshot: str
    count: int
    outcome: Outcome
    labels: _containers.RepeatedScalarFieldContainer[str]
    note: str
    closed_by: str
    def __init__(self, close_id: _Optional[str] = ..., group_id: _Optional[str] = ..., snapshot: _Optional[str] = ..., count: _Optional[int] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., labels: _Optional[_Iterable[str]] = ..., note: _Optional[str] = ..., closed_by: _Optional[str] = ...) -> None: ...

class CloseGroupResponse(_message.Message):
    __slots__ = ("close",)
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    close: GroupClose
    def __init__(self, close: _Optional[_Union[GroupClose, _Mapping]] = ...) -> None: ...

class GetGroupCloseRequest(_message.Message):
    __slots__ = ("close_id",)
    CLOSE_ID_FIELD_NUMBER: _ClassVar[int]
    close_id: str
    def __init__(self, close_id: _Optional[str] = ...) -> None: ...

class GetGroupCloseResponse(_message.Message):
    __slots__ = ("close",)
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    close: GroupClose
    def __init__(self, close: _Optional[_Union[GroupClose, _Mapping]] = ...) -> None: ...

class UndoGroupCloseRequest(_message.Message):
    __slots__ = ("close_id", "note", "undone_by")
    CLOSE_ID_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    UNDONE_BY_FIELD_NUMBER: _ClassVar[int]
    close_id: str
    note: str
    undone_by: str
    def __init__(self, close_id: _Optional[str] = ..., note: _Optional[str] = ..., undone_by: _Optional[str] = ...) -> None: ...

class UndoGroupCloseResponse(_message.Message):
    __slots__ = ("close",)
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    close: GroupClose
    def __init__(self, close: _Optional[_Union[GroupClose, _Mapping]] = ...) -> None: ...

class GroupClose(_message.Message):
    __slots__ = ("close_id", "group_id", "outcome", "labels", "note", "closed_by", "ordered_at", "count", "progress", "pending", "closed", "skipped", "reopened", "kept", "undone_by", "undone_at")
    CLOSE_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    CLOSED_BY_FIELD_NUMBER: _ClassVar[int]
    ORDERED_AT_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    REOPENED_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    UNDONE_BY_FIELD_NUMBER: _ClassVar[int]
    UNDONE_AT_FIELD_NUMBER: _ClassVar[int]
    close_id: str
    group_id: str
    outcome: Outcome
    labels: _containers.RepeatedScalarFieldContainer[str]
    note: str
    closed_by: str
    ordered_at: _timestamp_pb2.Timestamp
    count: int
    progress: GroupCloseProgress
    pending: int
    closed: int
    skipped: int
    reopened: int
    kept: int
    undone_by: str
    undone_at: _timestamp_pb2.Timestamp
    def __init__(self, close_id: _Optional[str] = ..., group_id: _Optional[str] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., labels: _Optional[_Iterable[str]] = ..., note: _Optional[str] = ..., closed_by: _Optional[str] = ..., ordered_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., count: _Optional[int] = ..., progress: _Optional[_Union[GroupCloseProgress, str]] = ..., pending: _Optional[int] = ..., closed: _Optional[int] = ..., skipped: _Optional[int] = ..., reopened: _Optional[int] = ..., kept: _Optional[int] = ..., undone_by: _Optional[str] = ..., undone_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
