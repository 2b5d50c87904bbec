"""Everything that crosses HTTP, one pydantic type each; client, server and worker share them.

Times are RFC 3339 in UTC, sizes are bytes, digests are `algorithm:hex`. Requests refuse unknown
fields; answers may grow new ones.

A part is loaded when a name of it is first asked for: building all of these types takes a tenth of
a second, and a command needs few of them.
"""

from typing import TYPE_CHECKING

from deltareg.on_demand import load_name

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

_HOMES = {
    "access": (
        "AccessAnswer", "AccessFinding", "AccessReason", "MemberAdd", "MemberInfo", "Meta",
        "NamespaceChange", "NamespaceCreate", "NamespaceInfo", "Role", "Scope", "SessionInfo",
        "SessionOpened", "TokenCreate", "TokenCreated", "TokenInfo", "TokenKind", "Visibility",
        "WhoAmI",
    ),
    "bases": (
        "BaseDiff", "BaseFigures", "BaseForm", "BaseInfo", "BaseName", "BasePart", "BaseProbeSet",
        "BaseRelation", "BaseRename", "CompatRow", "FiguresReport", "Fit", "FitInfo", "Proof",
        "ProofState", "Scheme",
    ),
    "cards": ("CardInfo", "CardResult"),
    "channels": (
        "ChannelFloor", "ChannelInfo", "ChannelMove", "FloorChange", "FloorInfo", "FloorSet",
        "GateAnswer", "GateRule", "GlassBroken", "MoveResult", "PolicyChange", "PolicyInfo",
        "PolicySet", "QuarantineClear", "RevisionInfo", "RevisionKind", "Unfitness", "UnmetRule",
    ),
    "events": (
        "AttemptInfo", "DeliveryInfo", "DeliveryState", "Event", "EventPage", "Redeliver",
        "Redelivered", "WebhookAdd", "WebhookForm", "WebhookInfo", "WebhookRotate", "WebhookSecret",
        "WebhookTested",
    ),
    "findings": ("AnswerCreate", "AnswersInfo", "CompareCreate", "VersionDifferences"),
    "fleet": (
        "AgentReport", "BaseState", "Drift", "EngineName", "FollowerInfo", "FollowState",
        "Observed",
    ),
    "forms": ("FormHistory", "FormRevert", "StoredFormInfo"),
    "keys": ("EnvelopeInfo", "GateSummary", "KeyEnrol", "KeyInfo", "KeyRevoke"),
    "messages": (
        "API", "SCHEMA_VERSION", "Answer", "Outcome", "Page", "Request", "Text", "request_of",
    ),
    "operations": (
        "AuditRow", "CheckInfo", "CheckMore", "CollectReport", "FsckFinding", "FsckHeal",
        "FsckReport",
    ),
    "problems": ("ProblemDocument", "ProblemItem", "describe_problem", "status_of"),
    "queue": ("LineSent", "LogAppend", "LogLine", "RunLog", "WorkerInfo"),
    "referrers": ("ReferrerAdd", "ReferrerBody", "ReferrerInfo", "RevokedSigner", "SignerRevoke"),
    "requests": (
        "ApprovalInfo", "Approve", "Light", "ReadinessInfo", "ReadinessLight", "Reject",
        "RequestInfo", "RequestState", "Review", "Setback",
    ),
    "runs": (
        "RUN_KIND_NAMES", "CheckOutcome", "CheckResult", "Comparison", "LeaseGrant", "LeaseHold",
        "LeaseRequest", "Priority", "ProofFound", "ProofReport", "ReencodeReport", "ReferenceGrant",
        "RunCreate", "RunFailure", "RunInfo", "RunKindName", "RunState", "SignedReport",
        "StoredChange", "VerdictInfo", "VerdictReport", "Waiver", "WaiverCreate", "WrongPart",
    ),
    "search": ("MetricInfo", "SearchHit"),
    "stats": ("StorageFigures", "StorageReport", "StorageRow", "StoreBytes"),
    "suites": ("SuiteCheck", "SuiteInfo", "SuitePush"),
    "trail": (
        "CheckpointInfo", "ConsistencyProof", "InclusionProof", "TrailCheckpoint", "TrailEntry",
        "TrailNode", "TrailPage", "TrailRow", "TrailState",
    ),
    "uploads": ("ReceivedPack", "UploadComplete", "UploadInfo", "UploadOpen"),
    "versions": (
        "LineageAnswer", "LineageEdge", "LineInfo", "LogEntry", "Revocation", "Revoke", "Unrevoke",
        "VersionChange", "VersionDetail", "VersionInfo",
    ),
}  # fmt: skip

