"""Quotas as people see and set them, by name: `team`, `@ana`, and for all others `*` and `@*`."""

from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy as sa

from deltareg.db.access.namespaces import find_names
from deltareg.db.access.principals import principal_name
from deltareg.db.quotas.limits import EACH_NAMESPACE, EACH_PERSON, limit_rows, person_behind
from deltareg.db.quotas.rows import LimitRow
from deltareg.db.quotas.usage import holders_within, people_counted
from deltareg.db.session import read, with_retry
from deltareg.service.access.limits import ALL_NAMESPACES, ALL_PEOPLE, OF_ALL, find_holder, set_limits_in
from deltareg.service.access.members import check_seen
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, SHARED, Namespace
from deltareg.service.paging import check_limit, page, read_cursor
from deltareg.service.quotas.accounts import (
    QuotaAccount,
    Usage,
    account_of_person,
    account_of_scope,
    accounts_of_people,
    measure,
)
from deltareg.service.quotas.holding import NEAR_PERCENT, percent
from deltareg.service.quotas.room import frees
from deltareg.service.registry import Caller, Registry, namespace_scope
from deltareg.wire import Page, QuotaInfo, QuotaSet, QuotaUse
from deltareg.words import QUOTA_RESOURCES, QuotaResource


def list_quotas(registry: Registry, caller: Caller, *, cursor: str | None, limit: int) -> Page[QuotaInfo]:
    """List the quotas that a caller may see, by name: an admin all, others their namespaces and their own."""
    caller.require(Right.READ, on=SHARED)
    after = read_cursor(cursor)
    with read(registry.engine) as conn:
        rows = limit_rows(conn)
        most = check_limit(limit) + 1
        people = _people(conn, caller, rows, after=after, limit=most)
        names = {*(f"@{name}" for name in people), *_places(conn, caller, rows)}
        listed = sorted(name for name in names if after is None or name > after)[:most]
        own = {name: people[name[1:]] for name in listed if name[1:] in people and name.startswith("@")}
        shown = _describe_all(conn, listed, own, rows)
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


def _places(conn: sa.Connection, caller: Caller, rows: Iterable[LimitRow]) -> set[str]:
    """Return the namespaces with a limit, or with something used, whose quotas a caller may see; with those for all."""
    holders = {*holders_within(conn, EACH_NAMESPACE), *(row.holder for row in rows)}
    names = {holder.removeprefix(EACH_NAMESPACE) for holder in holders if holder.startswith(EACH_NAMESPACE)} - {""}
    if caller.may(Right.ADMIN, on=EVERYTHING):
        return names | {ALL_NAMESPACES, ALL_PEOPLE}
    # A former name, or one that is to come, is no namespace's, and so of none that is private.
    return {name for name in find_names(conn, names) if caller.sees(Namespace(name))}


def _people(
    conn: sa.Connection, caller: Caller, rows: Iterable[LimitRow], *, after: str | None, limit: int
) -> dict[str, int]:
    """Return the principals whose quotas a caller may see, by name: the first ones of a page."""
    if not caller.may(Right.ADMIN, on=EVERYTHING):
        return {caller.principal: caller.principal_id} if caller.principal_id else {}
    if after is not None and after[:1] > "@":
        return {}
    numbers = (row.holder.removeprefix(EACH_PERSON) for row in rows if row.holder.startswith(EACH_PERSON))
    last = after[1:] if after is not None and after.startswith("@") else None
    return people_counted(conn, also=[int(each) for each in numbers if each], after=last, limit=limit)


def _person(conn: sa.Connection, row_id: int) -> str:
    return f"@{principal_name(conn, row_id)}"


def _check_shown(conn: sa.Connection, caller: Caller, name: str) -> bool:
    """Refuse who may not see a quota; return whether they may see what would free room of it."""
    if name in OF_ALL:
        caller.require(Right.READ, on=SHARED)
        return False
    if not name.startswith("@"):
        if not caller.may(Right.ADMIN, on=EVERYTHING):  # who sets one for a namespace that is to come
            check_seen(conn, caller, name)
        return caller.may(Right.PUSH, on=Namespace(name))
    if caller.is_anonymous or name not in {f"@{caller.principal}", _person(conn, caller.principal_id)}:
        caller.require(Right.ADMIN, on=EVERYTHING)
    return True


def _describe_all(
    conn: sa.Connection, names: Sequence[str], people: Mapping[str, int], rows: Iterable[LimitRow]
) -> list[QuotaInfo]:
    """Describe quotas by name, and those of `people`, by names that begin with an at sign."""
    by_name = accounts_of_people(conn, {name[1:]: row_id for name, row_id in people.items()}, rows)
    accounts = {f"@{name}": account for name, account in by_name.items()}
    accounts |= {
        name: account_of_scope(namespace_scope(name), rows)
        for name in names
        if name not in people and name not in OF_ALL
    }
    used = measure(conn, list(accounts.values()))
    return [
        _show(conn, name, rows, accounts[name], used[accounts[name].holder])
        if name in accounts
        else QuotaInfo(name=name, limits=_own_limits(OF_ALL[name], rows))
        for name in names
    ]


def _describe(conn: sa.Connection, name: str, rows: Iterable[LimitRow], *, is_for_owner: bool = False) -> QuotaInfo:
    holder = find_holder(conn, name)
    if name in OF_ALL:
        return QuotaInfo(name=name, limits=_own_limits(holder, rows))
    account = _account(conn, holder, rows)
    return _show(conn, name, rows, account, measure(conn, [account])[holder], is_for_owner=is_for_owner)


def _own_limits(holder: str, rows: Iterable[LimitRow]) -> dict[QuotaResource, int | None]:
    own = {row.resource: row.most for row in rows if row.holder == holder}
    return {resource: own[resource] for resource in QUOTA_RESOURCES if resource in own}


def _show(
    conn: sa.Connection,
    name: str,
    rows: Iterable[LimitRow],
    account: QuotaAccount,
    used: Usage,
    *,
    is_for_owner: bool = False,
) -> QuotaInfo:
    own = _own_limits(account.holder, rows)
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
    return QuotaInfo(name=name, limits=own, uses=uses)


def _account(conn: sa.Connection, holder: str, rows: Iterable[LimitRow]) -> QuotaAccount:
    if not holder.startswith(EACH_PERSON):
        return account_of_scope(holder, rows)
    row_id = int(holder.removeprefix(EACH_PERSON))
    return account_of_person(conn, row_id, rows, is_behind=person_behind(conn, row_id) == row_id)
