"""Packs: a redirect to the store, or the bytes themselves, ranges too."""

import re

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from deltareg.api.auth import By, InRegistry
from deltareg.digest import Digest
from deltareg.service.blobs import Blob, find_blob, read_blob

router = APIRouter(prefix="/blobs", tags=["blobs"])
_RANGE = re.compile(r"bytes=(\d{1,15})-(\d{0,15})")


@router.get("/{digest}")
def read_pack(request: Request, registry: InRegistry, by: By, digest: str, of: str) -> Response:
    """Give a pack through what needs it: `?of=ns/name:v3` or `?of=base:NAME`.

    On S3 the answer is 307 to a presigned URL, which takes the same Range.
    """
    blob = find_blob(registry, by, Digest.parse(digest), of=of)
    if blob.url is not None:
        return RedirectResponse(blob.url, 307, {"Cache-Control": "no-store"})
    span = _range(request, blob)
    if span is None:
        headers = {"Content-Range": f"bytes */{blob.size_bytes}"}
        return Response(status_code=416, headers=headers)
    start, stop = span
    headers = {"Content-Length": str(stop - start), "Accept-Ranges": "bytes"}
    is_part = "Range" in request.headers
    if is_part:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{blob.size_bytes}"
    body = read_blob(registry, blob, start, stop)
    status = 206 if is_part else 200
    return StreamingResponse(body, status, headers, "application/octet-stream")


def _range(request: Request, blob: Blob) -> tuple[int, int] | None:
    header = request.headers.get("Range")
    if header is None:
        return 0, blob.size_bytes
    match = _RANGE.fullmatch(header)
    if match is None:
        return None
    start = int(match[1])
    stop = min(int(match[2]) + 1, blob.size_bytes) if match[2] else blob.size_bytes
    return (start, stop) if start < stop else None
