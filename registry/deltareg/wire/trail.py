"""The audit trail as a log on the wire: checkpoints, proofs, and the whole log page by page."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from deltareg.wire.messages import Answer


class ProvenRow(Answer):
    """A row of the audit trail with the proof that it is in the log; see `InclusionProof`."""

    position: int
    leaf: Mapping[str, object]
    statement: str = ""
    hashes: list[str]


class CheckpointInfo(Answer):
    """A checkpoint of the log over the audit trail.

    `note` is the checkpoint as it was signed, in the form of C2SP's `tlog-checkpoint`; all else
    says the same in words. `waiting` rows are in the audit trail and not in the log yet, counted up
    to 1,000. `rotations`, where they were asked for, are the rows by which a key of the servers
    followed another, oldest first.
    """

    origin: str
    size: int
    root: str
    note: str
    waiting: int = 0
    rotations: list[ProvenRow] = []


class ConsistencyProof(Answer):
    """A proof that the log of `new` rows begins with the log of `old` rows: hashes, in hex."""

    old: int
    new: int
    hashes: list[str]


class InclusionProof(Answer):
    """A proof that a row of the audit trail is in the log that a checkpoint signs.

    `leaf` is what is hashed, in the form of RFC 8785; `statement` the envelope that it names.
    """

    position: int
    leaf: Mapping[str, object]
    statement: str = ""
    hashes: list[str]
    checkpoint: CheckpointInfo


class TrailExcerpt(Answer):
    """Some rows of the audit trail, oldest first, each proven under one checkpoint.

    `unsealed` are rows that were asked for and cannot be proven yet. `after` is where the next part
    begins.
    """

    checkpoint: CheckpointInfo
    rows: list[ProvenRow]
    unsealed: int = 0
    after: str | None = None


class TrailEntry(Answer):
    """A row of the audit trail in the log; `leaf` is null where somebody deleted the row."""

    position: int
    row: int
    hash: str
    sealed_by: int
    leaf: Mapping[str, object] | None
    statement: str = ""


class TrailNode(Answer):
    """A hash over a complete part of the log, as proofs are made of it."""

    level: Annotated[int, Field(ge=0, le=8)]
    number: int
    hash: str


class TrailCheckpoint(Answer):
    """A checkpoint as it was signed, and over how many rows it is kept."""

    size: int
    note: str


class TrailRow(Answer):
    """A row of the audit trail that is not in the log; it should wait for that."""

    leaf: Mapping[str, object]
    is_waiting: bool


class TrailState(Answer):
    """What the registry's tables say now about a thing that the log has rows of."""

    subject: str
    says: Mapping[str, object]


class TrailPage(Answer):
    """A part of the log: entries in order, what was signed over them, and rows outside at the end.

    `after` is where the next part begins; null on the last, which has what the tables say, when
    `size` rows were sealed.
    """

    origin: str
    entries: list[TrailEntry]
    checkpoints: list[TrailCheckpoint] = []
    nodes: list[TrailNode] = []
    outside: list[TrailRow] = []
    state: list[TrailState] = []
    size: int | None = None
    after: str | None = None
