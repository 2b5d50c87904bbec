"""Conditional requests: `ETag` and `304` on reads, `If-Match` on channel moves."""

import hashlib
import re
from collections.abc import Callable

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from deltareg.api.byte_ranges import has_tag
from deltareg.errors import PreconditionRequired
from deltareg.wire import ChannelInfo

_REVISION = re.compile(r'"r(\d{1,9})(?:-[0-9a-f]{1,32})?"', re.ASCII)


def answer(request: Request, body: BaseModel) -> Response:
    """Answer a read with its ETag, or with 304 when the caller already has exactly this body.

    The tag of a channel begins with its revision, `"r3-…"`, which is all that `If-Match` needs; the
    rest changes with anything else about the channel, such as a quarantine.
    """
    raw = body.model_dump_json().encode()
    digest = hashlib.sha256(raw).hexdigest()[:32]
    etag = f'"r{body.revision}-{digest}"' if isinstance(body, ChannelInfo) else f'"{digest}"'
    if has_tag(request, etag):
        return Response(status_code=304, headers={"ETag": etag})
    return Response(raw, headers={"ETag": etag}, media_type="application/json")


def seen_revision(request: Request) -> int:
    """Return the revision of the channel that the caller has seen.

    Raises:
        PreconditionRequired: The request has no `If-Match`.
    """
    match = _REVISION.fullmatch(request.headers.get("If-Match", ""))
    if match is None:
        raise PreconditionRequired(
            'a channel moves only for somebody who has seen it: send If-Match: "r<revision>"',
            fix="read the channel first and send its ETag",
        )
    return int(match[1])


def policy_tag(digest: str) -> str:
    """Return the ETag of a channel's policy: its digest."""
    return f'"{digest}"'


def seen_policy(request: Request) -> Callable[[str], bool]:
    """Return a predicate: whether a digest is of the channel's policy that the caller has seen.

    Raises:
        PreconditionRequired: The request has no `If-Match`.
    """
    tags = request.headers.get("If-Match", "")
    if not tags.strip():
        raise PreconditionRequired(
            "a policy is replaced only by somebody who has seen the one that stands: send If-Match",
            fix="read the policy first and send its ETag",
        )
    seen_tags = {tag.strip().removeprefix("W/") for tag in tags.split(",")}
    return lambda digest: policy_tag(digest) in seen_tags


def seen_suite(request: Request) -> Callable[[str], bool] | None:
    """Return a predicate: whether the caller has seen a suite of that digest; None if unsaid."""
    tags = request.headers.get("If-Match", "")
    if not tags.strip():
        return None
    seen_tags = {tag.strip().removeprefix("W/") for tag in tags.split(",")}
    return lambda digest: bool(digest) and f'"{digest}"' in seen_tags


def json_answer(body: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> JSONResponse:
    """Answer with a body as JSON, with a status and headers."""
    return JSONResponse(body.model_dump(mode="json"), status, headers)
