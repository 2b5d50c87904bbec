"""Who has limits: namespaces, and people with the principals that they alone stand behind."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from deltareg.db.access.principals import principal_name
from deltareg.db.quotas import limits as queries
from deltareg.db.quotas.limits import EACH_NAMESPACE, EACH_PERSON
from deltareg.db.quotas.rows import LimitRow, UsageRow
from deltareg.db.quotas.usage import usage_rows
from deltareg.service.authority.resources import EVERYTHING, Namespace, Resource
from deltareg.service.registry import BASES
from deltareg.words import QUOTA_RESOURCES, QuotaResource

US_PER_MINUTE: Final = 60_000_000
Usage = Mapping[QuotaResource, int]


@dataclass(frozen=True, slots=True)
class QuotaAccount:
    """Somebody whose use is limited.

    Attributes:
        name: As people write it: `team`, `@ana`, or `bases` for those of no namespace.
        holder: Whose limits these are, as rows name it.
        counted: Whose use adds up: the holder's, and of a person that of their scripts.
        limits: The limits that apply, its own or those of all; what is not limited is left out.
    """

    name: str
    holder: str
    counted: tuple[str, ...]
    limits: Mapping[QuotaResource, int]

    @property
    def place(self) -> Resource:
        """What is told of it concerns: its namespace, or all."""
        return Namespace(self.name) if self.holder.startswith(EACH_NAMESPACE) else EVERYTHING


def accounts_of(conn: sa.Connection, scope: str, principal_id: int | None) -> list[QuotaAccount]:
    """Return the accounts with limits that something in a scope counts against.

    Args:
        conn: A transaction.
        scope: `ns:team`, or `bases`.
        principal_id: Who adds it; None for the registry itself. Workers have no limits of their own.
    """
    person = None if principal_id is None else queries.person_behind(conn, principal_id)
    people = [each for each in dict.fromkeys([principal_id, person]) if each is not None]
    holders = {EACH_NAMESPACE, scope, EACH_PERSON, *(f"by:{each}" for each in people)}
    rows = queries.limit_rows(conn, holders)
    if not rows:
        return []
    accounts = [account_of_scope(scope, rows)]
    accounts += [
        account_of_person(conn, each, rows, is_behind=each == person)
        for each in people
        if not queries.is_worker(conn, each)
    ]
    return [account for account in accounts if account.limits]


def account_of_scope(scope: str, rows: Iterable[LimitRow]) -> QuotaAccount:
    """Return the account of a scope; the limits of all namespaces are none of `bases`."""
    each = "" if scope == BASES else EACH_NAMESPACE
    return QuotaAccount(scope.removeprefix(EACH_NAMESPACE), scope, (scope,), _limits(rows, scope, each))


def account_of_person(
    conn: sa.Connection, principal_id: int, rows: Iterable[LimitRow], *, is_behind: bool
) -> QuotaAccount:
    """Return the account of a person, or of a script by itself, for which the limits of all are none."""
    holder = f"by:{principal_id}"
    together = queries.principals_of(conn, principal_id) if is_behind else [principal_id]
    name = principal_name(conn, principal_id)
    limits = _limits(rows, holder, EACH_PERSON if is_behind else "")
    return QuotaAccount(f"@{name}", holder, tuple(f"by:{each}" for each in together), limits)


def accounts_of_people(
    conn: sa.Connection, people: Mapping[str, int], rows: Iterable[LimitRow]
) -> dict[str, QuotaAccount]:
    """Return the accounts of principals by name, each as `account_of_person` does, all at once."""
    pairs = queries.stand_ins_of(conn, people.values())
    behind: dict[int, int] = {}
    scripts: dict[int, set[int]] = {}
    for principal_id, person_id in pairs:
        behind.setdefault(principal_id, person_id)
        scripts.setdefault(person_id, set()).add(principal_id)
    found: dict[str, QuotaAccount] = {}
    for name, row_id in people.items():
        is_behind = behind.get(row_id, row_id) == row_id
        together = sorted({row_id, *scripts.get(row_id, ())}) if is_behind else [row_id]
        holder = f"by:{row_id}"
        limits = _limits(rows, holder, EACH_PERSON if is_behind else "")
        found[name] = QuotaAccount(f"@{name}", holder, tuple(f"by:{each}" for each in together), limits)
    return found


def measure(conn: sa.Connection, accounts: Sequence[QuotaAccount]) -> dict[str, Usage]:
    """Return what each account uses, by its holder."""
    if not accounts:
        return {}
    rows = usage_rows(conn, {holder for account in accounts for holder in account.counted})
    return {account.holder: add_up(rows[each] for each in account.counted if each in rows) for account in accounts}


def add_up(rows: Iterable[UsageRow]) -> Usage:
    """Add up counts, by resource."""
    found = list(rows)
    sums: dict[QuotaResource, int] = {
        name: sum(getattr(row, name) for row in found) for name in QUOTA_RESOURCES if name != "minutes"
    }
    return {**sums, "minutes": sum(row.run_us for row in found) // US_PER_MINUTE}


def _limits(rows: Iterable[LimitRow], holder: str, each: str) -> dict[QuotaResource, int]:
    own = {row.resource: row.most for row in rows if row.holder == holder}
    of_all = {row.resource: row.most for row in rows if each and row.holder == each}
    merged = {**of_all, **own}
    return {name: most for name in QUOTA_RESOURCES if (most := merged.get(name)) is not None}
