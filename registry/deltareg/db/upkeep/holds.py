"""Backups that run: what holds the deletion of objects back, until it ends or its time is over."""

import sqlalchemy as sa

from deltareg.db.sql.clock import US_PER_S, now_us
from deltareg.db.tables import backup_holds

LEASE_S = 300
"""How long a backup holds without saying anything."""
_EVER = 2**62


def begin_hold(conn: sa.Connection, hold_id: str) -> None:
    """Hold back the deletion of objects from now on, and forget the holds of killed backups."""
    conn.execute(sa.delete(backup_holds).where(backup_holds.c.held_until <= now_us()))
    conn.execute(sa.insert(backup_holds).values(id=hold_id, held_until=now_us() + LEASE_S * US_PER_S))


def renew_hold(conn: sa.Connection, hold_id: str) -> bool:
    """Hold on for another while; return False if the hold was over, so that objects may be gone."""
    is_own = sa.and_(backup_holds.c.id == hold_id, backup_holds.c.held_until > now_us())
    renewed = sa.update(backup_holds).where(is_own).values(held_until=now_us() + LEASE_S * US_PER_S)
    return conn.execute(renewed).rowcount == 1


def end_hold(conn: sa.Connection, hold_id: str) -> None:
    """Let objects be deleted again."""
    conn.execute(sa.delete(backup_holds).where(backup_holds.c.id == hold_id))


def is_held(conn: sa.Connection) -> bool:
    """Whether a backup runs."""
    return bool(conn.execute(sa.select(sa.exists().where(backup_holds.c.held_until > now_us()))).scalar())


def begin_restore(conn: sa.Connection, backup: str) -> None:
    """Write down which backup the rows are of, until the restore has ended; nothing is collected until then."""
    if not sa.inspect(conn).has_table(backup_holds.name):  # rows of a release that knew no backups
        return
    conn.execute(sa.delete(backup_holds))
    conn.execute(sa.insert(backup_holds).values(id=f"restore of {backup}", held_until=_EVER))


def is_restoring(conn: sa.Connection, backup: str) -> bool:
    """Whether the rows are those of a backup whose restore was killed behind them."""
    if not sa.inspect(conn).has_table(backup_holds.name):
        return False
    return bool(conn.execute(sa.select(backup_holds.c.id).where(backup_holds.c.id == f"restore of {backup}")).first())


def end_restore(conn: sa.Connection) -> None:
    """Say that the restore has ended."""
    conn.execute(sa.delete(backup_holds))
