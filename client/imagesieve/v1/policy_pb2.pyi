from imagesieve.v1 import verdict_pb2 as _verdict_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PolicyCategory(_message.Message):
    __slots__ = ("id", "title", "severity", "mode", "method", "review_threshold", "block_threshold")
    ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    REVIEW_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    BLOCK_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    id: str
    title: str
    severity: int
    mode: _verdict_pb2.CategoryMode
    method: str
    review_threshold: _verdict_pb2.Threshold
    block_threshold: _verdict_pb2.Threshold
    def __init__(self, id: _Optional[str] = ..., title: _Optional[str] = ..., severity: _Optional[int] = ..., mode: _Optional[_Union[_verdict_pb2.CategoryMode, str]] = ..., method: _Optional[str] = ..., review_threshold: _Optional[_Union[_verdict_pb2.Threshold, _Mapping]] = ..., block_threshold: _Optional[_Union[_verdict_pb2.Threshold, _Mapping]] = ...) -> None: ...

class Policy(_message.Message):
    __slots__ = ("name", "version", "model_version", "categories", "on_undecodable", "on_partial_coverage", "on_unavailable", "coverage", "is_default", "source")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    ON_UNDECODABLE_FIELD_NUMBER: _ClassVar[int]
    ON_PARTIAL_COVERAGE_FIELD_NUMBER: _ClassVar[int]
    ON_UNAVAILABLE_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    model_version: str
    categories: _containers.RepeatedCompositeFieldContainer[PolicyCategory]
    on_undecodable: str
    on_partial_coverage: str
    on_unavailable: str
    coverage: str
    is_default: bool
    source: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., model_version: _Optional[str] = ..., categories: _Optional[_Iterable[_Union[PolicyCategory, _Mapping]]] = ..., on_undecodable: _Optional[str] = ..., on_partial_coverage: _Optional[str] = ..., on_unavailable: _Optional[str] = ..., coverage: _Optional[str] = ..., is_default: bool = ..., source: _Optional[str] = ...) -> None: ...

class GetPolicyRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetPolicyResponse(_message.Message):
    __slots__ = ("policy",)
    POLICY_FIELD_NUMBER: _ClassVar[int]
    policy: Policy
    def __init__(self, policy: _Optional[_Union[Policy, _Mapping]] = ...) -> None: ...

class ListPoliciesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListPoliciesResponse(_message.Message):
    __slots__ = ("policies",)
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    policies: _containers.RepeatedCompositeFieldContainer[Policy]
    def __init__(self, policies: _Optional[_Iterable[_Union[Policy, _Mapping]]] = ...) -> None: ...

class ReloadPoliciesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReloadPoliciesResponse(_message.Message):
    __slots__ = ("policies", "problems")
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    policies: _containers.RepeatedCompositeFieldContainer[Policy]
    problems: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, policies: _Optional[_Iterable[_Union[Policy, _Mapping]]] = ..., problems: _Optional[_Iterable[str]] = ...) -> None: ...
