"""A channel at a glance: what it serves since when, and what is unusual about it."""

from deltareg.db.overview.rows import GlanceRow
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Channel
from deltareg.service.clock import rfc3339
from deltareg.service.describe import line_of
from deltareg.service.ledger.freeze import end_of, tell_frozen, what_freezes
from deltareg.service.registry import Caller
from deltareg.wire import Answer, Outcome, RevisionKind


class ChannelGlance(Answer):
    """A channel as its newest revision left it, and what is unusual about it.

    `verdict` is the newest verdict of the default suite on the served version. `to_review` is the
    revision of the last break-glass move that waits for a review. `has_before` says that the
    channel served another version that is not quarantined. `may_move` and `may_approve` say whether
    the caller has those rights. `reason` is that of the actor, or of the opener if the move
    answered a request.
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
        """Whether somebody should look at the channel."""
        failed = self.verdict == "fail"
        return self.is_frozen or self.is_revoked or failed or bool(self.to_review)


def glance(caller: Caller, row: GlanceRow) -> ChannelGlance:
    """Describe a channel from its row."""
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
