"""Packs: a redirect to the store, or the bytes themselves, ranges too."""

from fastapi import Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from deltareg.api.auth import By, InRegistry
from deltareg.api.byte_ranges import asked_range
from deltareg.api.closed import closed_router
from deltareg.digest import Digest
from deltareg.service.lines.blobs import find_blob, read_blob

router = closed_router("blobs", prefix="/blobs")


@router.get("/{digest}")
def read_pack(request: Request, registry: InRegistry, by: By, digest: str, of: str) -> Response:
    """Give a pack through what needs it: `?of=ns/name:v3` or `?of=base:NAME`.

    On S3 the answer is 307 to a presigned URL, which takes the same Range. Bytes under a digest
    never change, so the digest is the ETag and a range can be asked for with or without If-Range.
    """
    pack_digest = Digest.parse(digest)
    blob = find_blob(registry, by, pack_digest, of=of)
    if blob.url is not None:
        return RedirectResponse(blob.url, 307, {"Cache-Control": "no-store"})
    tag = f'"{pack_digest}"'
    span = asked_range(request, size_bytes=blob.size_bytes, tag=tag)
    if span is not None and span[0] >= span[1]:
        headers = {"Content-Range": f"bytes */{blob.size_bytes}"}
        return Response(status_code=416, headers=headers)
    start, stop = span or (0, blob.size_bytes)
    headers = {"Content-Length": str(stop - start), "Accept-Ranges": "bytes", "ETag": tag}
    if span is not None:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{blob.size_bytes}"
    body = read_blob(registry, blob, start, stop)
    status = 200 if span is None else 206
    return StreamingResponse(body, status, headers, "application/octet-stream")
