"""The state of a line's channels, in one statement: what each serves, and what is unusual."""

from typing import Any, Final

import sqlalchemy as sa

from deltareg.db.channels.channels import select_revisions
from deltareg.db.channels.reviews import select_to_review
from deltareg.db.channels.rows import BrokenGlassRow, QuarantinedRow, RevisionRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.plain_rows import MomentRow
from deltareg.db.sql.together import CombinedQuery, CombinedResult, QueryPart
from deltareg.db.tables import channels, quarantines, revisions, verdicts, versions, waivers
from deltareg.db.verdicts.rows import VersionWaiverRow
from deltareg.db.verdicts.waivers import select_standing_waivers

ALL: Final = 0
"""Stands for all channels of a line, in place of the row of one."""
_LINE: sa.BindParameter[int] = sa.bindparam("delta_id", type_=sa.BigInteger)
_ONE: sa.BindParameter[int] = sa.bindparam("channel_id", type_=sa.BigInteger)
_ASKED: Final = sa.and_(
    channels.c.delta_id == _LINE, sa.or_(_ONE == ALL, channels.c.id == _ONE), channels.c.deleted_at.is_(None)
)
_IS_NEWEST: Final = sa.and_(channels.c.id == revisions.c.channel_id, channels.c.revision == revisions.c.number)


def _select_served() -> sa.Select[*tuple[Any, ...]]:
    return sa.select(revisions.c.version_id).join(channels, _IS_NEWEST).where(_ASKED)


def _select_asked() -> sa.Select[*tuple[Any, ...]]:
    return sa.select(channels.c.id).where(_ASKED)


NEWEST: Final = QueryPart(select_revisions(channels.join(revisions, _IS_NEWEST)).where(_ASKED), RevisionRow)
"""The newest revision of each channel that was ever moved."""
QUARANTINED: Final = QueryPart(
    sa.select(quarantines.c.channel_id, versions.c.number)
    .join(versions, versions.c.id == quarantines.c.version_id)
    .where(quarantines.c.channel_id.in_(_select_asked()), quarantines.c.cleared_at.is_(None)),
    QuarantinedRow,
    order=(versions.c.number,),
)
TO_REVIEW: Final = QueryPart(
    select_to_review().where(revisions.c.channel_id.in_(_select_asked())), BrokenGlassRow, order=(revisions.c.id,)
)
WAIVERS: Final = QueryPart(
    select_standing_waivers().where(verdicts.c.version_id.in_(_select_served())),
    VersionWaiverRow,
    order=(waivers.c.created_at, waivers.c.id),
)
"""The waivers that stand on verdicts of what is served."""
MOMENT: Final = QueryPart(sa.select(now_us().label("now")), MomentRow)
_STANDING: Final = CombinedQuery(NEWEST, QUARANTINED, TO_REVIEW, WAIVERS, MOMENT)


def standing(conn: sa.Connection, delta_id: int, *, channel_id: int = ALL) -> CombinedResult:
    """Fetch the state of all channels of a line, or of one of them."""
    return _STANDING.run(conn, delta_id=delta_id, channel_id=channel_id)
