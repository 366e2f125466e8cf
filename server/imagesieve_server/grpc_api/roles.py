"""Which role may call which method: one table, and what is not in it nobody may call.

It knows names only. ``gate.py`` enforces it; a test holds it equal to the contract's methods.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from grpc_reflection.v1alpha import reflection

from imagesieve_server.grpc_api.identity import ALL_ROLES, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may call a method."""

    roles: frozenset[Role] = frozenset()  # any one of them
    anonymous: bool = False  # without saying who; no identity is asked for


def _roles(*roles: Role) -> Access:
    return Access(roles=frozenset(roles))


_UPLOADER, _REVIEWER, _LEAD = Role.UPLOADER, Role.REVIEWER, Role.LEAD
_POLICY, _ADMIN = Role.POLICY, Role.ADMIN

ACCESS: Mapping[str, Access] = {
    "/imagesieve.v1.ModerationService/Moderate": _roles(_UPLOADER),
    "/imagesieve.v1.ModerationService/ModerateBatch": _roles(_UPLOADER),
    "/imagesieve.v1.ModerationService/ModerateStream": _roles(_UPLOADER),
    "/imagesieve.v1.ReviewService/Claim": _roles(_REVIEWER, _LEAD),
    "/imagesieve.v1.ReviewService/Extend": _roles(_REVIEWER, _LEAD),
    "/imagesieve.v1.ReviewService/Release": _roles(_REVIEWER, _LEAD),
    "/imagesieve.v1.ReviewService/Decide": _roles(_REVIEWER, _LEAD),
    "/imagesieve.v1.ReviewService/Get": _roles(_REVIEWER, _LEAD, _ADMIN),
    "/imagesieve.v1.ReviewService/List": _roles(_REVIEWER, _LEAD, _ADMIN),
    "/imagesieve.v1.ReviewService/Stats": _roles(_REVIEWER, _LEAD, _ADMIN),
    "/imagesieve.v1.ReviewService/Requeue": _roles(_REVIEWER, _LEAD, _ADMIN),
    # An uploader may appeal, and nothing else (``review_service.py``).
    "/imagesieve.v1.ReviewService/Reopen": _roles(_UPLOADER, _REVIEWER, _LEAD, _ADMIN),
    "/imagesieve.v1.ReviewService/Erase": _roles(_ADMIN),
    # Only flags are in groups: who saw them could tell an audit sample, so they are not for
    # those who only review.
    "/imagesieve.v1.ReviewService/ListGroups": _roles(_LEAD, _ADMIN),
    "/imagesieve.v1.ReviewService/GetGroup": _roles(_LEAD, _ADMIN),
    "/imagesieve.v1.ReviewService/ListGroupItems": _roles(_LEAD, _ADMIN),
    "/imagesieve.v1.ReviewService/CloseGroup": _roles(_LEAD),
    "/imagesieve.v1.ReviewService/GetGroupClose": _roles(_LEAD, _ADMIN),
    "/imagesieve.v1.ReviewService/UndoGroupClose": _roles(_LEAD, _ADMIN),
    "/imagesieve.v1.ReviewService/WatchDecisions": _roles(_UPLOADER, _REVIEWER, _LEAD),
    "/imagesieve.v1.QualityService/GetQuality": _roles(_LEAD, _ADMIN),
    "/imagesieve.v1.QualityService/MarkGolden": _roles(_LEAD, _ADMIN),
    "/imagesieve.v1.QualityService/UnmarkGolden": _roles(_LEAD, _ADMIN),
    "/imagesieve.v1.QualityService/ListGoldens": _roles(_LEAD, _ADMIN),
    # An uploader chooses a policy by name; thresholds and prompts are not its business.
    "/imagesieve.v1.PolicyService/GetPolicy": _roles(_REVIEWER, _LEAD, _POLICY, _ADMIN),
    "/imagesieve.v1.PolicyService/ListPolicies": _roles(_REVIEWER, _LEAD, _POLICY, _ADMIN),
    "/imagesieve.v1.PolicyService/ReloadPolicies": _roles(_POLICY, _ADMIN),
    # Probes of orchestrators and balancers have no identity, and learn one word.
    "/grpc.health.v1.Health/Check": Access(anonymous=True),
    "/grpc.health.v1.Health/List": Access(roles=ALL_ROLES),
    # A watch is held open for as long as its caller likes.
    "/grpc.health.v1.Health/Watch": Access(roles=ALL_ROLES),
    f"/{reflection.SERVICE_NAME}/ServerReflectionInfo": Access(roles=ALL_ROLES),
}
"""By gRPC path."""
