"""What is corrupt is given to nobody, with the command that heals it in the refusal."""

import sqlalchemy as sa

from deltareg.db.queries import bases as base_queries
from deltareg.db.queries import proofs
from deltareg.db.queries import versions as version_queries
from deltareg.db.queries.damage import bad_packs
from deltareg.db.queries.principals import principal_name
from deltareg.db.queries.shares import Held
from deltareg.errors import Corrupt, DeltaregError
from deltareg.identity.manifest import Manifest
from deltareg.refs import Ref
from deltareg.service.describe import line_of, ref_of


def refuse_corrupt(conn: sa.Connection, held: Held, name: str) -> None:
    """Refuse to give the bytes of a version, or a base, that is corrupt.

    Raises:
        Corrupt: It is; the message says whose bytes they are, and what heals it.
    """
    row = proofs.standing(conn, held)
    if row.corrupt_at is None:
        return
    again = push_again(conn, held)
    if bad_packs(conn, held):
        told = f"{name} is damaged: the store has lost or changed some of its bytes"
    else:
        sender = principal_name(conn, row.sender_id)
        told = f"{name} is corrupt: the bytes that {sender} sent are not what it says"
    raise Corrupt(told, fix=f"push the same folder again: {again}")


def push_again(conn: sa.Connection, held: Held) -> str:
    """Give the command that brings the bytes of a version or a base again, from its folder."""
    if held.is_base:
        base = base_queries.base_rows(conn, base_id=held.row_id, limit=1, also_deleted=True)[0]
        if ":" in base.name:
            return f"deltareg push PATH {Ref.parse(base.name).line} --base {base.name}"
        return f"deltareg base push PATH {base.name}"
    version = version_queries.version_by_id(conn, held.row_id)
    told = f"deltareg push PATH {line_of(version)} --base {version.base_name or 'NAME'}"
    parents = version_queries.parents_of(conn, held.row_id)
    told += "".join(f" --parent {ref_of(parent)}" for parent in parents)
    convention = _convention(conn, held.row_id)
    return told + (f" --convention {convention}" if convention else "")


def _convention(conn: sa.Connection, version_id: int) -> str:
    """Give what a push had to say of its values; nothing where the manifest cannot be read."""
    try:
        manifest = Manifest.decode(version_queries.content(conn, version_id).manifest)
    except DeltaregError:
        return ""
    return str(manifest.config.get("convention", ""))
