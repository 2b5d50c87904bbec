"""Everything that crosses HTTP, one pydantic type each; client, server and worker share them.

Times are RFC 3339 in UTC, sizes are bytes, digests are `algorithm:hex`. Requests refuse unknown
fields; answers may grow new ones.

A part is loaded when a name of it is first asked for: building all of these types takes a tenth of
a second, and a command needs few of them.
"""

from typing import TYPE_CHECKING

from deltareg.on_demand import load_name
from deltareg.wire.homes import HOMES as _HOMES
from deltareg.words import (
    BaseState,
    CheckOutcome,
    DeliveryState,
    Drift,
    EngineName,
    Fit,
    FollowState,
    Light,
    Outcome,
    Priority,
    Proof,
    ProofState,
    RequestState,
    RevisionKind,
    Role,
    RunKindName,
    RunState,
    Scheme,
    Scope,
    TokenKind,
    Visibility,
)

if TYPE_CHECKING:  # `__all__` says which of their names are given on
    from deltareg.wire.access import *
    from deltareg.wire.bases import *
    from deltareg.wire.cards import *
    from deltareg.wire.channels import *
    from deltareg.wire.events import *
    from deltareg.wire.findings import *
    from deltareg.wire.fleet import *
    from deltareg.wire.forms import *
    from deltareg.wire.keys import *
    from deltareg.wire.messages import *
    from deltareg.wire.operations import *
    from deltareg.wire.problems import *
    from deltareg.wire.queue import *
    from deltareg.wire.referrers import *
    from deltareg.wire.requests import *
    from deltareg.wire.runs import *
    from deltareg.wire.search import *
    from deltareg.wire.stats import *
    from deltareg.wire.suites import *
    from deltareg.wire.trail import *
    from deltareg.wire.uploads import *
    from deltareg.wire.versions import *

__all__ = [
    "API",
    "SCHEMA_VERSION",
    "AccessAnswer",
    "AccessFinding",
    "AccessReason",
    "AgentReport",
    "Answer",
    "AnswerCreate",
    "AnswersInfo",
    "ApprovalInfo",
    "Approve",
    "AttemptInfo",
    "AuditRow",
    "BaseDiff",
    "BaseFigures",
    "BaseForm",
    "BaseInfo",
    "BaseName",
    "BasePart",
    "BaseProbeSet",
    "BaseRelation",
    "BaseRename",
    "BaseState",
    "CardInfo",
    "CardResult",
    "ChannelFloor",
    "ChannelInfo",
    "ChannelMove",
    "CheckInfo",
    "CheckMore",
    "CheckOutcome",
    "CheckResult",
    "CheckpointInfo",
    "CollectReport",
    "CompareCreate",
    "Comparison",
    "CompatRow",
    "ConsistencyProof",
    "DeliveryInfo",
    "DeliveryState",
    "Deprecate",
    "Deprecation",
    "Drift",
    "EngineName",
    "EnvelopeInfo",
    "Event",
    "EventPage",
    "FiguresReport",
    "Fit",
    "FitInfo",
    "FloorChange",
    "FloorInfo",
    "FloorSet",
    "FollowState",
    "FollowerInfo",
    "FormHistory",
    "FormRevert",
    "FsckFinding",
    "FsckHeal",
    "FsckReport",
    "GateAnswer",
    "GateRule",
    "GateSummary",
    "GlassBroken",
    "InclusionProof",
    "KeyEnrol",
    "KeyInfo",
    "KeyRevoke",
    "LeaseGrant",
    "LeaseHold",
    "LeaseRequest",
    "Light",
    "LineInfo",
    "LineSent",
    "LineState",
    "LineageAnswer",
    "LineageEdge",
    "LogAppend",
    "LogEntry",
    "LogLine",
    "MemberAdd",
    "MemberInfo",
    "Meta",
    "MetricInfo",
    "MoveResult",
    "NameChange",
    "NamespaceChange",
    "NamespaceCreate",
    "NamespaceInfo",
    "Observed",
    "Outcome",
    "Page",
    "PolicyChange",
    "PolicyInfo",
    "PolicySet",
    "Priority",
    "ProblemDocument",
    "ProblemItem",
    "Proof",
    "ProofFound",
    "ProofReport",
    "ProofState",
    "ProvenRow",
    "QuarantineClear",
    "ReadinessInfo",
    "ReadinessLight",
    "ReceivedPack",
    "Redeliver",
    "Redelivered",
    "ReencodeReport",
    "ReferenceGrant",
    "ReferrerAdd",
    "ReferrerBody",
    "ReferrerInfo",
    "Reject",
    "Rename",
    "Request",
    "RequestInfo",
    "RequestState",
    "Review",
    "RevisionInfo",
    "RevisionKind",
    "Revocation",
    "Revoke",
    "RevokedSigner",
    "Role",
    "RunCreate",
    "RunFailure",
    "RunInfo",
    "RunKindName",
    "RunLog",
    "RunState",
    "Scheme",
    "Scope",
    "SearchHit",
    "SessionInfo",
    "SessionOpened",
    "Setback",
    "SignedReport",
    "SignerRevoke",
    "StorageFigures",
    "StorageReport",
    "StorageRow",
    "StoreBytes",
    "StoredChange",
    "StoredFormInfo",
    "SuiteCheck",
    "SuiteInfo",
    "SuitePush",
    "Text",
    "TokenCreate",
    "TokenCreated",
    "TokenInfo",
    "TokenKind",
    "TrailCheckpoint",
    "TrailEntry",
    "TrailExcerpt",
    "TrailNode",
    "TrailPage",
    "TrailRow",
    "TrailState",
    "Unfitness",
    "UnmetRule",
    "Unrevoke",
    "UploadComplete",
    "UploadInfo",
    "UploadOpen",
    "VerdictInfo",
    "VerdictReport",
    "VersionChange",
    "VersionDetail",
    "VersionDifferences",
    "VersionInfo",
    "VersionPulls",
    "Visibility",
    "Waiver",
    "WaiverCreate",
    "WebhookAdd",
    "WebhookForm",
    "WebhookInfo",
    "WebhookRotate",
    "WebhookSecret",
    "WebhookTested",
    "WhoAmI",
    "WorkerInfo",
    "WrongPart",
    "describe_problem",
    "request_of",
    "status_of",
]


def __getattr__(name: str) -> object:
    """Load a name's module on first use."""
    return load_name(__name__, _HOMES, name)


def __dir__() -> list[str]:
    """Name what there is."""
    return [*__all__]
