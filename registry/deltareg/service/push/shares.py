"""The share of a version or a base in each of its packs, measured from its storage map.

`measure` is the only rule. `keep_share` applies it in the transaction that gives a version a
storage map, `measure_missing` to what was stored before shares were measured.
"""

import logging
from functools import partial

import sqlalchemy as sa

from deltareg.codec.codecs import thread_codecs
from deltareg.db.bases import bases as base_queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.session import read, with_retry
from deltareg.db.storage import shares as queries
from deltareg.db.storage.shares import PackHolder, Share
from deltareg.errors import DeltaregError
from deltareg.identity.manifest import Manifest
from deltareg.identity.storage_map import Chunk, StorageMap

log = logging.getLogger(__name__)

_BATCH = 200


def measure(manifest: Manifest, storage: StorageMap) -> dict[str, Share]:
    """Return, by pack, the decoded and stored bytes of the chunks of a manifest's own pieces.

    Each place in a pack counts once. Pieces that only serve others as references do not count:
    their bytes in a pack are counted as its framing.
    """
    shares: dict[str, Share] = {}
    counted: set[tuple[str, int]] = set()
    for digest in manifest.pieces():
        piece = storage.pieces.get(digest)
        for chunk in () if piece is None else piece.chunks:
            place = (str(chunk.pack), chunk.offset)
            if place not in counted:
                counted.add(place)
                shares[place[0]] = shares.get(place[0], Share()) + _share_of(chunk)
    return shares


def keep_share(conn: sa.Connection, held: PackHolder, manifest: Manifest, storage: StorageMap) -> None:
    """Store the share of a version or a base in its packs, replacing what was stored before.

    Call it in the transaction that gives it a storage map, once its packs are recorded.
    """
    queries.keep_shares(conn, held, measure(manifest, storage))


def measure_missing(engine: sa.Engine) -> None:
    """Measure what has not been measured yet, each in a transaction of its own."""
    while True:
        with read(engine) as conn:
            waiting = queries.unmeasured_holders(conn, limit=_BATCH)
        if not waiting:
            return
        for held in waiting:
            with_retry(engine, partial(_measure_again, held=held))


def _measure_again(conn: sa.Connection, held: PackHolder) -> None:
    if held.is_base:
        base_queries.base_rows(conn, base_id=held.row_id, limit=1, lock=True)
        content = base_queries.base_content(conn, held.row_id)
    else:
        version_queries.lock_version(conn, held.row_id)
        content = version_queries.content(conn, held.row_id)
    try:
        shares = measure(Manifest.decode(content.manifest), StorageMap.decode(content.storage_map))
    except DeltaregError as error:
        log.warning("row %d cannot be measured: %s", held.row_id, error)
        shares = {}  # looked at, and unknown
    queries.keep_shares(conn, held, shares)


def _share_of(chunk: Chunk) -> Share:
    codec = thread_codecs().get(chunk.codec)
    if codec is not None and codec.uses_reference:
        return Share(referenced_bytes=chunk.size_bytes, referenced_payload=chunk.length)
    return Share(alone_bytes=chunk.size_bytes, alone_payload=chunk.length)
