"""What is sealed: addresses and secrets of webhooks, sign-ins, and the key that servers sign with."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from deltareg.db.tables import server_keys, sign_ins, webhook_secrets, webhooks

_COLUMNS: dict[str, tuple[sa.Column[Any], sa.Column[Any], sa.Column[Any]]] = {
    "address": (webhooks.c.id, webhooks.c.id, webhooks.c.address),
    "secret": (webhook_secrets.c.id, webhook_secrets.c.webhook_id, webhook_secrets.c.sealed),
    "refresh": (sign_ins.c.id, sign_ins.c.id, sign_ins.c.refresh),
    "key": (server_keys.c.keyid, server_keys.c.keyid, server_keys.c.sealed),
}
"""Of each kind: the primary key, the name in what it is sealed for, and the column."""


@dataclass(frozen=True, slots=True)
class SealedRow:
    """Something that is sealed.

    Attributes:
        what: Its kind: address, secret, refresh, key.
        id: The primary key of its row.
        name: What it is of.
        sealed: The sealed bytes.
    """

    what: str
    id: object
    name: str
    sealed: bytes


def sealed_rows(conn: sa.Connection) -> Iterator[SealedRow]:
    """Yield everything that is sealed."""
    for what, (key, name, column) in _COLUMNS.items():
        for row in conn.execute(sa.select(key, name, column).where(column.is_not(None)).order_by(key)):
            yield SealedRow(what, row[0], str(row[1]), bytes(row[2]))


def put_sealed(conn: sa.Connection, row: SealedRow, sealed: bytes) -> None:
    """Put other bytes in the place of sealed ones; what was changed meanwhile stays as it is."""
    key, _, column = _COLUMNS[row.what]
    update = sa.update(column.table).where(key == row.id, column == row.sealed)
    conn.execute(update.values({column.name: sealed}))
