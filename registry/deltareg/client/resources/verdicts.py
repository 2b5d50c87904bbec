"""Waivers of verdicts from the client's side."""

import uuid

from deltareg.client.context import Context
from deltareg.client.quantities import parse_duration
from deltareg.errors import InvalidInput, NotFound
from deltareg.refs import parse_id, parse_name
from deltareg.wire import VerdictInfo, WaiverCreate, request_of


def waive(
    context: Context,
    verdict_id: str,
    check: str,
    *,
    reason: str,
    expires: str,
) -> VerdictInfo:
    """Waive a failed check of a verdict for a while, or until a time."""
    wanted = request_of(WaiverCreate, check=check, reason=reason, **_end(expires))
    # With a key of its own, a waiver whose answer was lost is answered again and not refused.
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    return context.api.post(f"{_path(verdict_id)}/waivers", wanted, VerdictInfo, headers=headers)


def unwaive(context: Context, verdict_id: str, check: str) -> VerdictInfo:
    """End the waiver of a check before its time.

    Raises:
        NotFound: It is not waived.
    """
    path = _path(verdict_id)
    check = parse_name(check, "check")
    if check not in _waived(context.api.get(path, VerdictInfo)):
        raise NotFound(
            f"{check} of {verdict_id} is not waived", fix=f"deltareg verdict show {verdict_id}"
        )
    try:
        return context.api.request("DELETE", f"{path}/waivers/{check}", VerdictInfo)
    except NotFound:  # ended meanwhile, perhaps by our own request, whose answer was lost
        return context.api.get(path, VerdictInfo)


def _end(expires: str) -> dict[str, object]:
    """Tell a duration from a time: a time has a date in it."""
    if "-" in expires:
        return {"expires_at": expires}
    seconds = round(parse_duration(expires))
    if seconds < 1:
        raise InvalidInput(f"{expires} is over at once", fix="write 30d")
    return {"expires_in_s": seconds}


def _waived(verdict: VerdictInfo) -> set[str]:
    return {waiver.check for waiver in verdict.waivers if waiver.stands}


def _path(verdict_id: str) -> str:
    return f"/verdicts/{parse_id(verdict_id, 'verdict')}"
