"""Which worker may take which run: who is enrolled, and whom a run excludes.

An enrolled worker takes the runs that its labels fit. A run that somebody else must judge names the
keys and hosts that it excludes. A worker that is not enrolled takes the one run that its owner
queued for it, and its result is only for its owner.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import sqlalchemy as sa

from deltareg.db.access.grants import not_proven_by, principals_beside
from deltareg.db.verdicts import signing as queries
from deltareg.db.verdicts.signing_rows import KeyRow
from deltareg.errors import Forbidden
from deltareg.service.authority.grants import WORKER
from deltareg.service.registry import Caller
from deltareg.service.verdicts.signed import LOCAL
from deltareg.signing.keys import KeyText, PublicKey
from deltareg.wire import LeaseRequest

NOT_BY, NOT_ON = "not_by", "not_on"
FORM = "form"
"""Of a run that proves: the form that it is about, where that is not the one that is served."""
SENT_BY = "sent_by"
"""Whose work a run looks at: their own workers do not take it while there are others."""


def enrolled_key(conn: sa.Connection, caller: Caller, request: LeaseRequest) -> KeyRow | None:
    """Return the enrolled key of a worker; None for one that asks for its own run.

    Raises:
        Forbidden: The worker is not enrolled, or its key is retired or revoked.
    """
    if not request.key:
        raise Forbidden(
            f"worker {request.worker} does not sign what it finds: it is of an older release",
            fix="install the server's release where it runs (deltareg version), then enrol it:"
            f" deltareg worker enrol {caller.principal} --key KEY",
        )
    public = PublicKey.parse(request.key)
    key = queries.find_key(conn, public=str(public))
    if key is not None and key.role == WORKER and key.principal_id == caller.principal_id:
        if key.is_live:
            return key
        state = "retired" if key.revoked_at is None else f"revoked: {key.reason}"
        raise Forbidden(
            f"the key {key.keyid[:12]} of {key.name} is {state}",
            fix=f"give it a new key, then: deltareg worker rotate {key.name} --key KEY",
        )
    if request.run and not caller.is_worker:
        return None
    text = KeyText(public, request.host)
    raise Forbidden(
        f"no worker {caller.principal} is enrolled with the key of {request.worker}",
        fix=f"an admin enrols it: deltareg worker enrol {caller.principal} --key {text}",
    )


@dataclass(frozen=True, slots=True)
class OwnWork:
    """Whose work a worker does not look at, as it is its own or of a person who stands behind it.

    Attributes:
        never: The principals whose claims it never proves.
        while_others: Those whose work it does not judge while there are workers of other people, or
            else of other principals. Empty if there is no other worker.
    """

    never: frozenset[int]
    while_others: frozenset[int]

    @classmethod
    def of(cls, conn: sa.Connection, principal_id: int) -> Self:
        """Find it for the principal of a worker."""
        beside = frozenset(not_proven_by(conn, principal_id))
        for own in (beside, frozenset({principal_id})):
            if queries.has_other_workers(conn, own):
                return cls(beside, own)
        return cls(beside, frozenset())


def may_take(
    run: Mapping[str, str], key: KeyRow | None, caller: Caller, *, while_others: Collection[int] = frozenset()
) -> bool:
    """Whether a worker may take a run.

    Args:
        run: What the run asks for.
        key: The worker's key; None for one that is not enrolled.
        caller: The principal of its token.
        while_others: Those whose work it leaves to other workers, from `OwnWork`.
    """
    if key is None:
        return run.get(LOCAL) == str(caller.principal_id)
    if run.get(SENT_BY, "") in {str(each) for each in while_others}:
        return False
    left_out = set(run.get(NOT_BY, "").split(","))
    hosts = set(filter(None, run.get(NOT_ON, "").split(",")))
    is_apart = not hosts or (bool(key.host) and key.host not in hosts)
    return LOCAL not in run and key.keyid not in left_out and is_apart


def same_people(conn: sa.Connection, principal_id: int | None) -> list[str]:
    """Return the keys of all workers of the people behind one of them, if other people have workers."""
    if principal_id is None:
        return []
    beside = principals_beside(conn, principal_id)
    return queries.live_workers_of(conn, beside) if queries.has_other_workers(conn, beside) else []


def leave_out(signers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the entries of a run's request that exclude workers, given pairs of key id and host."""
    pairs = list(signers)
    if not pairs:
        return {}
    return {
        NOT_BY: ",".join(sorted({keyid for keyid, _ in pairs})),
        NOT_ON: ",".join(sorted({host for _, host in pairs if host})),
    }
