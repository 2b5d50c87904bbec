"""Versions from before weights were compared: theirs are read now, so that a push finds them.

It runs in the background, a batch at a time, and reads manifests only. A server of the release
before, running beside this one, also leaves such versions.
"""

import logging
from functools import partial

from deltareg.db.lines import versions as version_queries
from deltareg.db.lines import weights as queries
from deltareg.db.session import read, with_retry
from deltareg.digest import sha256_of
from deltareg.errors import DeltaregError, Unavailable
from deltareg.service.lines.alike import WeightMarks, keep_weights, read_weights
from deltareg.service.registry import Registry

log = logging.getLogger(__name__)

_BATCH = 50


def read_some_weights(registry: Registry) -> int:
    """Read the weights of some versions that nobody has read yet; return how many."""
    with read(registry.engine) as conn:
        waiting = queries.list_unmarked(conn, limit=_BATCH)
    for row_id in waiting:
        found = _read(registry, row_id)
        with_retry(registry.engine, partial(keep_weights, version_id=row_id, found=found))
    return len(waiting)


def _read(registry: Registry, row_id: int) -> WeightMarks:
    """Read by what a version's weights are found; what cannot be read is found by nothing."""
    try:
        with read(registry.engine) as conn:
            return read_weights(conn, version_queries.version_by_id(conn, row_id))
    except Unavailable:
        raise
    except (DeltaregError, KeyError) as error:
        log.warning("the manifest of version row %d cannot be read: %s", row_id, error)
        return WeightMarks(str(sha256_of(b"")), 0, frozenset())
