"""Client of imagesieve, the first-pass filter for image moderation.

    from pathlib import Path
    from imagesieve import Client

    with Client("127.0.0.1:50051") as client:
        result = client.moderate(Path("upload.jpg"))
        if result.may_publish:
            ...

Everything a user needs is named here; ``imagesieve.testing`` has a server for users' tests.
Needs grpcio, protobuf and googleapis-common-protos, and nothing of the server.
"""

from imagesieve.async_client import AsyncClient
from imagesieve.async_group_client import AsyncGroupClient
from imagesieve.async_quality_client import AsyncQualityClient
from imagesieve.async_review_client import AsyncReviewClient
from imagesieve.client import Client
from imagesieve.errors import (
    CursorExpired,
    DeadlinePassed,
    DeadlineUnmeetable,
    DecisionConflict,
    EncoderUnavailable,
    FieldViolation,
    GroupChanged,
    ImageEmpty,
    ImageFormatUnsupported,
    ImagesieveError,
    ImageTooLarge,
    ImageUndecodable,
    InvalidRequest,
    ItemNotFound,
    LeaseLost,
    NotBuilt,
    Overloaded,
    PermissionDenied,
    QuotaExceeded,
    RequestError,
    RequestIdReused,
    ServerFault,
    ShuttingDown,
    StateConflict,
    StoreUnavailable,
    Unauthenticated,
    Unavailable,
    UnknownCategory,
    UnknownPolicy,
    Unreachable,
)
from imagesieve.group_client import GroupClient
from imagesieve.group_results import Group, GroupClose, GroupCloseProgress, GroupSummary
from imagesieve.policy_results import HealthStatus, Policy, PolicyCategory, PolicyReload
from imagesieve.quality_client import QualityClient
from imagesieve.quality_results import Estimate, Golden, Quality, QualityFigures
from imagesieve.results import (
    Background,
    Band,
    CategoryMode,
    CategoryScore,
    DecodeInfo,
    ImageSource,
    Moderated,
    ModerationResult,
    Reason,
    Threshold,
    ThresholdScale,
    Upload,
    Verdict,
    View,
    ViewKind,
)
from imagesieve.review_client import ReviewClient
from imagesieve.review_results import (
    Decision,
    DecisionEvent,
    Erasure,
    Item,
    ItemState,
    Lease,
    Outcome,
    QueueStats,
    ReopenCause,
)

__all__ = [
    "AsyncClient",
    "AsyncGroupClient",
    "AsyncQualityClient",
    "AsyncReviewClient",
    "Background",
    "Band",
    "CategoryMode",
    "CategoryScore",
    "Client",
    "CursorExpired",
    "DeadlinePassed",
    "DeadlineUnmeetable",
    "Decision",
    "DecisionConflict",
    "DecisionEvent",
    "DecodeInfo",
    "EncoderUnavailable",
    "Erasure",
    "Estimate",
    "FieldViolation",
    "Golden",
    "Group",
    "GroupChanged",
    "GroupClient",
    "GroupClose",
    "GroupCloseProgress",
    "GroupSummary",
    "HealthStatus",
    "ImageEmpty",
    "ImageFormatUnsupported",
    "ImageSource",
    "ImageTooLarge",
    "ImageUndecodable",
    "ImagesieveError",
    "InvalidRequest",
    "Item",
    "ItemNotFound",
    "ItemState",
    "Lease",
    "LeaseLost",
    "Moderated",
    "ModerationResult",
    "NotBuilt",
    "Outcome",
    "Overloaded",
    "PermissionDenied",
    "Policy",
    "PolicyCategory",
    "PolicyReload",
    "Quality",
    "QualityClient",
    "QualityFigures",
    "QueueStats",
    "QuotaExceeded",
    "Reason",
    "ReopenCause",
    "RequestError",
    "RequestIdReused",
    "ReviewClient",
    "ServerFault",
    "ShuttingDown",
    "StateConflict",
    "StoreUnavailable",
    "Threshold",
    "ThresholdScale",
    "Unauthenticated",
    "Unavailable",
    "UnknownCategory",
    "UnknownPolicy",
    "Unreachable",
    "Upload",
    "Verdict",
    "View",
    "ViewKind",
]
