"""The one range of bytes that a request asks for (RFC 9110, 14.2)."""

import re

from fastapi import Request

_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})", re.ASCII)


def asked_range(request: Request, *, size_bytes: int, tag: str) -> tuple[int, int] | None:
    """Read the range asked for, perhaps an empty one; None when all is to be sent.

    A header that is malformed or asks for several ranges is ignored, and so is one about something
    else than what has this tag now (`If-Range`).

    Args:
        request: The request.
        size_bytes: How long the whole is.
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
