"""Requests of command lines to be signed in, by a code that somebody types into a browser."""

from typing import Any

import sqlalchemy as sa

from deltareg.db.access.sign_in_rows import DeviceRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_one
from deltareg.db.tables import device_requests, sign_in_attempts


def forget_devices(conn: sa.Connection) -> None:
    """Delete requests whose time is over."""
    over = sa.select(device_requests.c.id).where(device_requests.c.expires_at < now_us())
    conn.execute(sa.delete(sign_in_attempts).where(sign_in_attempts.c.device_id.in_(over)))
    conn.execute(sa.delete(device_requests).where(device_requests.c.expires_at < now_us()))


def count_devices(conn: sa.Connection, address: str) -> int:
    """Count the requests from an address that wait."""
    query = sa.select(sa.func.count()).where(
        device_requests.c.address == address, device_requests.c.expires_at > now_us()
    )
    return int(conn.execute(query).scalar_one())


def add_device(
    conn: sa.Connection, *, device_hash: str, code_hash: str, machine: str, address: str, for_us: int
) -> None:
    """Insert a request."""
    conn.execute(
        sa.insert(device_requests).values(
            device_hash=device_hash, code_hash=code_hash, machine=machine, address=address, expires_at=now_us() + for_us
        )
    )


def device_by_code(conn: sa.Connection, code_hash: str) -> DeviceRow | None:
    """Find a request that waits, by the code that its person types."""
    query = _select().where(device_requests.c.code_hash == code_hash, device_requests.c.token_id.is_(None))
    return fetch_one(conn, query, DeviceRow)


def device_row(conn: sa.Connection, device_id: int) -> DeviceRow | None:
    """Find a request that waits, by its number, and lock it until the transaction ends."""
    query = _select().where(device_requests.c.id == device_id, device_requests.c.token_id.is_(None))
    return fetch_one(conn, query.with_for_update(of=device_requests), DeviceRow)


def device_by_secret(conn: sa.Connection, device_hash: str) -> DeviceRow | None:
    """Find a request by the secret of the machine, whether somebody has signed in for it or not."""
    query = _select().where(device_requests.c.device_hash == device_hash)
    return fetch_one(conn, query.with_for_update(of=device_requests), DeviceRow)


def grant_device(conn: sa.Connection, device_id: int, *, token_id: int) -> None:
    """Let the machine fetch a token."""
    conn.execute(sa.update(device_requests).where(device_requests.c.id == device_id).values(token_id=token_id))


def drop_device(conn: sa.Connection, device_id: int) -> None:
    """Delete a request, which is answered."""
    conn.execute(sa.delete(sign_in_attempts).where(sign_in_attempts.c.device_id == device_id))
    conn.execute(sa.delete(device_requests).where(device_requests.c.id == device_id))


def _select() -> sa.Select[*tuple[Any, ...]]:
    return sa.select(
        device_requests.c.id,
        device_requests.c.machine,
        device_requests.c.address,
        device_requests.c.created_at,
        device_requests.c.token_id,
        now_us().label("now"),
    ).where(device_requests.c.expires_at > now_us())
