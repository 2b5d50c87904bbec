"""Renaming and deleting bases, and the differences between two of them."""

import sqlalchemy as sa

from deltareg.db.bases import base_identities as queries
from deltareg.db.bases import bases as base_queries
from deltareg.db.bases.rows import BaseRow
from deltareg.db.lines import versions as version_queries
from deltareg.db.runs import runs as run_queries
from deltareg.db.runs.runs_on_bases import active_of_base
from deltareg.db.session import read, try_transaction, with_retry
from deltareg.drawing.wording import count
from deltareg.errors import Conflict, InvalidInput
from deltareg.identity.whole_base import TENSORS, inert_differences, part_differences
from deltareg.refs import parse_base
from deltareg.service.authority.grants import Right
from deltareg.service.authority.refusals import absent
from deltareg.service.authority.resources import Base
from deltareg.service.base_parts import manifest_of_base
from deltareg.service.describe import describe_base, ref_of
from deltareg.service.events import Action
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_base
from deltareg.wire import BaseDiff, BaseInfo, BasePart, BaseRename

_SHOWN = 3


def diff_bases(registry: Registry, caller: Caller, name: str, other: str) -> BaseDiff:
    """Return the parts in which two bases differ."""
    caller.require(Right.READ, on=Base(name))
    caller.require(Right.READ, on=Base(other))
    with read(registry.engine) as conn:
        one, two = find_base(conn, caller, name), find_base(conn, caller, other)
        before, after = manifest_of_base(conn, one), manifest_of_base(conn, two)
    differences = part_differences(before, after)
    return BaseDiff(
        base=one.name,
        other=two.name,
        same_tensors=not any(d.part == TENSORS for d in differences),
        differences=[BasePart(part=d.part, details=list(d.details)) for d in differences],
        without_effect=inert_differences(before, after),
    )


def rename_base(registry: Registry, caller: Caller, name: str, request: BaseRename) -> BaseInfo:
    """Rename a base within its namespace; the old name becomes an alias.

    Raises:
        Conflict: Another base has that name, or had it.
        InvalidInput: The base is a version, or the name lies in another namespace.
    """
    caller.require(Right.ADMIN, on=Base(name))
    after = parse_base(request.name)

    def transaction(conn: sa.Connection) -> BaseInfo:
        base = _lock_base(conn, caller, name)
        _check_renamable(base, after)
        if base.name != after:
            _refuse_taken(conn, base, after)
            queries.rename_base(conn, base.id, before=base.name, after=after, created_by=caller.principal_id)
            caller.record(
                conn,
                Action.BASE_RENAME,
                f"base/{after}",
                on=Base(after),
                before={"name": base.name},
                after={"name": after},
            )
        return describe_base(conn, base_queries.base_rows(conn, base_id=base.id, limit=1)[0])

    return with_retry(registry.engine, transaction)


def delete_base(registry: Registry, caller: Caller, name: str, *, dry_run: bool = False) -> BaseInfo:
    """Delete a base that nothing stands on; its bytes go with the next collection.

    With `dry_run`, only check whether it could be deleted.

    Raises:
        Conflict: Versions or variants stand on it.
        InvalidInput: The base is a version.
    """
    caller.require(Right.ADMIN, on=Base(name))

    def transaction(conn: sa.Connection) -> BaseInfo:
        base = _lock_base(conn, caller, name)
        info = describe_base(conn, base)
        _refuse_if_needed(conn, base)
        queries.delete_base(conn, base.id, name=base.name, created_by=caller.principal_id)
        for run_id in active_of_base(conn, base.id):  # a proof that nobody asks for any more
            run_queries.cancel(conn, run_id, error=f"the base {base.name} was deleted")
        caller.record(
            conn,
            Action.BASE_DELETE,
            f"base/{base.name}",
            on=Base(base.name),
            before={"root": base.root, "identity": base.identity},
            after={"deleted": True},
        )
        return info

    return (try_transaction if dry_run else with_retry)(registry.engine, transaction)


def _lock_base(conn: sa.Connection, caller: Caller, name: str) -> BaseRow:
    """Find a base that the caller administers, and lock it so that nothing new can stand on it."""
    base = find_base(conn, caller, name)
    caller.require(Right.ADMIN, on=Base(base.name))
    if base.version_id is not None:
        raise InvalidInput(f"{base.name} is a version", fix=f"deltareg rm {base.name}")
    rows = base_queries.base_rows(conn, base_id=base.id, limit=1, lock=True)
    if not rows:
        raise absent(Base(name))
    return rows[0]


def _check_renamable(base: BaseRow, after: str) -> None:
    own, other = Base(base.name).namespace, Base(after).namespace
    if own != other:
        raise InvalidInput(
            f"{base.name} and {after} lie in different namespaces",
            fix=f"push it there: deltareg base push PATH {after}",
        )


def _refuse_taken(conn: sa.Connection, base: BaseRow, name: str) -> None:
    existing = next(iter(base_queries.base_rows(conn, name=name, limit=1)), None)
    if existing is not None and existing.id != base.id:
        message = f"{name} is a base" if existing.name == name else f"{name} leads to {existing.name}"
        raise Conflict(f"{message}, and names lead to one base for good", fix="choose another name")


def _refuse_if_needed(conn: sa.Connection, base: BaseRow) -> None:
    counts = queries.standing_on(conn, base.id)
    ids = queries.versions_standing_on(conn, base.id, limit=_SHOWN)
    newest = [ref_of(row) for row in version_queries.versions_by_ids(conn, ids).values()]
    examples = f" ({', '.join(sorted(newest))}{', …' if counts['versions'] > _SHOWN else ''})"
    reasons = {
        "versions": f"{count(counts['versions'], 'version')}{examples}",
        "deleted": f"{count(counts['deleted'], 'deleted version')} whose bytes are not collected yet",
        "trained": f"{count(counts['trained'], 'version')} trained on it",
        "runs": count(counts["runs"], "unfinished verification"),
        "variants": count(counts["variants"], "variant"),
    }
    by = ", ".join(words for name, words in reasons.items() if counts[name])
    if by:
        fixes = {
            "versions": "delete them first: deltareg rm NS/NAME:vN",
            "deleted": "wait, or: deltareg gc run --grace 0s",
            "trained": "delete these first: deltareg rm NS/NAME:vN",
            "runs": "wait, or: deltareg verdict cancel ID",
            "variants": "delete the variants first: deltareg base rm NAME",
        }
        fix = next(words for name, words in fixes.items() if counts[name])
        raise Conflict(f"{base.name} is needed by {by}", fix=fix)
