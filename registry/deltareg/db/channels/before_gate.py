"""The facts that a gate needs, in one statement: those of a version and those of a channel.

Each part returns what a query of its own would. One statement saves round trips to the database and
makes all parts see the same moment.
"""

from typing import Any, Final

import sqlalchemy as sa

from deltareg.db.bases.base_identities import is_deleted
from deltareg.db.bases.rows import AliasRow, BaseBytesRow, VariantRow
from deltareg.db.bases.variants import select_variants
from deltareg.db.channels.channels import select_revisions
from deltareg.db.channels.request_rows import ApprovalRow, RequestRow
from deltareg.db.channels.requests import is_open, select_approvals, select_requests
from deltareg.db.channels.rows import ChannelRow, RevisionRow, ServedBaseRow
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.lines.versions import select_versions
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.plain_rows import IdRow, MomentRow, NumberRow
from deltareg.db.sql.together import CombinedQuery, CombinedResult, QueryPart
from deltareg.db.storage.packs import select_states
from deltareg.db.storage.rows import PackStateRow
from deltareg.db.tables import (
    approvals,
    base_aliases,
    base_identities,
    base_variants,
    bases,
    lineage,
    packs,
    quarantines,
    requests,
    revisions,
    verdicts,
    version_bases,
    version_packs,
    version_variants,
    versions,
    waivers,
)
from deltareg.db.verdicts.outcomes import select_facts
from deltareg.db.verdicts.rows import VerdictFactRow, WaiverRow
from deltareg.db.verdicts.waivers import select_waivers

_Select = sa.Select[*tuple[Any, ...]]
_VERSION: sa.BindParameter[int] = sa.bindparam("version_id", type_=sa.BigInteger)
_BASE: sa.BindParameter[int] = sa.bindparam("base_id", type_=sa.BigInteger)
_CHANNEL: sa.BindParameter[int] = sa.bindparam("channel_id", type_=sa.BigInteger)
_NUMBER: sa.BindParameter[int] = sa.bindparam("number", type_=sa.BigInteger)


def _aliases() -> _Select:
    variants = sa.select(base_variants.c.base_id).where(base_variants.c.root_id == _BASE)
    own = sa.or_(base_aliases.c.base_id == _BASE, base_aliases.c.base_id.in_(variants))
    return sa.select(base_aliases.c.base_id, base_aliases.c.name).where(own)


def _corrupt_variant() -> _Select:
    query = sa.select(bases.c.id).join(version_variants, version_variants.c.base_id == bases.c.id)
    return query.where(version_variants.c.version_id == _VERSION, bases.c.corrupt_at.is_not(None))


def _served_base() -> _Select:
    query = (
        sa.select(
            versions.c.base_root, bases.c.name.label("base_name"), base_identities.c.identity.label("base_identity")
        )
        .join(revisions, revisions.c.version_id == versions.c.id)
        .outerjoin(bases, bases.c.id == versions.c.base_id)
        .outerjoin(base_identities, base_identities.c.base_id == versions.c.base_id)
    )
    return query.where(revisions.c.channel_id == _CHANNEL, revisions.c.number == _NUMBER)


