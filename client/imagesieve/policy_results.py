"""What is in force on a server, and whether it serves. Frozen values, no protobuf."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from imagesieve.results import CategoryMode, Threshold


class HealthStatus(enum.StrEnum):
    """The standard health service's answer."""

    UNKNOWN = "UNKNOWN"
    SERVING = "SERVING"
    NOT_SERVING = "NOT_SERVING"
    SERVICE_UNKNOWN = "SERVICE_UNKNOWN"  # the server has no service of that name


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyCategory:
    """One rule of a policy."""

    id: str
    title: str = ""
    severity: int = 1  # 1 (mild) to 4 (urgent)
    mode: CategoryMode = CategoryMode.ENFORCE
    method: str = ""  # contrast, sigmoid, cosine or probe
    review_threshold: Threshold | None = None
    block_threshold: Threshold | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A policy in force."""

    name: str
    version: str = ""  # hash of the compiled artefact
    model_version: str = ""
    categories: tuple[PolicyCategory, ...] = ()
    on_undecodable: str = ""
    on_partial_coverage: str = ""
    on_unavailable: str = ""
    coverage: str = ""
    is_default: bool = False  # used where a request names no policy
    source: str = field(default="", repr=False)  # the text people wrote; only from get_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyReload:
    """What reading the artefacts again gave, on the replica that answered."""

    policies: tuple[Policy, ...]  # in force now
    problems: tuple[str, ...] = ()  # one per refused artefact; its old version stays in force
