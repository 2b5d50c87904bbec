"""Verdicts: what verifications found, and what was waived."""

import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path

from deltareg.client import use_cases
from deltareg.client.quantities import parse_duration
from deltareg.client.resources.resource import AnyPath, Resource
from deltareg.client.results.listing import Listing
from deltareg.client.results.proofs import SignedProof
from deltareg.errors import InvalidInput, NotFound
from deltareg.refs import parse_channel, parse_id, parse_name
from deltareg.wire import EnvelopeInfo, Page, RunInfo, VerdictInfo, WaiverCreate, request_of


class Verdicts(Resource):
    """The verdicts of a registry."""

    __slots__ = ()

    def list(self, ref: str | None = None, *, cursor: str | None = None, limit: int = 50) -> Listing[VerdictInfo]:
        """List verdicts, of one version or of all, newest first."""
        return self._list("/verdicts", Page[VerdictInfo], ref=ref, cursor=cursor, limit=limit)

    def show(self, verdict_id: str) -> VerdictInfo:
        """Show a verdict and what it is bound to."""
        return self._context.api.get(_path(verdict_id), VerdictInfo)

    def envelope(self, verdict_id: str) -> EnvelopeInfo:
        """Return a verdict as its worker signed it: a DSSE envelope of an in-toto statement.

        Raises:
            NotFound: The verdict is not signed.
        """
        return self._context.api.get(f"{_path(verdict_id)}/envelope", EnvelopeInfo)

    def export(self, ref: str) -> Sequence[str]:
        """Return everything signed about a version, newest first, each as a line of JSON."""
        envelopes = use_cases.verified.envelopes_of(self._context, self.list(ref))
        return [envelope.decode() for envelope in envelopes]

    def verify(self, envelopes: Iterable[str], *, keys: AnyPath | None = None) -> Sequence[SignedProof]:
        """Verify signed envelopes with the keys in a file, or else the pinned ones.

        The server is not asked if keys are given or pinned.

        Raises:
            BadSignature: A signature does not verify.
            InvalidInput: No keys are given, and none are pinned.
        """
        server, trusting = self._context.config.server, use_cases.trusted_keys
        trusted = trusting.pinned_keys(server) if keys is None else trusting.TrustedKeys.read(Path(keys))
        if trusted is None:
            trusted, _ = trusting.trusted_keys(self._context)
        return [use_cases.verified.verify_verdict(one.encode(), trusted) for one in envelopes]

    def waive(self, verdict_id: str, check: str, *, channel: str, reason: str, expires: str = "30d") -> VerdictInfo:
        """Waive a failed check of a verdict on a channel, for a duration (`30d`) or until a time.

        If the check kept others from running, these are queued, and their verdict decides.
        """
        request = request_of(WaiverCreate, check=check, channel=parse_channel(channel), reason=reason, **_end(expires))
        # With a key of its own, a waiver whose answer was lost is answered again and not refused.
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        path = f"{_path(verdict_id)}/waivers"
        return self._context.api.post(path, request, VerdictInfo, headers=headers)

    def unwaive(self, verdict_id: str, check: str, *, channel: str | None = None) -> VerdictInfo:
        """End the waiver of a check early, for one channel or for all.

        Raises:
            NotFound: The check is not waived.
        """
        path, check = _path(verdict_id), parse_name(check, "check")
        query = {} if channel is None else {"channel": parse_channel(channel)}
        if check not in _list_waived(self.show(verdict_id), channel):
            where = "" if channel is None else f" for {channel}"
            raise NotFound(f"{check} of {verdict_id} is not waived{where}", fix=f"deltareg verdict show {verdict_id}")
        try:
            return self._context.api.request("DELETE", f"{path}/waivers/{check}", VerdictInfo, query=query)
        except NotFound:  # ended meanwhile, perhaps by our own request, whose answer was lost
            return self.show(verdict_id)

    def continue_(self, verdict_id: str) -> RunInfo:
        """Queue the checks that a waived verdict left out, or join the run that makes up for them.

        Raises:
            Conflict: The verdict left nothing out, or a failed check in it is not waived.
        """
        return self._context.api.post(f"{_path(verdict_id)}/continuations", None, RunInfo)


def _end(expires: str) -> dict[str, object]:
    """Tell a duration from a time: a time contains a date."""
    if "-" in expires:
        return {"expires_at": expires}
    seconds = round(parse_duration(expires))
    if seconds < 1:
        raise InvalidInput(f"{expires} is over at once", fix="write 30d")
    return {"expires_in_s": seconds}


def _list_waived(verdict: VerdictInfo, channel: str | None) -> set[str]:
    standing = [waiver for waiver in verdict.waivers if waiver.stands]
    return {waiver.check for waiver in standing if channel in {None, waiver.channel}}


def _path(verdict_id: str) -> str:
    return f"/verdicts/{parse_id(verdict_id, 'verdict')}"
