"""Channels: what they serve, what they ask for, and every move of them.

Each move names the revision that it has seen, so that nobody undoes another's move unseen.
"""

import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from deltareg.client import use_cases
from deltareg.client.asking.lines import channel_path, line_path, show_channel
from deltareg.client.asking.resolving import resolve, version_path
from deltareg.client.resources.requests import Requests
from deltareg.client.resources.resource import Resource
from deltareg.client.results.listing import Listing
from deltareg.errors import ApprovalDue, NotFound, StaleRevision
from deltareg.refs import LineRef, Ref, parse_channel
from deltareg.wire import (
    ChannelInfo,
    ChannelMove,
    GateAnswer,
    GateSummary,
    GlassBroken,
    MoveResult,
    NameChange,
    Page,
    PolicyChange,
    PolicyInfo,
    PolicySet,
    ReadinessInfo,
    Rename,
    RequestInfo,
    Review,
    RevisionInfo,
    request_of,
)

if TYPE_CHECKING:
    from deltareg.client.manifests.form import ExportOptions, Manifest
    from deltareg.client.manifests.served_names import ServedVersion


class Channels(Resource):
    """The channels of lines: `prod`, `staging` and others."""

    __slots__ = ()

    def list(self, line: str) -> Listing[ChannelInfo]:
        """List the channels of a line with what they serve."""
        return self._list(f"{line_path(LineRef.parse(line))}/channels", Page[ChannelInfo])

    def show(self, line: str, name: str, *, at: str | None = None) -> ChannelInfo:
        """Show what a channel serves, or served at a time."""
        return show_channel(self._context, LineRef.parse(line), name, at=at)

    def create(self, line: str, name: str) -> ChannelInfo:
        """Create a channel; one that exists is left as it is."""
        return self._context.api.request("PUT", _path(line, name), ChannelInfo)

    def history(self, line: str, name: str, *, cursor: str | None = None, limit: int = 50) -> Listing[RevisionInfo]:
        """List a channel's ledger, newest first."""
        path = f"{_path(line, name)}/revisions"
        return self._list(path, Page[RevisionInfo], cursor=cursor, limit=limit)

    def gate(
        self,
        ref: str,
        channel: str,
        *,
        accept_warnings: bool = False,
        new_base: bool = False,
        accept_undecided: bool = False,
    ) -> "GateAnswer":
        """Return whether a version may go to a channel, and if not, what is missing.

        Args:
            ref: The version; the newest of a line that names none.
            channel: The channel.
            accept_warnings: Whether to accept warnings in its verdicts.
            new_base: Whether the channel may change its base.
            accept_undecided: Whether somebody answers for comparisons that the samples do not decide.

        Raises:
            BadSignature: The server counts a verdict without a trusted signature.
            LogRewritten: The server's audit trail is not the one that this machine saw.
        """
        use_cases.last_checkpoint.see_checkpoint(self._context)
        version = resolve(self._context, Ref.parse(ref), bare="newest")
        path = f"{version_path(Ref.parse(version.ref))}/gate"
        accepting = {"accept_warnings": True} if accept_warnings else {}
        accepting |= {"new_base": True} if new_base else {}
        accepting |= {"accept_undecided": True} if accept_undecided else {}
        answer = self._context.api.get(path, GateAnswer, channel=parse_channel(channel), **accepting)
        if answer.allowed:
            use_cases.verified.verify_answer(self._context, answer, digest=version.digest)
        return answer

    def summary(self, line: str, channel: str, revision: int) -> GateSummary:
        """Return the server's signed summary of a promotion: why the gate let it through."""
        return self._context.api.get(f"{_path(line, channel)}/revisions/{revision}/summary", GateSummary)

    def promote(
        self,
        ref: str,
        channel: str,
        *,
        reason: str = "",
        if_current: int | None = None,
        break_glass: bool = False,
        accept_warnings: bool = False,
        new_base: bool = False,
        accept_undecided: bool = False,
        wait: bool = False,
        timeout_s: float = 3600.0,
    ) -> "MoveResult":
        """Move a channel to a version that passes its gate.

        Args:
            ref: The version.
            channel: The channel.
            reason: The reason, kept in the ledger.
            if_current: Move only if the channel serves this version now.
            break_glass: Whether to move although the gate says no; it is reviewed afterwards.
            accept_warnings: Whether to accept warnings in its verdicts, which stop a promotion to a
                protected channel otherwise.
            new_base: Whether the channel may change its base, which stops a promotion otherwise.
            accept_undecided: Whether to waive, for the reason given, the comparisons that the samples
                do not decide, which stop a promotion otherwise.
            wait: Whether to return only once others have approved, where that is due.
            timeout_s: How long to wait for them at most; the request stays open after that.

        Raises:
            GateFailed: Its verdict is fail.
            NewBase: It is for another base than the channel serves, and nobody said that it may be.
            GatePending: A verdict is missing.
            ApprovalDue: The channel moves once others have approved the request that the error
                names; not with `wait`.
            WaitTimeout: It was not approved in time.
            StaleRevision: `if_current` names another version than the channel serves.
            LogRewritten: The registry's audit trail is not the one that this machine saw.
        """
        use_cases.last_checkpoint.see_checkpoint(self._context)
        version = resolve(self._context, Ref.parse(ref), bare="newest")
        line = Ref.parse(version.ref).line
        current = show_channel(self._context, line, channel)
        if if_current is not None and current.version != if_current:
            raise StaleRevision(
                f"{line}@{channel} serves v{current.version}, not v{if_current}",
                fix=f"deltareg channel show {line} {channel}",
            )
        move = request_of(
            ChannelMove,
            kind="promote",
            version=version.version,
            reason=reason,
            break_glass=break_glass,
            accept_warnings=accept_warnings,
            new_base=new_base,
            **({"accept_undecided": True} if accept_undecided else {}),
        )
        try:
            return self._move(str(line), channel, move, current=current)
        except ApprovalDue as due:
            if not wait:
                raise
            return self._wait_for_approvals(str(line), move, due.request, timeout_s=timeout_s)

    def delete(self, line: str, channel: str, *, dry_run: bool = False) -> ChannelInfo:
        """Delete a channel, or with `dry_run` only check whether that is allowed; its ledger stays.

        `create` brings it back as it was.

        Raises:
            Conflict: An agent follows it.
        """
        query = {"dry_run": True} if dry_run else {}
        return self._context.api.request("DELETE", channel_path(LineRef.parse(line), channel), ChannelInfo, query=query)

    def rename(self, line: str, channel: str, to: str) -> NameChange:
        """Give a channel another name; its former name leads on to it.

        Raises:
            Conflict: Another channel has that name, or it leads on to one.
        """
        path = f"{channel_path(LineRef.parse(line), channel)}:rename"
        return self._context.api.post(path, request_of(Rename, to=to), NameChange)

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
    ) -> "MoveResult":
        """Move a channel back to a version that it served before.

        Args:
            line: The line.
            channel: Its channel.
            version: The version to go to.
            revision: The ledger's revision to go to.
            steps: How many steps to go back; one if nothing is given.
            reason: The reason, kept in the ledger.
            break_glass: Whether to move although the gate says no; it is reviewed afterwards.
            dry_run: Whether to only report where it would go.
        """
        move = request_of(
            ChannelMove,
            kind="rollback",
            version=version,
            revision=revision,
            steps=steps,
            reason=reason,
            break_glass=break_glass,
            dry_run=dry_run,
        )
        return self._move(line, channel, move)

    def readiness(self, line: str, channel: str) -> ReadinessInfo:
        """Return where a rollback would go now, and whether it would get there."""
        return self._context.api.get(f"{_path(line, channel)}/readiness", ReadinessInfo)

    def review(self, line: str, channel: str, revision: int, *, message: str) -> GlassBroken:
        """Close the review of a break-glass move, as somebody else than its author.

        Raises:
            Forbidden: The caller made the move.
        """
        path = f"{_path(line, channel)}/revisions/{revision}:review"
        return self._context.api.post(path, request_of(Review, message=message), GlassBroken)

    def freeze(self, line: str, channel: str, *, reason: str, until: str | None = None) -> MoveResult:
        """Let nothing move a channel, until an RFC 3339 time or until it is unfrozen."""
        move = request_of(ChannelMove, kind="freeze", reason=reason, until=until)
        return self._move(line, channel, move)

    def unfreeze(self, line: str, channel: str, *, reason: str) -> MoveResult:
        """Let a channel be moved again.

        Raises:
            Conflict: The channel is not frozen.
        """
        move = request_of(ChannelMove, kind="unfreeze", reason=reason)
        return self._move(line, channel, move)

    def clear_quarantine(self, line: str, channel: str, version: int, *, reason: str) -> ChannelInfo:
        """Let a version that was rolled back be promoted again.

        Raises:
            NotFound: The version is not quarantined there.
        """
        if version not in self.show(line, channel).quarantined:
            raise NotFound(f"{line}:v{version} is not quarantined on {channel}")
        path, query = f"{_path(line, channel)}/quarantine/{version}", {"reason": reason}
        try:
            return self._context.api.request("DELETE", path, ChannelInfo, query=query)
        except NotFound:  # cleared meanwhile, perhaps by our own request, whose answer was lost
            return self.show(line, channel)

    def export(
        self, line: str, channel: str, form: str, *, options: "ExportOptions", beside: str | None = None
    ) -> "tuple[Sequence[Manifest], Sequence[ServedVersion]]":
        """Write the manifests by which another system serves what a channel says now.

        Args:
            line: The line.
            channel: Its channel.
            form: `dynamo`, `llm-d` or `kserve`.
            options: What a cluster knows and the registry does not.
            beside: Another channel of the line, which gets the rest of the requests.

        Raises:
            InvalidInput: Something is missing, or the system cannot serve the version.
            Conflict: The channel serves nothing.
            Blocked: The served version is revoked.
        """
        from deltareg.client import manifests  # few ask for them

        return manifests.export(
            self._context,
            LineRef.parse(line),
            parse_channel(channel),
            form,
            options=options,
            beside=None if beside is None else parse_channel(beside),
        )

    def policy(self, line: str, channel: str) -> PolicyInfo:
        """Show the policy of a channel: what it asks of a version."""
        return self._context.api.get(f"{_path(line, channel)}/policy", PolicyInfo)

    def set_policy(
        self, line: str, channel: str, policy: dict[str, object], *, reason: str = "", dry_run: bool = False
    ) -> PolicyChange:
        """Replace a channel's policy, or with `dry_run` return what that would change.

        Raises:
            StaleRevision: Somebody else replaced it meanwhile.
        """
        current = self.policy(line, channel)
        request = request_of(PolicySet, policy=policy, reason=reason, dry_run=dry_run)
        return self._context.api.request(
            "PUT",
            f"{_path(line, channel)}/policy",
            PolicyChange,
            body=request,
            headers={"If-Match": f'"{current.digest}"'},
        )

    def _wait_for_approvals(self, line: str, move: ChannelMove, request_id: int, *, timeout_s: float) -> MoveResult:
        """Wait until a request is promoted; where the gate is met after the approvals, promote again."""

        def retry(approved: RequestInfo) -> bool:
            with suppress(ApprovalDue):
                self._move(line, approved.channel, move)
                return True
            return False

        request = Requests(self._context).wait(request_id, timeout_s=timeout_s, retry=retry)
        return MoveResult(
            channel=request.channel,
            revision=request.revision or 0,
            kind="promote",
            version=request.version,
            digest=request.digest,
            previous=request.previous,
            ref=request.ref,
            accepted=request.accepted,
        )

    def _move(self, line: str, channel: str, move: ChannelMove, *, current: ChannelInfo | None = None) -> MoveResult:
        channel_info = self.show(line, channel) if current is None else current
        # With a key of its own, a move whose answer was lost is answered again and not made twice.
        headers = {"If-Match": f'"r{channel_info.revision}"', "Idempotency-Key": uuid.uuid4().hex}
        path = f"{_path(line, channel)}/revisions"
        result = self._context.api.post(path, move, MoveResult, headers=headers)
        if result.ref or result.version is None:
            return result
        return result.model_copy(update={"ref": f"{line}:v{result.version}"})  # an older server leaves it out


def _path(line: str, channel: str) -> str:
    return channel_path(LineRef.parse(line), channel)
