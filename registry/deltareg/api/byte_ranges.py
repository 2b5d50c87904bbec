"""What a request asks for of a content: one range of its bytes, or only a newer one (RFC 9110, 13.1 and 14.2)."""

import re

from fastapi import Request

_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})", re.ASCII)


def asked_range(request: Request, *, size_bytes: int, tag: str) -> tuple[int, int] | None:
    """Return the requested range, which may be empty; None to send everything.

    A header is ignored when it is malformed, asks for several ranges, or names another tag than the
    current one (`If-Range`).

    Args:
        request: The request.
        size_bytes: The length of the whole content.
        tag: Its `ETag`.
    """
    match = _RANGE.fullmatch(request.headers.get("Range", ""))
    if match is None or not (match[1] or match[2]):
        return None
    if request.headers.get("If-Range", tag) != tag:
        return None
    if not match[1]:
        return max(0, size_bytes - int(match[2])), size_bytes
    if match[2] and int(match[2]) < int(match[1]):
        return None
    stop = min(int(match[2]) + 1, size_bytes) if match[2] else size_bytes
    return int(match[1]), stop


def has_tag(request: Request, tag: str) -> bool:
    """Whether the caller has the content with this `ETag` already (`If-None-Match`)."""
    tags = {part.strip().removeprefix("W/") for part in request.headers.get("If-None-Match", "").split(",")}
    return bool({tag, "*"} & tags)
