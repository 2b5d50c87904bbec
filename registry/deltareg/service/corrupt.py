"""What is corrupt is given to nobody, with the command that heals it in the refusal."""

import sqlalchemy as sa

from deltareg.db.queries import proofs
from deltareg.db.queries.principals import principal_name
from deltareg.db.queries.shares import Held
from deltareg.errors import Corrupt


def refuse_corrupt(conn: sa.Connection, held: Held, name: str) -> None:
    """Refuse to give the bytes of a version, or a base, that is corrupt.

    Raises:
        Corrupt: It is; the message says whose bytes they are, and what heals it.
    """
    row = proofs.standing(conn, held)
    if row.corrupt_at is None:
        return
    sender = principal_name(conn, row.sender_id)
    again = "base push PATH " + name if held.is_base else "push PATH " + name.partition(":")[0]
    raise Corrupt(
        f"{name} is corrupt: the bytes that {sender} sent are not what it says",
        fix=f"push the same folder again: deltareg {again}",
    )
