"""Whether engines can serve a version, according to its manifest."""

from collections.abc import Mapping

import sqlalchemy as sa

from deltareg.db.lines import versions as queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.delta.serving import ServableDelta, engine_limits, servability
from deltareg.gate.serving_terms import ServingFact
from deltareg.service.digest_cache import describe_manifest


def serving_facts(conn: sa.Connection, version: VersionRow) -> Mapping[str, ServingFact]:
    """Return, for every known engine, whether and how it can serve a version."""
    summary = describe_manifest(version.manifest_digest, lambda: queries.content(conn, version.id).manifest)
    delta = ServableDelta(version.kind, version.variant, summary.config, summary.files)
    return {
        one.engine: ServingFact(one.obstacles, one.rank, engine_limits(one.engine).default_rank)
        for one in servability(delta)
    }
