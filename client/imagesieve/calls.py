"""Every call as a value: what to send, and what to make of the answer. No I/O.

The blocking and the asyncio client differ in how they carry a ``Call``, in nothing else. The
review queue's calls are in ``review_calls.py``.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NoReturn, TypeAlias, TypeVar

from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from imagesieve import wire
from imagesieve.errors import ImagesieveError, RequestError, ServerFault, Unavailable
from imagesieve.policy_results import HealthStatus, Policy, PolicyReload
from imagesieve.results import ModerationResult, Upload, Verdict
from imagesieve.status import error_from_item
from imagesieve.v1 import moderation_pb2 as pb
from imagesieve.v1 import policy_pb2 as ppb

Answer = TypeVar("Answer", bound=Message)
Result = TypeVar("Result", covariant=True)

_MODERATION = "/imagesieve.v1.ModerationService/"
_POLICY = "/imagesieve.v1.PolicyService/"
_HEALTH = "/grpc.health.v1.Health/"


def _raise(error: ImagesieveError, elapsed_s: float) -> NoReturn:
    raise error


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[Answer, Result]):
    """One unary call."""

    path: str  # /package.Service/Method
    request: Message
    answer: type[Answer]
    timeout_s: float  # seconds for all attempts together
    read: Callable[[Answer, float], Result]  # the answer and the seconds it took
    # What to make of a failure after that many seconds: raise it, unless there is an answer.
    failed: Callable[[ImagesieveError, float], Result] = _raise


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamCall(Generic[Answer, Result]):
    """One call that is answered again and again. It has no end of its own, so no timeout."""

    path: str
    request: Message
    answer: type[Answer]
    read: Callable[[Answer], Result]


def moderate_request(
    upload: Upload,
    image: bytes,
    *,
    policy: str,
    categories: Sequence[str],
    dry_run: bool,
) -> pb.ModerateRequest:
    """The request about one image. The request_id is fixed here, before the first attempt, so
    that every attempt is the same request to the server and none is counted or queued twice.

    Raises TypeError, by name, for what is no text: ids from a database are often numbers.
    """
    check_common(policy, categories)
    _require_texts(upload)
    return wire.write_request(
        upload,
        image,
        request_id=upload.request_id or uuid.uuid4().hex,
        policy=policy,
        categories=tuple(categories),
        dry_run=dry_run,
    )


def check_common(policy: object, categories: Sequence[object]) -> None:
    """Refuse what many images have in common, before the first. Raises TypeError, by name."""
    if isinstance(categories, str):
        raise TypeError("categories is a list of ids, not a str")
    _require("policy", policy)
    for each in categories:
        _require("each of categories", each)


def _require_texts(upload: Upload) -> None:
    if not isinstance(upload.labels, Mapping):
        raise TypeError(f"labels is a mapping, not {type(upload.labels).__name__}")
    _require("request_id", "" if upload.request_id is None else upload.request_id)
    _require("content_ref", upload.content_ref)
    _require("uploader_ref", upload.uploader_ref)
    _require("surface", upload.surface)
    for label in upload.labels.items():
        for text in label:
            _require("each of labels", text)


def _require(name: str, text: object) -> None:
    if not isinstance(text, str):
        raise TypeError(f"{name} is a str, not {type(text).__name__}")


def moderate(
    request: pb.ModerateRequest, *, timeout_s: float
) -> Call[pb.ModerateResponse, ModerationResult]:
    """One image."""

    def failed(error: ImagesieveError, elapsed_s: float) -> ModerationResult:
        if not isinstance(error, Unavailable):
            raise error
        return undecided(request, error, elapsed_s=elapsed_s)

    return Call(
        path=_MODERATION + "Moderate",
        request=request,
        answer=pb.ModerateResponse,
        timeout_s=timeout_s,
        read=lambda answer, elapsed_s: wire.read_result(answer, elapsed_s=elapsed_s),
        failed=failed,
    )


def undecided(
    request: pb.ModerateRequest, error: Unavailable, *, elapsed_s: float
) -> ModerationResult:
    """What a request is answered with when its budget is spent."""
    return ModerationResult(
        request_id=request.request_id,
        verdict=Verdict.UNDECIDED,
        undecided_reason=error.reason,
        undecided_message=error.message,
        retry_after_s=error.retry_after_s,
        policy=request.policy,
        content_ref=request.content_ref,
        uploader_ref=request.uploader_ref,
        surface=request.surface,
        labels=dict(request.labels),
        dry_run=request.mode == pb.MODERATE_MODE_DRY_RUN,
        elapsed_s=elapsed_s,
    )


Outcome: TypeAlias = ModerationResult | ImagesieveError


def moderate_batch(
    requests: Sequence[pb.ModerateRequest], *, timeout_s: float
) -> Call[pb.ModerateBatchResponse, list[Outcome]]:
    """Several images in one call; gives an outcome for each, in their order. A call that fails
    as a whole fails each of them."""

    def read(answer: pb.ModerateBatchResponse, elapsed_s: float) -> list[Outcome]:
        if [r.request_id for r in answer.results] != [r.request_id for r in requests]:
            return [ServerFault("the server answered another batch")] * len(requests)
        return [_outcome(result, elapsed_s) for result in answer.results]

    return Call(
        path=_MODERATION + "ModerateBatch",
        request=pb.ModerateBatchRequest(requests=requests),
        answer=pb.ModerateBatchResponse,
        timeout_s=timeout_s,
        read=read,
        failed=lambda error, _: [error] * len(requests),
    )


def _outcome(result: pb.ModerateResult, elapsed_s: float) -> Outcome:
    if result.HasField("response"):
        return wire.read_result(result.response, elapsed_s=elapsed_s)
    return error_from_item(result.error)


def get_policy(name: str, *, timeout_s: float) -> Call[ppb.GetPolicyResponse, Policy]:
    return Call(
        path=_POLICY + "GetPolicy",
        request=ppb.GetPolicyRequest(name=name),
        answer=ppb.GetPolicyResponse,
        timeout_s=timeout_s,
        read=lambda answer, _: wire.POLICY.read(answer.policy),
    )


def list_policies(*, timeout_s: float) -> Call[ppb.ListPoliciesResponse, tuple[Policy, ...]]:
    return Call(
        path=_POLICY + "ListPolicies",
        request=ppb.ListPoliciesRequest(),
        answer=ppb.ListPoliciesResponse,
        timeout_s=timeout_s,
        read=lambda answer, _: tuple(wire.POLICY.read(policy) for policy in answer.policies),
    )


def reload_policies(*, timeout_s: float) -> Call[ppb.ReloadPoliciesResponse, PolicyReload]:
    return Call(
        path=_POLICY + "ReloadPolicies",
        request=ppb.ReloadPoliciesRequest(),
        answer=ppb.ReloadPoliciesResponse,
        timeout_s=timeout_s,
        read=lambda answer, _: wire.RELOAD.read(answer),
    )


_HEALTH_STATUSES = {
    0: HealthStatus.UNKNOWN,
    1: HealthStatus.SERVING,
    2: HealthStatus.NOT_SERVING,
    3: HealthStatus.SERVICE_UNKNOWN,
}


def health(service: str, *, timeout_s: float) -> Call[Int32Value, HealthStatus]:
    """The standard health check.

    Its messages are not in this package's dependencies, but a string in field 1 and an enum in
    field 1 are, byte for byte, protobuf's own StringValue and Int32Value.
    """

    def unknown_service(error: ImagesieveError, _: float) -> HealthStatus:
        if isinstance(error, RequestError) and error.reason == "NOT_FOUND":
            return HealthStatus.SERVICE_UNKNOWN
        raise error

    return Call(
        path=_HEALTH + "Check",
        request=StringValue(value=service),
        answer=Int32Value,
        timeout_s=timeout_s,
        read=lambda answer, _: _HEALTH_STATUSES.get(answer.value, HealthStatus.UNKNOWN),
        failed=unknown_service,
    )
