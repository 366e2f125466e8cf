from imagesieve.v1 import verdict_pb2 as _verdict_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ModerateMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODERATE_MODE_UNSPECIFIED: _ClassVar[ModerateMode]
    MODERATE_MODE_ENFORCE: _ClassVar[ModerateMode]
    MODERATE_MODE_DRY_RUN: _ClassVar[ModerateMode]
MODERATE_MODE_UNSPECIFIED: ModerateMode
MODERATE_MODE_ENFORCE: ModerateMode
MODERATE_MODE_DRY_RUN: ModerateMode

class ModerateRequest(_message.Message):
    __slots__ = ("request_id", "image", "uri", "content_ref", "uploader_ref", "surface", "policy", "categories", "labels", "mode")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    URI_FIELD_NUMBER: _ClassVar[int]
    CONTENT_REF_FIELD_NUMBER: _ClassVar[int]
    UPLOADER_REF_FIELD_NUMBER: _ClassVar[int]
    SURFACE_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    image: bytes
    uri: str
    content_ref: str
    uploader_ref: str
    surface: str
    policy: str
    categories: _containers.RepeatedScalarFieldContainer[str]
    labels: _containers.ScalarMap[str, str]
    mode: ModerateMode
    def __init__(self, request_id: _Optional[str] = ..., image: _Optional[bytes] = ..., uri: _Optional[str] = ..., content_ref: _Optional[str] = ..., uploader_ref: _Optional[str] = ..., surface: _Optional[str] = ..., policy: _Optional[str] = ..., categories: _Optional[_Iterable[str]] = ..., labels: _Optional[_Mapping[str, str]] = ..., mode: _Optional[_Union[ModerateMode, str]] = ...) -> None: ...

class ModerateResponse(_message.Message):
    __slots__ = ("request_id", "verdict", "reasons", "scores", "worst_category", "views", "coverage", "crop_fraction", "decode_info", "sha256", "policy", "policy_version", "model_version", "degraded", "item_id", "content_ref", "uploader_ref", "surface", "labels", "dry_run")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    WORST_CATEGORY_FIELD_NUMBER: _ClassVar[int]
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    CROP_FRACTION_FIELD_NUMBER: _ClassVar[int]
    DECODE_INFO_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    CONTENT_REF_FIELD_NUMBER: _ClassVar[int]
    UPLOADER_REF_FIELD_NUMBER: _ClassVar[int]
    SURFACE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    verdict: _verdict_pb2.Verdict
    reasons: _containers.RepeatedCompositeFieldContainer[_verdict_pb2.Reason]
    scores: _containers.RepeatedCompositeFieldContainer[_verdict_pb2.CategoryScore]
    worst_category: str
    views: _containers.RepeatedCompositeFieldContainer[_verdict_pb2.View]
    coverage: float
    crop_fraction: float
    decode_info: _verdict_pb2.DecodeInfo
    sha256: str
    policy: str
    policy_version: str
    model_version: str
    degraded: bool
    item_id: str
    content_ref: str
    uploader_ref: str
    surface: str
    labels: _containers.ScalarMap[str, str]
    dry_run: bool
    def __init__(self, request_id: _Optional[str] = ..., verdict: _Optional[_Union[_verdict_pb2.Verdict, str]] = ..., reasons: _Optional[_Iterable[_Union[_verdict_pb2.Reason, _Mapping]]] = ..., scores: _Optional[_Iterable[_Union[_verdict_pb2.CategoryScore, _Mapping]]] = ..., worst_category: _Optional[str] = ..., views: _Optional[_Iterable[_Union[_verdict_pb2.View, _Mapping]]] = ..., coverage: _Optional[float] = ..., crop_fraction: _Optional[float] = ..., decode_info: _Optional[_Union[_verdict_pb2.DecodeInfo, _Mapping]] = ..., sha256: _Optional[str] = ..., policy: _Optional[str] = ..., policy_version: _Optional[str] = ..., model_version: _Optional[str] = ..., degraded: bool = ..., item_id: _Optional[str] = ..., content_ref: _Optional[str] = ..., uploader_ref: _Optional[str] = ..., surface: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., dry_run: bool = ...) -> None: ...

class ModerateBatchRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[ModerateRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[ModerateRequest, _Mapping]]] = ...) -> None: ...

class ItemError(_message.Message):
    __slots__ = ("code", "message", "reason", "metadata", "retry_after_seconds")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_SECONDS_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    reason: str
    metadata: _containers.ScalarMap[str, str]
    retry_after_seconds: float
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ..., reason: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., retry_after_seconds: _Optional[float] = ...) -> None: ...

class ModerateResult(_message.Message):
    __slots__ = ("request_id", "response", "error")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    response: ModerateResponse
    error: ItemError
    def __init__(self, request_id: _Optional[str] = ..., response: _Optional[_Union[ModerateResponse, _Mapping]] = ..., error: _Optional[_Union[ItemError, _Mapping]] = ...) -> None: ...

class ModerateBatchResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ModerateResult]
    def __init__(self, results: _Optional[_Iterable[_Union[ModerateResult, _Mapping]]] = ...) -> None: ...

class ModerateStreamRequest(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: ModerateRequest
    def __init__(self, request: _Optional[_Union[ModerateRequest, _Mapping]] = ...) -> None: ...

class ModerateStreamResponse(_message.Message):
    __slots__ = ("result",)
    RESULT_FIELD_NUMBER: _ClassVar[int]
    result: ModerateResult
    def __init__(self, result: _Optional[_Union[ModerateResult, _Mapping]] = ...) -> None: ...
