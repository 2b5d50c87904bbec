"""Quotas as people see and set them, by name: `team`, `@ana`, and for all others `*` and `@*`."""

from collections.abc import Iterable

import sqlalchemy as sa

from deltareg.db.access.namespaces import find_names
from deltareg.db.access.principals import principal_name
from deltareg.db.quotas.limits import EACH_NAMESPACE, EACH_PERSON, limit_rows, person_behind
from deltareg.db.quotas.rows import LimitRow
from deltareg.db.quotas.usage import usage_rows
from deltareg.db.session import read, with_retry
from deltareg.service.access.limits import ALL_NAMESPACES, ALL_PEOPLE, find_holder, set_limits_in
from deltareg.service.access.members import check_seen
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, SHARED, Namespace
from deltareg.service.paging import check_limit, page, read_cursor
from deltareg.service.quotas.accounts import QuotaAccount, account_of_person, account_of_scope, measure
from deltareg.service.quotas.holding import NEAR_PERCENT, percent
from deltareg.service.quotas.room import frees
from deltareg.service.registry import Caller, Registry
from deltareg.wire import Page, QuotaInfo, QuotaSet, QuotaUse
from deltareg.words import QUOTA_RESOURCES, QuotaResource


def list_quotas(registry: Registry, caller: Caller, *, cursor: str | None, limit: int) -> Page[QuotaInfo]:
    """List the quotas that a caller may see, by name: an admin all, others their namespaces and their own."""
    caller.require(Right.READ, on=SHARED)
    after = read_cursor(cursor)
    with read(registry.engine) as conn:
        rows = limit_rows(conn)
        names = sorted(name for name in _names(conn, caller, rows) if after is None or name > after)
        shown = [_describe(conn, name, rows) for name in names[: check_limit(limit) + 1]]
    return page(shown, limit, show=lambda info: info, key=lambda info: info.name)


def show_quota(registry: Registry, caller: Caller, name: str) -> QuotaInfo:
    """Show the quota of a namespace or a person; with what would free room, for who may push there.

    Raises:
        NotFound: The caller sees nothing of that name.
        Forbidden: It is the quota of somebody else.
    """
    with read(registry.engine) as conn:
        is_own = _check_shown(conn, caller, name)
        return _describe(conn, name, limit_rows(conn), is_for_owner=is_own)


def set_quota(registry: Registry, caller: Caller, name: str, request: QuotaSet) -> QuotaInfo:
    """Replace all limits of a namespace, a person, or of all that have none of their own: as an admin.

    What is over a new limit stays; nothing is added to it.

    Raises:
        Forbidden: The caller is no admin.
        NotFound: There is no such person.
        InvalidInput: The name is none of a namespace.
    """

    def transaction(conn: sa.Connection) -> QuotaInfo:
        set_limits_in(conn, caller, name, request.limits)
        return _describe(conn, name, limit_rows(conn), is_for_owner=True)

    return with_retry(registry.engine, transaction)


def _names(conn: sa.Connection, caller: Caller, rows: Iterable[LimitRow]) -> set[str]:
    """Return the names whose quotas a caller may see: of those with limits, or with something used."""
    holders = {row.holder for row in rows} | usage_rows(conn).keys()
    names = {holder.removeprefix(EACH_NAMESPACE) for holder in holders if holder.startswith(EACH_NAMESPACE)} - {""}
    if caller.may(Right.ADMIN, on=EVERYTHING):
        people = [int(one.removeprefix(EACH_PERSON)) for one in holders if one.startswith(EACH_PERSON) and one != "by:"]
        return names | {ALL_NAMESPACES, ALL_PEOPLE} | {_person(conn, one) for one in people}
    own = {f"@{caller.principal}"} if caller.principal_id else set[str]()
    # A former name, or one that is to come, is no namespace's, and so of none that is private.
    return own | {name for name in find_names(conn, names) if caller.sees(Namespace(name))}


def _person(conn: sa.Connection, row_id: int) -> str:
    return f"@{principal_name(conn, row_id)}"


def _check_shown(conn: sa.Connection, caller: Caller, name: str) -> bool:
    """Refuse who may not see a quota; return whether they may see what would free room of it."""
    if name in {ALL_NAMESPACES, ALL_PEOPLE}:
        caller.require(Right.READ, on=SHARED)
        return False
    if not name.startswith("@"):
        if not caller.may(Right.ADMIN, on=EVERYTHING):  # who sets one for a namespace that is to come
            check_seen(conn, caller, name)
        return caller.may(Right.PUSH, on=Namespace(name))
    if caller.is_anonymous or name not in {f"@{caller.principal}", _person(conn, caller.principal_id)}:
        caller.require(Right.ADMIN, on=EVERYTHING)
    return True


def _describe(conn: sa.Connection, name: str, rows: Iterable[LimitRow], *, is_for_owner: bool = False) -> QuotaInfo:
    holder = find_holder(conn, name)
    own = {row.resource: row.most for row in rows if row.holder == holder}
    limits: dict[QuotaResource, int | None] = {
        resource: own[resource] for resource in QUOTA_RESOURCES if resource in own
    }
    if name in {ALL_NAMESPACES, ALL_PEOPLE}:
        return QuotaInfo(name=name, limits=limits)
    account = _account(conn, holder, rows)
    used = measure(conn, [account])[holder]
    uses: list[QuotaUse] = []
    for resource in QUOTA_RESOURCES:
        most = account.limits.get(resource)
        share = None if most is None else percent(used[resource], most)
        is_near = is_for_owner and share is not None and share >= NEAR_PERCENT
        uses.append(
            QuotaUse(
                resource=resource,
                used=used[resource],
                limit=most,
                percent=share,
                is_own=resource in own,
                frees=frees(conn, account, resource) if is_near else [],
            )
        )
    return QuotaInfo(name=name, limits=limits, uses=uses)


def _account(conn: sa.Connection, holder: str, rows: Iterable[LimitRow]) -> QuotaAccount:
    if not holder.startswith(EACH_PERSON):
        return account_of_scope(holder, rows)
    row_id = int(holder.removeprefix(EACH_PERSON))
    return account_of_person(conn, row_id, rows, is_behind=person_behind(conn, row_id) == row_id)
