"""Packs: the physical key that holds a digest now, who needs it, and where its pieces are.

This is the part of protocol D (docs/design.md, Stored form) that belongs to a push. All of these
calls are made in the transaction that completes an upload. They take row locks that keep collection
away from a pack until its references are committed. A key becomes a pack in two places, `adopt` and
`replace_key`, and both demand the open upload that wrote it.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import sqlalchemy as sa

from deltareg.db.sql.document import unpack_document
from deltareg.db.sql.upsert import batches, insert
from deltareg.db.storage.offers import withdraw_from_packs
from deltareg.db.storage.uploads import OpenUpload
from deltareg.db.tables import base_packs, packs, piece_packs, pieces, upload_packs, version_packs, versions
from deltareg.errors import IntegrityFailure, Unavailable, UploadClosed

_AGAIN = "run the same push again; what is stored already is not sent twice"
_ATTEMPTS = 10
_SOUND = sa.and_(packs.c.state == "live", packs.c.bad_at.is_(None))


def adopt(conn: sa.Connection, upload: OpenUpload, digest: str, *, is_replacing: bool = False) -> int:
    """Make an object that an upload received the pack of its digest, or use the pack that is live already.

    A pack that is missing, damaged or marked by collection takes the new key and is live; with
    `is_replacing` a live one does as well, as its object may be damaged. The row of the upload's
    key is updated too: `adopted`, or `dropped` if the key is not used and is garbage.

    Returns:
        The row id of the pack, locked until the transaction ends.
    """
    received, scope = upload.received[digest], upload.scope
    physical_key, size_bytes = received.physical_key, received.size_bytes
    for _ in range(_ATTEMPTS):
        values = {"scope": scope, "digest": digest, "size_bytes": size_bytes}
        added = (
            insert(conn, packs)
            .values(**values, physical_key=physical_key, state="live")
            .on_conflict_do_nothing(index_elements=["scope", "digest"])
            .returning(packs.c.id)
        )
        pack_id = conn.execute(added).scalar()
        if pack_id is not None:
            _settle_key(conn, physical_key, state="adopted")
            return int(pack_id)
        existing = (
            sa.select(packs.c.id, packs.c.state, packs.c.physical_key, packs.c.bad_at)
            .where(packs.c.scope == scope, packs.c.digest == digest)
            .with_for_update()
        )
        row = conn.execute(existing).one_or_none()
        if row is not None:  # None: collection dropped it since, so there is room for ours
            is_sound = row.state == "live" and row.bad_at is None and not is_replacing
            keys = (row.physical_key, physical_key)
            return _join(conn, row.id, keys, is_sound=is_sound, size_bytes=size_bytes)
    raise Unavailable(f"pack {digest} comes and goes", fix="try again")


def replace_key(conn: sa.Connection, pack_id: int, upload: OpenUpload, digest: str, *, instead_of: str) -> bool:
    """Give a pack the object that an upload received, and take it for sound; False if its key has changed.

    Args:
        conn: A transaction that writes.
        pack_id: The pack.
        upload: The upload that wrote the new object.
        digest: The digest of the pack.
        instead_of: The key that the pack is expected to have.
    """
    new = upload.received[digest]
    values = {"physical_key": new.physical_key, "size_bytes": new.size_bytes, "bad_at": None, "bad_why": None}
    update = sa.update(packs).where(packs.c.id == pack_id, packs.c.physical_key == instead_of)
    if conn.execute(update.values(state="live", **values)).rowcount != 1:
        return False
    _settle_key(conn, instead_of, state="dropped")
    _settle_key(conn, new.physical_key, state="adopted")
    return True


def lock_live(conn: sa.Connection, scope: str, digests: Iterable[str]) -> dict[str, int]:
    """Lock stored packs against collection until the transaction ends; return their ids by digest.

    Raises:
        UploadClosed: A pack is not live (any more).
    """
    requested = sorted(set(digests))
    ids: dict[str, int] = {}
    for part in batches(requested):
        query = (
            sa.select(packs.c.digest, packs.c.id)
            .where(packs.c.scope == scope, packs.c.digest.in_(part), _SOUND)
            .order_by(packs.c.digest)  # everybody locks in the same order
            .with_for_update(read=True)
        )
        ids |= {row.digest: row.id for row in conn.execute(query)}
    missing = [digest for digest in requested if digest not in ids]
    if missing:
        message = f"pack {missing[0]} is not stored (any more), or damaged"
        raise UploadClosed(message, fix=_AGAIN)
    return ids


def lock_versions(conn: sa.Connection, version_ids: Iterable[int]) -> set[int]:
    """Lock versions against deletion and release until the transaction ends.

    Call it before a version becomes the parent of another or the target of a channel. It returns
    the ids of the versions that can: neither deleted nor without their bytes.
    """
    ids: set[int] = set()
    for part in batches(sorted(set(version_ids))):
        query = (
            sa.select(versions.c.id, versions.c.deleted_at)
            .where(versions.c.id.in_(part))
            .order_by(versions.c.id)
            .with_for_update(read=True)
        )
        ids |= {row.id for row in conn.execute(query) if row.deleted_at is None}
    return ids


def reference_version(conn: sa.Connection, version_id: int, pack_ids: Iterable[int]) -> None:
    """Record that a version needs packs, which the caller has adopted or locked."""
    rows = [{"version_id": version_id, "pack_id": pack_id} for pack_id in sorted(set(pack_ids))]
    if rows:
        conn.execute(insert(conn, version_packs).on_conflict_do_nothing(), rows)


def reference_version_anew(conn: sa.Connection, version_id: int, pack_ids: Iterable[int]) -> None:
    """Record that a version needs these packs, and none of those that it needed before."""
    conn.execute(sa.delete(version_packs).where(version_packs.c.version_id == version_id))
    reference_version(conn, version_id, pack_ids)


def select_states() -> sa.Select[*tuple[Any, ...]]:
    """Start a query for the state and physical key of the packs that versions need."""
    return sa.select(packs.c.state, packs.c.physical_key).join(version_packs, version_packs.c.pack_id == packs.c.id)


def shared_packs(conn: sa.Connection, version_id: int) -> dict[str, int]:
    """Return the sizes, by digest, of a version's packs that another version or base needs too."""
    other = version_packs.alias()
    query = (
        sa.select(packs.c.digest, packs.c.size_bytes)
        .join(version_packs, version_packs.c.pack_id == packs.c.id)
        .where(
            version_packs.c.version_id == version_id,
            _SOUND,
            sa.or_(
                sa.exists().where(other.c.pack_id == packs.c.id, other.c.version_id != version_id),
                sa.exists().where(base_packs.c.pack_id == packs.c.id),
            ),
        )
    )
    return {row.digest: row.size_bytes for row in conn.execute(query)}


