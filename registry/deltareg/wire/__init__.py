"""Everything that crosses HTTP, one pydantic type each; client, server and worker share them.

Times are RFC 3339 in UTC, sizes are bytes, digests are `algorithm:hex`. Requests refuse unknown
fields; answers may grow new ones.
"""

from deltareg.wire.access import (
    Meta,
    Scope,
    TokenCreate,
    TokenCreated,
    TokenInfo,
    TokenKind,
    WhoAmI,
)
from deltareg.wire.bases import BaseInfo, BaseName, BaseRelation
from deltareg.wire.channels import (
    ChannelInfo,
    ChannelMove,
    GateAnswer,
    MoveResult,
    QuarantineClear,
    RevisionInfo,
    RevisionKind,
    UnmetRule,
)
from deltareg.wire.messages import (
    API,
    SCHEMA_VERSION,
    Answer,
    Outcome,
    Page,
    Request,
    Text,
    request_of,
)
from deltareg.wire.operations import AuditRow, CollectReport, FsckFinding, FsckReport
from deltareg.wire.problems import ProblemDocument, ProblemItem, describe_problem, status_of
from deltareg.wire.runs import (
    CheckOutcome,
    CheckResult,
    LeaseGrant,
    LeaseHold,
    LeaseRequest,
    RunCreate,
    RunFailure,
    RunInfo,
    RunState,
    VerdictInfo,
    VerdictReport,
)
from deltareg.wire.stats import StorageFigures, StorageReport, StorageRow, StoreBytes
from deltareg.wire.uploads import ReceivedPack, UploadComplete, UploadInfo, UploadOpen
from deltareg.wire.versions import (
    LineageAnswer,
    LineageEdge,
    LineInfo,
    LogEntry,
    VersionDetail,
    VersionInfo,
)

__all__ = [
    "API",
    "SCHEMA_VERSION",
    "Answer",
    "AuditRow",
    "BaseInfo",
    "BaseName",
    "BaseRelation",
    "ChannelInfo",
    "ChannelMove",
    "CheckOutcome",
    "CheckResult",
    "CollectReport",
    "FsckFinding",
    "FsckReport",
    "GateAnswer",
    "LeaseGrant",
    "LeaseHold",
    "LeaseRequest",
    "LineInfo",
    "LineageAnswer",
    "LineageEdge",
    "LogEntry",
    "Meta",
    "MoveResult",
    "Outcome",
    "Page",
    "ProblemDocument",
    "ProblemItem",
    "QuarantineClear",
    "ReceivedPack",
    "Request",
    "RevisionInfo",
    "RevisionKind",
    "RunCreate",
    "RunFailure",
    "RunInfo",
    "RunState",
    "Scope",
    "StorageFigures",
    "StorageReport",
    "StorageRow",
    "StoreBytes",
    "Text",
    "TokenCreate",
    "TokenCreated",
    "TokenInfo",
    "TokenKind",
    "UnmetRule",
    "UploadComplete",
    "UploadInfo",
    "UploadOpen",
    "VerdictInfo",
    "VerdictReport",
    "VersionDetail",
    "VersionInfo",
    "WhoAmI",
    "describe_problem",
    "request_of",
    "status_of",
]