__all__ = [
    "API", "RUN_KIND_NAMES", "SCHEMA_VERSION", "AccessAnswer", "AccessFinding", "AccessReason",
    "AgentReport", "Answer", "AnswerCreate", "AnswersInfo", "ApprovalInfo", "Approve",
    "AttemptInfo", "AuditRow", "BaseDiff", "BaseFigures", "BaseForm", "BaseInfo", "BaseName",
    "BasePart", "BaseProbeSet", "BaseRelation", "BaseRename", "BaseState", "CardInfo", "CardResult",
    "ChannelFloor", "ChannelInfo", "ChannelMove", "CheckInfo", "CheckMore", "CheckOutcome",
    "CheckResult", "CheckpointInfo", "CollectReport", "CompareCreate", "Comparison", "CompatRow",
    "ConsistencyProof", "DeliveryInfo", "DeliveryState", "Drift", "EngineName", "EnvelopeInfo",
    "Event", "EventPage", "FiguresReport", "Fit", "FitInfo", "FloorChange", "FloorInfo", "FloorSet",
    "FollowState", "FollowerInfo", "FormHistory", "FormRevert", "FsckFinding", "FsckHeal",
    "FsckReport", "GateAnswer", "GateRule", "GateSummary", "GlassBroken", "InclusionProof",
    "KeyEnrol", "KeyInfo", "KeyRevoke", "LeaseGrant", "LeaseHold", "LeaseRequest", "Light",
    "LineInfo", "LineSent", "LineageAnswer", "LineageEdge", "LogAppend", "LogEntry", "LogLine",
    "MemberAdd", "MemberInfo", "Meta", "MetricInfo", "MoveResult", "NamespaceChange",
    "NamespaceCreate", "NamespaceInfo", "Observed", "Outcome", "Page", "PolicyChange", "PolicyInfo",
    "PolicySet", "Priority", "ProblemDocument", "ProblemItem", "Proof", "ProofFound", "ProofReport",
    "ProofState", "QuarantineClear", "ReadinessInfo", "ReadinessLight", "ReceivedPack", "Redeliver",
    "Redelivered", "ReencodeReport", "ReferenceGrant", "ReferrerAdd", "ReferrerBody",
    "ReferrerInfo", "Reject", "Request", "RequestInfo", "RequestState", "Review", "RevisionInfo",
    "RevisionKind", "Revocation", "Revoke", "RevokedSigner", "Role", "RunCreate", "RunFailure",
    "RunInfo", "RunKindName", "RunLog", "RunState", "Scheme", "Scope", "SearchHit", "SessionInfo",
    "SessionOpened", "Setback", "SignedReport", "SignerRevoke", "StorageFigures", "StorageReport",
    "StorageRow", "StoreBytes", "StoredChange", "StoredFormInfo", "SuiteCheck", "SuiteInfo",
    "SuitePush", "Text", "TokenCreate", "TokenCreated", "TokenInfo", "TokenKind", "TrailCheckpoint",
    "TrailEntry", "TrailNode", "TrailPage", "TrailRow", "TrailState", "Unfitness", "UnmetRule",
    "Unrevoke", "UploadComplete", "UploadInfo", "UploadOpen", "VerdictInfo", "VerdictReport",
    "VersionChange", "VersionDetail", "VersionDifferences", "VersionInfo", "Visibility", "Waiver",
    "WaiverCreate", "WebhookAdd", "WebhookForm", "WebhookInfo", "WebhookRotate", "WebhookSecret",
    "WebhookTested", "WhoAmI", "WorkerInfo", "WrongPart", "describe_problem", "request_of",
    "status_of",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """Load a name's module on first use."""
    return load_name(__name__, _HOMES, name)


def __dir__() -> list[str]:
    """Name what there is."""
    return [*__all__]
