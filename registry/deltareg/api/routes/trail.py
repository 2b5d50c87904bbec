"""The audit trail as a log: checkpoints, proofs, and the whole log for anybody who verifies it."""

from typing import Annotated

from fastapi import Depends, Query

from deltareg.api.auth import By, InRegistry
from deltareg.api.closed import closed_router
from deltareg.api.parameters import Number
from deltareg.service.access.audit import AuditQuery
from deltareg.service.trail import excerpts, proofs
from deltareg.wire import CheckpointInfo, ConsistencyProof, InclusionProof, TrailExcerpt, TrailPage

router = closed_router("audit", prefix="/audit")


@router.get("/checkpoint")
def show_checkpoint(registry: InRegistry, by: By, *, rotations: bool = False) -> CheckpointInfo:
    """Give the newest checkpoint: size and root of the log, signed by the server.

    On request it comes with the rows by which the server's key followed another.
    """
    return proofs.show_checkpoint(registry, by, rotations=rotations)


@router.get("/consistency")
def prove_consistency(registry: InRegistry, by: By, old: int, new: int) -> ConsistencyProof:
    """Prove that the log of one size begins with the log of another (RFC 6962, 2.1.2)."""
    return proofs.prove_consistency(registry, by, old=old, new=new)


@router.get("/rows/{number}/proof")
def prove_row(registry: InRegistry, by: By, number: Number) -> InclusionProof:
    """Prove that a row of the audit trail is in the log (RFC 6962, 2.1.1)."""
    return proofs.prove_row(registry, by, number)


@router.get("/excerpt")
def read_excerpt(
    registry: InRegistry, by: By, query: Annotated[AuditQuery, Depends()], cursor: str | None = None, limit: int = 200
) -> TrailExcerpt:
    """Give some rows of the audit trail, oldest first, each proven to be in the log."""
    return excerpts.read_excerpt(registry, by, query, cursor=cursor, limit=limit)


@router.get("/log")
def read_log(
    registry: InRegistry,
    by: By,
    after: str | None = None,
    limit: int = 1_000,
    position: Annotated[int | None, Query(ge=0, le=10**17)] = None,
) -> TrailPage:
    """Give a part of the log in its order, and at the end the rows that are outside of it.

    The first part begins at a position, or with the log.
    """
    return proofs.read_log(registry, by, after=after, limit=limit, position=position)