def reference_base(conn: sa.Connection, base_id: int, pack_ids: Iterable[int]) -> None:
    """Record that a base needs packs, which the caller has adopted or locked."""
    rows = [{"base_id": base_id, "pack_id": pack_id} for pack_id in sorted(set(pack_ids))]
    if rows:
        conn.execute(insert(conn, base_packs).on_conflict_do_nothing(), rows)


def reference_base_anew(conn: sa.Connection, base_id: int, pack_ids: Iterable[int]) -> None:
    """Record that a base needs these packs, adopted or locked, and none that it needed before."""
    conn.execute(sa.delete(base_packs).where(base_packs.c.base_id == base_id))
    reference_base(conn, base_id, pack_ids)


def known_pieces(conn: sa.Connection, scope: str, digests: Iterable[str], base_root: str) -> dict[str, bytes]:
    """Find the proven pieces on record that a push for a base need not send: their packs are live.

    A server of the release before records them; others are offered (`db.storage.offers`). A piece
    that stands alone is preferred to one that is encoded against the base.
    """
    not_live = sa.exists().where(piece_packs.c.piece_id == pieces.c.id, piece_packs.c.pack_id == packs.c.id, ~_SOUND)
    entries: dict[str, bytes] = {}
    for part in batches(sorted(set(digests))):
        query = (
            sa.select(pieces.c.digest, sa.type_coerce(pieces.c.entry, sa.LargeBinary).label("entry"))
            .where(
                pieces.c.scope == scope,
                pieces.c.digest.in_(part),
                pieces.c.base_root.in_({"", base_root}),
                pieces.c.proven_at.is_not(None),
                ~not_live,
            )
            .order_by(pieces.c.base_root.desc())
        )
        for row in conn.execute(query):
            with suppress(IntegrityFailure):  # a row that is damaged: it is sent anew
                entries[row.digest] = unpack_document(row.entry)
    return entries


def forget_pieces_of_version(conn: sa.Connection, version_id: int) -> None:
    """Forget the pieces in a version's packs, so that other pushes send them anew."""
    needed = sa.select(version_packs.c.pack_id).where(version_packs.c.version_id == version_id)
    withdraw_from_packs(conn, conn.execute(needed).scalars().all())
    inside = sa.select(piece_packs.c.piece_id).where(piece_packs.c.pack_id.in_(needed))
    conn.execute(sa.delete(pieces).where(pieces.c.id.in_(inside)))


def physical_keys(conn: sa.Connection, scope: str, digests: Iterable[str]) -> dict[str, tuple[str, int]]:
    """Return the key and size of the sound packs among some digests."""
    keys: dict[str, tuple[str, int]] = {}
    for part in batches(sorted(set(digests))):
        query = sa.select(packs.c.digest, packs.c.physical_key, packs.c.size_bytes).where(
            packs.c.scope == scope, packs.c.digest.in_(part), _SOUND
        )
        keys |= {r.digest: (r.physical_key, r.size_bytes) for r in conn.execute(query)}
    return keys


def _join(conn: sa.Connection, pack_id: int, keys: tuple[str, str], *, is_sound: bool, size_bytes: int) -> int:
    """Keep the old key of a sound pack, else give it the new key; return the pack's row id."""
    old_key, new_key = keys
    if is_sound or old_key == new_key:
        _settle_key(conn, new_key, state="adopted" if old_key == new_key else "dropped")
        return pack_id
    values = {"physical_key": new_key, "size_bytes": size_bytes, "bad_at": None, "bad_why": None}
    conn.execute(sa.update(packs).where(packs.c.id == pack_id).values(state="live", **values))
    # Whoever marked the pack may never come to delete the old key: leave it to the sweep.
    _settle_key(conn, old_key, state="dropped")
    _settle_key(conn, new_key, state="adopted")
    return pack_id


def _settle_key(conn: sa.Connection, physical_key: str, *, state: str) -> None:
    """Set the state of a key that an upload wrote: `adopted`, or `dropped` and to be deleted."""
    conn.execute(sa.update(upload_packs).where(upload_packs.c.physical_key == physical_key).values(state=state))
