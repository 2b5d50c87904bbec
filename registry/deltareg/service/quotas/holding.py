"""Holding limits, in the transaction that adds: locked before it, measured after it, told at 80 %.

The counts are the database's own (record 105): whatever the transaction does to rows is in them at
once. So nobody says beforehand how much is added, and of those who add at the same time each sees
what the one before has added.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import sqlalchemy as sa

from deltareg.db.quotas.usage import add_warning, end_warnings, lock_usage
from deltareg.drawing.wording import size
from deltareg.errors import OverQuota
from deltareg.service.events import Action, record_event
from deltareg.service.quotas.accounts import QuotaAccount, Usage, accounts_of, measure
from deltareg.words import QuotaResource

NEAR_PERCENT = 80
"""From which share of a limit on people are warned."""
_WORDS: dict[QuotaResource, str] = {
    "bytes": "bytes",
    "versions": "versions",
    "lines": "lines",
    "drafts": "drafts",
    "uploads": "open uploads",
    "minutes": "minutes of verification this month",
}


@contextmanager
def within_quotas(
    conn: sa.Connection,
    scope: str,
    principal_id: int | None,
    *,
    needs: Sequence[QuotaResource] = (),
    is_strict: bool = False,
) -> Generator[Sequence[QuotaAccount], None, None]:
    """Let a block add no more than the limits of a scope and of who adds leave room for.

    Args:
        conn: A transaction that writes; the block is a part of it.
        scope: `ns:team`, or `bases`.
        principal_id: Who adds; None for the registry itself.
        needs: Of what there has to be some room before the block begins, as more is sent later.
        is_strict: Whether to refuse what is over a limit even if it was so before the block.

    Yields:
        The accounts that are held to their limits.

    Raises:
        OverQuota: There is no room; whatever the transaction did is to be rolled back.
    """
    accounts = accounts_of(conn, scope, principal_id)
    # The scope's in any case: nobody waits for it while holding packs that the other waits for.
    lock_usage(conn, {scope, *(holder for account in accounts for holder in account.counted)})
    before = measure(conn, accounts)
    for account in accounts:
        for resource in needs:
            if resource in account.limits and before[account.holder][resource] >= account.limits[resource]:
                raise _full(account, resource, before[account.holder][resource])
    yield accounts
    after = measure(conn, accounts)
    for account in accounts:
        for resource, most in account.limits.items():
            used = after[account.holder][resource]
            if used > most and (is_strict or used > before[account.holder][resource]):
                raise _over(account, resource, used)
    tell_near(conn, accounts, after)


def check_added(conn: sa.Connection, scope: str, principal_id: int | None, size_bytes: int) -> None:
    """Refuse bytes that would not fit now, before any of them come; each is held to it again as it comes.

    Raises:
        OverQuota: They would not.
    """
    accounts = accounts_of(conn, scope, principal_id)
    used = measure(conn, accounts)
    for account in accounts:
        total = used[account.holder]["bytes"] + size_bytes
        if size_bytes and total > account.limits.get("bytes", total):
            raise _over(account, "bytes", total)


def refuse_spent(conn: sa.Connection, scope: str, principal_id: int | None) -> None:
    """Refuse to queue a run that was asked for once this month's minutes of verification are used up.

    Raises:
        OverQuota: They are.
    """
    accounts = accounts_of(conn, scope, principal_id)
    used = measure(conn, accounts)
    for account in accounts:
        most = account.limits.get("minutes")
        if most is not None and used[account.holder]["minutes"] >= most:
            raise _full(account, "minutes", used[account.holder]["minutes"])
    tell_near(conn, accounts, used)


def is_spent(conn: sa.Connection, scope: str, principal_id: int | None) -> bool:
    """Whether this month's minutes of verification are used up."""
    try:
        refuse_spent(conn, scope, principal_id)
    except OverQuota:
        return True
    return False


def near_notes(conn: sa.Connection, accounts: Sequence[QuotaAccount]) -> list[str]:
    """Say of which limits of accounts much is used, for who just added something."""
    used = measure(conn, accounts)
    return [
        f"{account.name} uses {percent(used[account.holder][resource], account.limits[resource])} % of its quota of"
        f" {amount(resource, account.limits[resource])}: deltareg quota ls {account.name}"
        for account in accounts
        for resource in _near(account, used[account.holder])
    ]


def tell_near(conn: sa.Connection, accounts: Sequence[QuotaAccount], used: dict[str, Usage]) -> None:
    """Tell, once, of each limit of which much is used; once less is, it may be told again."""
    for account in accounts:
        near = _near(account, used[account.holder])
        end_warnings(conn, {account.holder: set(account.limits) - set(near)})
        for resource in near:
            if add_warning(conn, account.holder, resource):
                after = {
                    "of": account.name,
                    "resource": resource,
                    "used": used[account.holder][resource],
                    "most": account.limits[resource],
                }
                record_event(
                    conn,
                    Action.QUOTA_NEAR,
                    f"quota/{account.name}",
                    on=account.place,
                    before=None,
                    after=after,
                    actor="registry",
                )


def amount(resource: QuotaResource, count: int) -> str:
    """Write an amount of a resource: `200 GB`, `50 versions`."""
    return size(count) if resource == "bytes" else f"{count} {_WORDS[resource]}"


def percent(used: int, most: int) -> int:
    """Return how much of a limit is used, rounded down; of no room everything is."""
    return 100 if most == 0 else used * 100 // most


def _near(account: QuotaAccount, used: Usage) -> list[QuotaResource]:
    return [
        resource
        for resource, most in account.limits.items()
        if used[resource] > 0 and percent(used[resource], most) >= NEAR_PERCENT
    ]


def _full(account: QuotaAccount, resource: QuotaResource, used: int) -> OverQuota:
    message = f"{account.name} uses {amount(resource, used)}, and its quota is {_most(account, resource)}"
    return OverQuota(message, holder=account.holder, resource=resource)


def _over(account: QuotaAccount, resource: QuotaResource, used: int) -> OverQuota:
    message = f"{account.name} would have {amount(resource, used)}, and its quota is {_most(account, resource)}"
    return OverQuota(message, holder=account.holder, resource=resource)


def _most(account: QuotaAccount, resource: QuotaResource) -> str:
    most = account.limits[resource]
    return size(most) if resource == "bytes" else str(most)
