"""Backups that run: what holds the deletion of objects back, until it ends or its time is over."""

import sqlalchemy as sa

from deltareg.db.sql.clock import US_PER_S, now_us
from deltareg.db.tables import backup_holds

LEASE_S = 900
"""How long a backup holds without saying anything."""


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
