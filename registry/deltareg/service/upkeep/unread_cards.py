"""Versions from before cards were read: their cards are read now, so that a search finds them.

It runs in the background, a batch at a time. A server of the release before, running beside this
one, also leaves such versions.
"""

import logging
from functools import partial

import sqlalchemy as sa

from deltareg.db.lines import search as queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.search_rows import UnreadRow
from deltareg.db.session import read, with_retry
from deltareg.documents.model_card import ModelCard
from deltareg.errors import DeltaregError, Unavailable
from deltareg.service.digest_cache import decode_manifest
from deltareg.service.lines.cards import card_in, keep_card, stored_as
from deltareg.service.registry import Registry

log = logging.getLogger(__name__)

_BATCH = 50


def read_some_cards(registry: Registry) -> int:
    """Read the cards of some versions that nobody has read yet; return how many.

    Raises:
        Unavailable: The store does not answer now.
    """
    with read(registry.engine) as conn:
        waiting = queries.unread(conn, limit=_BATCH)
    for row in waiting:
        card = _read(registry, row)
        with_retry(registry.engine, partial(_keep, version_id=row.id, card=card))
    return len(waiting)


def _read(registry: Registry, row: UnreadRow) -> ModelCard | None:
    """Read a card; if its bytes cannot be read, return a card that says only that."""
    with read(registry.engine) as conn:
        version = version_queries.version_by_id(conn, row.id)
        documents = version_queries.content(conn, row.id)
        readback = stored_as(conn, registry.store, row.namespace, documents.storage_map)
    try:
        manifest = decode_manifest(version.manifest_digest, lambda: documents.manifest)
        return card_in(readback, manifest)
    except Unavailable:
        raise
    except (DeltaregError, KeyError) as error:
        log.warning("the card of version row %d cannot be read: %s", row.id, error)
        return ModelCard(problems=("its stored bytes could not be read",))


def _keep(conn: sa.Connection, version_id: int, card: ModelCard | None) -> None:
    version_queries.lock_version(conn, version_id)
    if not queries.is_read(conn, version_id):
        keep_card(conn, version_queries.version_by_id(conn, version_id), card)
