"""The counts that triggers keep, counted anew: what differs from what was kept, and mending it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from deltareg.db.lines import line_counts
from deltareg.db.quotas.recount import recount
from deltareg.db.quotas.rows import UsageRow
from deltareg.db.quotas.usage import COUNTS, lock_usage, set_usage, usage_rows
from deltareg.db.session import read, with_retry
from deltareg.db.storage.settling import has_changes, lock_settling
from deltareg.db.upkeep import storage_recount
from deltareg.db.upkeep.released import note_released, unnoted_packs
from deltareg.service.push.shares import measure_missing
from deltareg.service.upkeep.settling import settle_storage

KIND: Final = "count"
_KEPT = (*COUNTS, "run_us")


@dataclass(frozen=True, slots=True)
class WrongCount:
    """A holder, a line or the store, of which something is kept that is not what there is, and what differs."""

    holder: str
    detail: str


def wrong_counts(engine: sa.Engine) -> list[WrongCount]:
    """Compare what was kept with what there is, in one snapshot."""
    settle_storage(engine)
    with read(engine) as conn:
        return [
            *_compare(usage_rows(conn), recount(conn)),
            *_compare_lines(conn, _wrong_lines(conn)),
            *_compare_packs(unnoted_packs(conn)),
            *_compare_storage(conn),
        ]


def mend_counts(engine: sa.Engine) -> list[WrongCount]:
    """Put wrong counts right, and return them; whoever adds to them meanwhile waits."""
    measure_missing(engine)
    settle_storage(engine)
    with read(engine) as conn:
        wrong = list(_compare(usage_rows(conn), recount(conn)))
        lines = _wrong_lines(conn)
        unnoted = unnoted_packs(conn)
        storage = list(_compare_storage(conn))
        others = [*_compare_lines(conn, lines), *_compare_packs(unnoted), *storage]
    if not wrong and not others:
        return []

    def transaction(conn: sa.Connection) -> None:
        for delta_id in sorted(lines):
            line_counts.set_counts(conn, delta_id)
        line_counts.add_missing_verdicts(conn)
        if unnoted:
            note_released(conn, unnoted)
        holders = [each.holder for each in wrong]
        lock_usage(conn, holders)
        counted = recount(conn)
        for holder in holders:
            set_usage(conn, counted.get(holder, UsageRow(holder)))

    with_retry(engine, transaction)
    if storage:
        with_retry(engine, _mend_storage)
    return [*wrong, *others]


def _mend_storage(conn: sa.Connection) -> None:
    lock_settling(conn)
    storage_recount.set_storage(conn)


def _compare_storage(conn: sa.Connection) -> Iterator[WrongCount]:
    """Compare what lines store, where no push or deletion has changed it a moment ago."""
    if has_changes(conn):
        return
    wrong = storage_recount.lines_with_wrong_storage(conn)
    names = line_counts.names_of_lines(conn, wrong) if wrong else {}
    for delta_id in sorted(wrong):
        yield WrongCount(names[delta_id], "storage counts other bytes than its versions have")
    packs = storage_recount.count_wrong_bases(conn)
    if packs:
        yield WrongCount("bases", f"storage counts {packs} of their packs for the wrong one")


def _wrong_lines(conn: sa.Connection) -> dict[int, list[str]]:
    """Return what is wrong of each line, where something is."""
    kept, counted = line_counts.kept_counts(conn), line_counts.recount(conn)
    wrong: dict[int, list[str]] = {row.delta_id: [] for row in kept ^ counted}
    for delta_id, details in wrong.items():
        ours, theirs = (sum(row.versions for row in rows if row.delta_id == delta_id) for rows in (kept, counted))
        what = f"{ours} versions and not {theirs}" if ours != theirs else "other bytes or bases than its versions have"
        details.append(f"lists count {what}")
    for delta_id, number in line_counts.lines_without_verdicts(conn).items():
        wrong.setdefault(delta_id, []).append(f"its log leaves out {number} verdicts")
    return wrong


def _compare_lines(conn: sa.Connection, wrong: Mapping[int, list[str]]) -> Iterator[WrongCount]:
    names = line_counts.names_of_lines(conn, wrong) if wrong else {}
    for delta_id in sorted(wrong):
        yield WrongCount(names[delta_id], "; ".join(wrong[delta_id]))


def _compare_packs(unnoted: Sequence[int]) -> Iterator[WrongCount]:
    if unnoted:
        yield WrongCount("store", f"collections leave out {len(unnoted)} packs that nothing needs")


def _compare(kept: dict[str, UsageRow], counted: dict[str, UsageRow]) -> Iterator[WrongCount]:
    for holder in sorted({*kept, *counted}):
        one, other = (rows.get(holder, UsageRow(holder)) for rows in (kept, counted))
        differs = [
            f"{name} {getattr(one, name)} and not {getattr(other, name)}"
            for name in _KEPT
            if getattr(one, name) != getattr(other, name)
        ]
        if differs:
            yield WrongCount(holder, f"quotas count {', '.join(differs)}")
