"""Versions of which nobody knows yet what a cold machine fetches: they are measured, a batch at a time.

Releases before this one left them, or write them beside it. What a channel serves of them is stored
for cold pulls, as a promotion would have it done.
"""

import logging
from functools import partial

import sqlalchemy as sa

from deltareg.db.channels import channels as channel_queries
from deltareg.db.lines import versions as queries
from deltareg.db.session import read, with_retry
from deltareg.errors import DeltaregError
from deltareg.identity.manifest import Manifest
from deltareg.identity.pack_spans import cold_bytes
from deltareg.identity.storage_map import StorageMap
from deltareg.service.registry import Registry
from deltareg.service.runs.kinds.reencode import queue_for_cold_pulls

log = logging.getLogger(__name__)

_BATCH = 50


def measure_some_versions(registry: Registry) -> int:
    """Measure what a cold machine fetches of some versions; return how many were measured."""
    with read(registry.engine) as conn:
        waiting = queries.unmeasured_versions(conn, limit=_BATCH)
    for version_id in waiting:
        with_retry(registry.engine, partial(_measure, version_id=version_id))
    return len(waiting)


def _measure(conn: sa.Connection, version_id: int) -> None:
    queries.lock_version(conn, version_id)
    try:
        content = queries.content(conn, version_id)
        size = cold_bytes(Manifest.decode(content.manifest), StorageMap.decode(content.storage_map))
    except DeltaregError as error:
        log.warning("version row %d cannot be measured: %s", version_id, error)
        size = 0  # looked at, and unknown
    queries.keep_cold_bytes(conn, version_id, size)
    if channel_queries.serving_channels(conn, version_id):
        queue_for_cold_pulls(conn, queries.version_by_id(conn, version_id), created_by=None)
