"""A channel at a glance: what it serves since when, and what is out of the ordinary about it."""

from deltareg.db.overview.rows import GlanceRow
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Channel
from deltareg.service.clock import rfc3339
from deltareg.service.describe import line_of
from deltareg.service.ledger.freeze import end_of, tell_frozen, what_freezes
from deltareg.service.registry import Caller
from deltareg.wire import Answer, Outcome, RevisionKind


class ChannelGlance(Answer):
    """A channel as its newest revision left it, and what is odd about it.

    `verdict` is the newest of the default suite on what is served; `to_review` is the entry of the
    last of its moves that broke the glass and waits for a review; `has_before`, that it
    served something else that is not quarantined; `may_move` and `may_approve`, whether the caller
    may do that by their rights. `reason` is the actor's own, or where a request was answered the
    opener's.
    """

    line: str
    channel: str
    revision: int
    kind: RevisionKind
    version: int | None
    actor: str
    reason: str
    request: int | None
    opener: str | None
    at: str
    is_frozen: bool
    frozen_because: str
    frozen_until: str | None
    is_revoked: bool
    quarantined: int
    to_review: int | None
    verdict: Outcome | None
    has_before: bool
    may_move: bool
    may_approve: bool

    @property
    def is_odd(self) -> bool:
        """Whether somebody should look."""
        failed = self.verdict == "fail"
        return self.is_frozen or self.is_revoked or failed or bool(self.to_review)


def glance(caller: Caller, row: GlanceRow) -> ChannelGlance:
    """Show a channel by its row."""
    frozen = what_freezes(row, row, at_us=row.now)
    where = Channel(line_of(row), row.channel)
    return ChannelGlance(
        line=f"{row.namespace}/{row.line}",
        channel=row.channel,
        revision=row.number,
        kind=row.kind,
        version=row.version,
        actor=row.actor,
        reason=row.reason,
        at=rfc3339(row.created_at),
        is_frozen=frozen is not None,
        frozen_because="" if frozen is None else tell_frozen(frozen, row.channel),
        frozen_until=None if frozen is None else end_of(frozen),
        is_revoked=row.revoked_at is not None,
        quarantined=row.quarantined,
        to_review=row.to_review,
        verdict=row.verdict,
        request=row.request,
        opener=row.opener,
        has_before=row.has_before,
        may_move=caller.may(Right.PROMOTE, on=where),
        may_approve=caller.may(Right.APPROVE, on=where),
    )
