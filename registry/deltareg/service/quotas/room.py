"""What would free room, in a line or two: for who is refused, and for who looks."""

from collections.abc import Generator
from contextlib import contextmanager

import sqlalchemy as sa

from deltareg.db.quotas import limits as limit_queries
from deltareg.db.quotas import room as queries
from deltareg.db.quotas.limits import EACH_NAMESPACE
from deltareg.db.session import read
from deltareg.drawing.wording import count, size
from deltareg.errors import OverQuota
from deltareg.service.quotas.accounts import QuotaAccount, account_of_person, account_of_scope
from deltareg.words import QuotaResource

_LISTED = 2


@contextmanager
def explain_room(engine: sa.Engine) -> Generator[None, None, None]:
    """Add to a refusal for a quota what would free room; looked up after the refused transaction.

    Raises:
        OverQuota: The block was refused.
    """
    try:
        yield
    except OverQuota as error:
        if error.fix or not getattr(error, "holder", ""):  # one that came over HTTP has words only
            raise
        with read(engine) as conn:
            account = _account(conn, error.holder)
            rooms = [room for name in account.limits if name == error.resource for room in frees(conn, account, name)]
        ask = f"or an admin sets more: deltareg quota set {account.name} {error.resource}=…"
        raise OverQuota(error.message, fix="; ".join([*rooms, ask])) from error


def frees(conn: sa.Connection, account: QuotaAccount, resource: QuotaResource) -> list[str]:
    """Say what would free room for a resource of an account, what frees most first."""
    if resource == "minutes":
        return ["they begin anew with the next month (UTC)"]
    if resource == "drafts":
        return ["what hub clients leave alone is collected with: deltareg gc run"]
    principals = None if _is_scope(account) else [int(each.removeprefix("by:")) for each in account.counted]
    scope = account.holder if _is_scope(account) else None
    rooms: list[str] = []
    if resource in {"bytes", "versions", "lines"} and account.holder.startswith((EACH_NAMESPACE, "by:")):
        lines = queries.large_lines(
            conn,
            namespace=None if scope is None else account.name,
            created_by=principals,
            by="bytes" if resource == "bytes" else "versions",
            limit=_LISTED,
        )
        for line in lines:
            idle = f"; no channel ever served {line.idle} of them ({size(line.idle_bytes)})" if line.idle else ""
            rooms.append(
                f"{line.name} has {count(line.versions, 'version')} with {size(line.stored_bytes)}{idle}:"
                f" deltareg rm {line.name}:vN"
            )
    if resource in {"bytes", "uploads"}:
        found = queries.open_uploads(conn, scope=scope, sent_by=principals, limit=_LISTED)
        rooms += [
            f"an upload of {upload.principal} to {upload.target} is open with {size(upload.size_bytes)}:"
            " push it again, or: deltareg gc run"
            for upload in found
        ]
    if resource == "bytes" and scope is not None:
        waiting = queries.deleted_bytes(conn, account.name)
        rooms += [f"deleted versions hold up to {size(waiting)}: deltareg gc run"] if waiting else []
    return rooms


def _account(conn: sa.Connection, holder: str) -> QuotaAccount:
    rows = limit_queries.limit_rows(conn)
    if holder.startswith("by:"):
        return account_of_person(conn, int(holder.removeprefix("by:")), rows, is_behind=True)
    return account_of_scope(holder, rows)


def _is_scope(account: QuotaAccount) -> bool:
    return not account.holder.startswith("by:")
