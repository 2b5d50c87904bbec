"""What channels serve, and every move of them: the part of the client that promotes."""

from deltareg.client.resources import channels, policies
from deltareg.client.resources.requests import Requests
from deltareg.client.session import Session
from deltareg.refs import LineRef, Ref
from deltareg.wire import (
    ChannelInfo,
    GateAnswer,
    GlassBroken,
    MoveResult,
    Page,
    PolicyChange,
    PolicyInfo,
    ReadinessInfo,
    RevisionInfo,
)


class Serving(Session):
    """Asks gates, moves channels, and shows where they stand."""

    def gate(self, ref: str, channel: str) -> GateAnswer:
        """Say whether a version may go to a channel, and if not what is missing."""
        return channels.gate(self._context, Ref.parse(ref), channel)

    def promote(
        self,
        ref: str,
        channel: str,
        *,
        reason: str = "",
        if_current: int | None = None,
        break_glass: bool = False,
    ) -> MoveResult:
        """Move a channel to a version that passes its gate.

        Raises:
            ApprovalDue: It moves once others have approved the request that the error names.
        """
        return channels.promote(
            self._context, Ref.parse(ref), channel, reason=reason, if_current=if_current,
            break_glass=break_glass,
        )  # fmt: skip

    def rollback(
        self,
        line: str,
        channel: str,
        *,
        version: int | None = None,
        revision: int | None = None,
        steps: int | None = None,
        reason: str = "",
        break_glass: bool = False,
        dry_run: bool = False,
    ) -> MoveResult:
        """Move a channel back to a version that it served before."""
        target = channels.Target(version=version, revision=revision, steps=steps)
        return channels.rollback(
            self._context, LineRef.parse(line), channel, target, reason=reason,
            break_glass=break_glass, dry_run=dry_run,
        )  # fmt: skip

    @property
    def requests(self) -> Requests:
        """The requests for moves that others have to approve."""
        return Requests(self._context)

    def readiness(self, line: str, channel: str) -> ReadinessInfo:
        """Say where a rollback would go now, and whether it would get there."""
        return channels.readiness(self._context, LineRef.parse(line), channel)

    def review(self, line: str, channel: str, revision: int, *, message: str) -> GlassBroken:
        """Close a move that broke the glass, as somebody else than who made it."""
        return channels.review(
            self._context, LineRef.parse(line), channel, revision, message=message
        )

    def freeze(
        self, line: str, channel: str, *, reason: str, until: str | None = None
    ) -> MoveResult:
        """Let nothing move a channel, until an RFC 3339 time or until it is unfrozen."""
        return channels.freeze(
            self._context, LineRef.parse(line), channel, reason=reason, until=until
        )

    def unfreeze(self, line: str, channel: str, *, reason: str) -> MoveResult:
        """Let a channel be moved again."""
        return channels.unfreeze(self._context, LineRef.parse(line), channel, reason=reason)

    def channels(self, line: str) -> Page[ChannelInfo]:
        """List the channels of a line with what they serve."""
        return channels.list_channels(self._context, LineRef.parse(line))

    def channel(self, line: str, name: str, *, at: str | None = None) -> ChannelInfo:
        """Show what a channel serves, or served at a time."""
        return channels.show(self._context, LineRef.parse(line), name, at=at)

    def create_channel(self, line: str, name: str) -> ChannelInfo:
        """Make a channel."""
        return channels.create(self._context, LineRef.parse(line), name)

    def policy(self, line: str, channel: str) -> PolicyInfo:
        """Show what a channel asks of a version."""
        return policies.show(self._context, LineRef.parse(line), channel)

    def set_policy(
        self,
        line: str,
        channel: str,
        policy: dict[str, object],
        *,
        reason: str = "",
        dry_run: bool = False,
    ) -> PolicyChange:
        """Replace a channel's policy, or say what that would change."""
        return policies.replace(
            self._context, LineRef.parse(line), channel, policy, reason=reason, dry_run=dry_run
        )

    def history(
        self, line: str, channel: str, *, cursor: str | None = None, limit: int = 50
    ) -> Page[RevisionInfo]:
        """List a channel's ledger, newest first."""
        return channels.history(
            self._context, LineRef.parse(line), channel, cursor=cursor, limit=limit
        )

    def clear_quarantine(
        self, line: str, channel: str, version: int, *, reason: str
    ) -> ChannelInfo:
        """Let a version that was rolled back be promoted again."""
        return channels.clear(self._context, LineRef.parse(line), channel, version, reason=reason)
