import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from imagesieve.v1 import review_pb2 as _review_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetQualityRequest(_message.Message):
    __slots__ = ("since", "until")
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    def __init__(self, since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Estimate(_message.Message):
    __slots__ = ("value", "low", "high")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    value: float
    low: float
    high: float
    def __init__(self, value: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...

class QualityFigures(_message.Message):
    __slots__ = ("name", "pairs", "agreed", "only_first_rejected", "only_second_rejected", "agreement", "kappa", "golden", "golden_right", "golden_passed", "golden_accuracy", "decisions", "contested", "overturned", "overturn_rate")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    AGREED_FIELD_NUMBER: _ClassVar[int]
    ONLY_FIRST_REJECTED_FIELD_NUMBER: _ClassVar[int]
    ONLY_SECOND_REJECTED_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    KAPPA_FIELD_NUMBER: _ClassVar[int]
    GOLDEN_FIELD_NUMBER: _ClassVar[int]
    GOLDEN_RIGHT_FIELD_NUMBER: _ClassVar[int]
    GOLDEN_PASSED_FIELD_NUMBER: _ClassVar[int]
    GOLDEN_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    CONTESTED_FIELD_NUMBER: _ClassVar[int]
    OVERTURNED_FIELD_NUMBER: _ClassVar[int]
    OVERTURN_RATE_FIELD_NUMBER: _ClassVar[int]
    name: str
    pairs: int
    agreed: int
    only_first_rejected: int
    only_second_rejected: int
    agreement: Estimate
    kappa: Estimate
    golden: int
    golden_right: int
    golden_passed: int
    golden_accuracy: Estimate
    decisions: int
    contested: int
    overturned: int
    overturn_rate: Estimate
    def __init__(self, name: _Optional[str] = ..., pairs: _Optional[int] = ..., agreed: _Optional[int] = ..., only_first_rejected: _Optional[int] = ..., only_second_rejected: _Optional[int] = ..., agreement: _Optional[_Union[Estimate, _Mapping]] = ..., kappa: _Optional[_Union[Estimate, _Mapping]] = ..., golden: _Optional[int] = ..., golden_right: _Optional[int] = ..., golden_passed: _Optional[int] = ..., golden_accuracy: _Optional[_Union[Estimate, _Mapping]] = ..., decisions: _Optional[int] = ..., contested: _Optional[int] = ..., overturned: _Optional[int] = ..., overturn_rate: _Optional[_Union[Estimate, _Mapping]] = ...) -> None: ...

class GetQualityResponse(_message.Message):
    __slots__ = ("since", "until", "total", "categories", "reviewers", "partial")
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    REVIEWERS_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    total: QualityFigures
    categories: _containers.RepeatedCompositeFieldContainer[QualityFigures]
    reviewers: _containers.RepeatedCompositeFieldContainer[QualityFigures]
    partial: bool
    def __init__(self, since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., total: _Optional[_Union[QualityFigures, _Mapping]] = ..., categories: _Optional[_Iterable[_Union[QualityFigures, _Mapping]]] = ..., reviewers: _Optional[_Iterable[_Union[QualityFigures, _Mapping]]] = ..., partial: bool = ...) -> None: ...

class Golden(_message.Message):
    __slots__ = ("item_id", "sha256", "category", "outcome", "labels", "note", "marked_by", "marked_at", "given")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    MARKED_BY_FIELD_NUMBER: _ClassVar[int]
    MARKED_AT_FIELD_NUMBER: _ClassVar[int]
    GIVEN_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    sha256: str
    category: str
    outcome: _review_pb2.Outcome
    labels: _containers.RepeatedScalarFieldContainer[str]
    note: str
    marked_by: str
    marked_at: _timestamp_pb2.Timestamp
    given: int
    def __init__(self, item_id: _Optional[str] = ..., sha256: _Optional[str] = ..., category: _Optional[str] = ..., outcome: _Optional[_Union[_review_pb2.Outcome, str]] = ..., labels: _Optional[_Iterable[str]] = ..., note: _Optional[str] = ..., marked_by: _Optional[str] = ..., marked_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., given: _Optional[int] = ...) -> None: ...

class MarkGoldenRequest(_message.Message):
    __slots__ = ("item_id", "note", "marked_by")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    MARKED_BY_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    note: str
    marked_by: str
    def __init__(self, item_id: _Optional[str] = ..., note: _Optional[str] = ..., marked_by: _Optional[str] = ...) -> None: ...

class MarkGoldenResponse(_message.Message):
    __slots__ = ("golden",)
    GOLDEN_FIELD_NUMBER: _ClassVar[int]
    golden: Golden
    def __init__(self, golden: _Optional[_Union[Golden, _Mapping]] = ...) -> None: ...

class UnmarkGoldenRequest(_message.Message):
    __slots__ = ("item_id", "unmarked_by")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    UNMARKED_BY_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    unmarked_by: str
    def __init__(self, item_id: _Optional[str] = ..., unmarked_by: _Optional[str] = ...) -> None: ...

class UnmarkGoldenResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListGoldensRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListGoldensResponse(_message.Message):
    __slots__ = ("goldens",)
    GOLDENS_FIELD_NUMBER: _ClassVar[int]
    goldens: _containers.RepeatedCompositeFieldContainer[Golden]
    def __init__(self, goldens: _Optional[_Iterable[_Union[Golden, _Mapping]]] = ...) -> None: ...
