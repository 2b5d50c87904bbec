"""Delta lines, versions and their lineage on the wire."""

from typing import Annotated

from pydantic import Field

from deltareg.wire.bases import BaseName
from deltareg.wire.messages import Answer, Reason, Request, Text
from deltareg.wire.referrers import ReferrerInfo
from deltareg.words import EventKind, Outcome, ProofState


class Revocation(Answer):
    """Who revoked a version, when and why."""

    actor: str
    at: str
    reason: str


class Revoke(Request):
    """Why a version is revoked, and whether although a channel serves it."""

    reason: Reason
    even_if_served: bool = False
    dry_run: bool = False


class Unrevoke(Request):
    """Why a revocation ends."""

    reason: Reason


class VersionChange(Request):
    """What changes of a version; what is left out stays.

    A label has its value, or null to take it away. A `semver` is given to a version that has none.
    """

    labels: Annotated[dict[str, str | None], Field(max_length=64)] = {}
    semver: str | None = None
    message: Text | None = None


class Deprecation(Answer):
    """Who deprecated a version or its line, when and why, and what to use instead; empty for nothing."""

    actor: str
    at: str
    reason: str
    successor: str = ""


class Deprecate(Request):
    """Why a version or a line is deprecated, and what to use instead; without a reason it no longer is."""

    reason: Annotated[str, Field(max_length=2_000)] = ""
    successor: Annotated[str, Field(max_length=300)] = ""


class Rename(Request):
    """What a line (`ns/name`), a channel or a namespace is called from now on."""

    to: Annotated[str, Field(min_length=1, max_length=140)]


class NameChange(Answer):
    """The name that something has now, and the one that leads to it; empty where none does."""

    name: str
    before: str = ""


class LineState(Answer):
    """A line, the versions that went or came back with it, and its deprecation if it has one."""

    ref: str
    versions: list[int] = []
    deprecation: Deprecation | None = None


class AlikeVersion(Answer):
    """A version with the same weights: `share` is 1, or how much of the bytes is the same."""

    ref: str
    share: float
    is_revoked: bool = False


class VersionInfo(Answer):
    """A version, in the fields that people and scripts ask for.

    `cold_bytes` is what a machine that has the base and nothing else fetches to pull it; null until
    the server has measured it.
    `trained_on` names the variant of its base that it was trained on, if it was one. `base_claim` is
    the base that its own files name, with the file, where who pushed it insisted on another. `proof` is of
    the bytes that are stored now, `signatures` are of its files. A `verdict` that is a pass may
    have warnings, which the verdict names. Without a verdict, `superseded_by` names the newer
    version whose verification took the place of its own, if one did. `alike` is in the answer of a
    push alone: what has the same weights, or nearly, of what the pusher may read.
    """

    ref: str
    namespace: str
    name: str
    version: int
    digest: str
    kind: str
    variant: str
    foldable: bool
    base: BaseName
    trained_on: str = ""
    base_claim: str = ""
    message: str
    semver: str | None
    labels: dict[str, str]
    logical_bytes: int
    stored_bytes: int
    uploaded_bytes: int
    cold_bytes: int | None = None
    created: bool = False
    created_at: str
    created_by: str
    verdict: Outcome | None = None
    has_warnings: bool = False
    channels: list[str] = []
    is_deleted: bool = False
    is_revoked: bool = False
    revocation: Revocation | None = None
    proof: ProofState | None = None
    signatures: list[ReferrerInfo] = []
    superseded_by: str = ""
    alike: list[AlikeVersion] = []
    deprecation: Deprecation | None = None

    def _in_short(self) -> str:
        state = ["revoked"] if self.is_revoked else ["deleted"] if self.is_deleted else []
        channels = [f"on {', '.join(self.channels)}"] if self.channels else []
        base = self.base.name or self.base.root
        return ", ".join([f"{self.ref}: {self.kind} on {base}", self.verdict or "no verdict", *channels, *state])


class VersionDetail(VersionInfo):
    """A version with what its manifest says.

    `stack` lists what it stands on, from the bottom: a base, then versions. `golden` says where the
    outputs come from that travel with it, as its last verification found; empty without any. Of a
    corrupt one, `sender` sent its bytes, and `relying` names what shares packs with it and is
    proven again.
    """

    parents: list[str]
    source: str
    config: dict[str, object]
    tensors: int
    modules: int
    files: list[str]
    stack: list[str] = []
    golden: str = ""
    sender: str = ""
    relying: list[str] = []


class PullerInfo(Answer):
    """Who pulled a version: in how many hours, and when last."""

    principal: str
    pulls: int
    last_at: str


class VersionPulls(Answer):
    """How often a version was pulled, all pulls of one principal within an hour as one.

    `pullers` counts everybody; `by` names those whom the caller may see, the last one first.
    """

    pulls: int
    pullers: int
    last_at: str | None
    by: list[PullerInfo] = []


class LogEntry(Answer):
    """One event in the life of a line: a push, a verdict, a channel move, a revocation."""

    at: str
    event: EventKind
    ref: str
    actor: str
    channel: str | None = None
    outcome: str | None = None
    text: str = ""


class LineInfo(Answer):
    """A delta line, which version each channel serves, and which of them accept no move."""

    ref: str
    versions: int
    newest: VersionInfo | None
    channels: dict[str, int]
    frozen: list[str] = []
    created_at: str


class LineageEdge(Answer):
    """One parent edge."""

    child: str
    parent: str
    relation: str


class LineageAnswer(Answer):
    """Edges around a version, nearest first."""

    ref: str
    up: list[LineageEdge]
    down: list[LineageEdge]
