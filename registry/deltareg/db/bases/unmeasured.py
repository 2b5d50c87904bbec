"""Bases that could not be measured on a device, so that not every version of them pays for that."""

from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.bases.rows import UnmeasuredRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.upsert import insert
from deltareg.db.tables import base_figures, signing_keys, unmeasured_bases


def note_unmeasured(
    conn: sa.Connection, base_id: int, *, device: str, seconds: int, reason: str, created_by: int | None
) -> None:
    """Record that measuring a base on a device came to nothing; the newest attempt counts."""
    values = {"seconds": seconds, "reason": reason, "created_at": now_us(), "created_by": created_by}
    conn.execute(
        insert(conn, unmeasured_bases)
        .values(base_id=base_id, device=device, **values)
        .on_conflict_do_update(index_elements=["base_id", "device"], set_=values)
    )


def forget_unmeasured(conn: sa.Connection, base_id: int, *, device: str) -> None:
    """Forget it, as the base was measured after all."""
    of_both = unmeasured_bases.c.base_id == base_id, unmeasured_bases.c.device == device
    conn.execute(sa.delete(unmeasured_bases).where(*of_both))


def unmeasured_rows(conn: sa.Connection, *, device: str, keyid: str) -> Sequence[UnmeasuredRow]:
    """List the bases that could not be measured on a device and that a worker has not measured itself.

    `is_measured` says that another worker has.
    """
    live = (
        sa.select(base_figures.c.keyid)
        .join(signing_keys, signing_keys.c.keyid == base_figures.c.keyid)
        .where(base_figures.c.base_id == unmeasured_bases.c.base_id, signing_keys.c.revoked_at.is_(None))
        .correlate(unmeasured_bases)
    )
    query = sa.select(unmeasured_bases.c.base_id, unmeasured_bases.c.reason, sa.exists(live).label("is_measured"))
    own = sa.exists(live.where(base_figures.c.keyid == keyid))
    return fetch_all(conn, query.where(unmeasured_bases.c.device == device, ~own), UnmeasuredRow)