VERDICTS: Final = QueryPart(
    select_facts().where(verdicts.c.version_id == _VERSION),
    VerdictFactRow,
    order=(verdicts.c.created_at.desc(), verdicts.c.id.desc()),
)
WAIVERS: Final = QueryPart(
    select_waivers().join(verdicts, verdicts.c.id == waivers.c.verdict_id).where(verdicts.c.version_id == _VERSION),
    WaiverRow,
    order=(waivers.c.created_at, waivers.c.id),
)
VARIANTS: Final = QueryPart(
    select_variants().where(base_variants.c.root_id == _BASE, ~is_deleted()), VariantRow, order=(bases.c.name,)
)
ALIASES: Final = QueryPart(_aliases(), AliasRow, order=(base_aliases.c.name,))
"""The names that the base and its variants had."""
BELOW: Final = QueryPart(
    select_versions()
    .join(version_bases, version_bases.c.version_id == versions.c.id)
    .where(version_bases.c.base_id == _BASE),
    VersionRow,
)
"""The version that the base is; none for a plain one."""
CORRUPT_BASE: Final = QueryPart(
    sa.select(bases.c.id).where(bases.c.id == _BASE, bases.c.corrupt_at.is_not(None)), IdRow
)
CORRUPT_VARIANT: Final = QueryPart(_corrupt_variant(), IdRow)
PARENTS: Final = QueryPart(
    select_versions()
    .join(lineage, lineage.c.parent_version_id == versions.c.id)
    .where(lineage.c.version_id == _VERSION),
    VersionRow,
    order=(lineage.c.position,),
)
QUARANTINE: Final = QueryPart(
    sa.select(quarantines.c.id).where(
        quarantines.c.channel_id == _CHANNEL, quarantines.c.version_id == _VERSION, quarantines.c.cleared_at.is_(None)
    ),
    IdRow,
)
NEWEST: Final = QueryPart(
    select_revisions().where(revisions.c.channel_id == _CHANNEL, revisions.c.number == _NUMBER), RevisionRow
)
"""The newest revision of the channel."""
SERVED_BASE: Final = QueryPart(_served_base(), ServedBaseRow)
"""The base of the version that the channel serves; none where it serves nothing."""
REQUESTS: Final = QueryPart(
    select_requests().where(requests.c.channel_id == _CHANNEL, is_open()), RequestRow, order=(requests.c.id,)
)
"""The open requests of the channel."""
APPROVALS: Final = QueryPart(
    select_approvals()
    .join(requests, requests.c.id == approvals.c.request_id)
    .where(requests.c.channel_id == _CHANNEL, is_open()),
    ApprovalRow,
    order=(approvals.c.id,),
)
"""The approvals of its open requests."""
QUARANTINED: Final = QueryPart(
    sa.select(versions.c.number)
    .join(quarantines, quarantines.c.version_id == versions.c.id)
    .where(quarantines.c.channel_id == _CHANNEL, quarantines.c.cleared_at.is_(None)),
    NumberRow,
    order=(versions.c.number,),
)
"""All versions that are quarantined on the channel."""
PACKS: Final = QueryPart(
    select_states().where(version_packs.c.version_id == _VERSION), PackStateRow, order=(packs.c.id,)
)
STORED: Final = QueryPart(sa.select(bases.c.stored_bytes).where(bases.c.id == _BASE), BaseBytesRow)
MOMENT: Final = QueryPart(sa.select(now_us().label("now")), MomentRow)

_OF_VERSION: Final = (VERDICTS, WAIVERS, VARIANTS, ALIASES, BELOW, CORRUPT_BASE, CORRUPT_VARIANT, PARENTS)
_KNOWN: Final = CombinedQuery(*_OF_VERSION)
_OF_CHANNEL: Final = (QUARANTINE, NEWEST, SERVED_BASE, REQUESTS, APPROVALS, MOMENT)
_BEFORE_CHANNEL: Final = CombinedQuery(*_OF_VERSION, *_OF_CHANNEL)
_BEFORE_ROLLBACK: Final = CombinedQuery(*_OF_VERSION, *_OF_CHANNEL, QUARANTINED, PACKS, STORED)


def fetch_known(conn: sa.Connection, version: VersionRow) -> CombinedResult:
    """Fetch the facts about a version that do not depend on a channel."""
    return _KNOWN.run(conn, version_id=version.id, base_id=version.base_id)


def before_channel(conn: sa.Connection, version: VersionRow, channel: ChannelRow) -> CombinedResult:
    """Fetch the facts that a gate needs about a version and a channel."""
    return _BEFORE_CHANNEL.run(conn, **_both(version, channel))


def before_rollback(conn: sa.Connection, version: VersionRow, channel: ChannelRow) -> CombinedResult:
    """Fetch the facts of `before_channel`, and whether the version's bytes are still stored."""
    return _BEFORE_ROLLBACK.run(conn, **_both(version, channel))


def _both(version: VersionRow, channel: ChannelRow) -> dict[str, object]:
    return {"version_id": version.id, "base_id": version.base_id, "channel_id": channel.id, "number": channel.revision}
