"""Waivers of verdicts from the client's side."""

import uuid

from deltareg.client.context import Context
from deltareg.errors import NotFound
from deltareg.refs import parse_id, parse_name
from deltareg.wire import VerdictInfo, WaiverCreate, request_of


def waive(
    context: Context,
    verdict_id: str,
    check: str,
    *,
    reason: str,
    expires_in_s: float | None,
    expires_at: str | None,
) -> VerdictInfo:
    """Waive a failed check of a verdict until a time, or for a while."""
    end: dict[str, object] = {} if expires_in_s is None else {"expires_in_s": round(expires_in_s)}
    wanted = request_of(WaiverCreate, check=check, reason=reason, expires_at=expires_at, **end)
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


def _waived(verdict: VerdictInfo) -> set[str]:
    return {waiver.check for waiver in verdict.waivers if waiver.stands}


def _path(verdict_id: str) -> str:
    return f"/verdicts/{parse_id(verdict_id, 'verdict')}"
