"""Pushes in progress: open, send packs, complete or abort."""

from typing import Annotated

import anyio.to_thread
from fastapi import Header, Request, Response

from deltareg.api.app_state import state_of
from deltareg.api.auth import By, InRegistry
from deltareg.api.closed import closed_router
from deltareg.api.idempotency import once
from deltareg.api.parameters import Number
from deltareg.api.sent_bodies import chunks_of
from deltareg.digest import Digest
from deltareg.errors import QuotaExceeded
from deltareg.service.push import ingest, ingest_base, receive
from deltareg.service.push import uploads as service
from deltareg.service.registry import PACK_BYTES_MAX
from deltareg.wire import BaseInfo, ReceivedPack, UploadComplete, UploadInfo, UploadOpen

router = closed_router("uploads", prefix="/uploads")


@router.post("", response_model=UploadInfo)
def open_upload(request: Request, registry: InRegistry, by: By, body: UploadOpen) -> Response:
    """Say what will be pushed; the answer tells what is here already."""

    def open_and_note() -> UploadInfo:
        info = service.open_upload(registry, by, body)
        request.state.upload_id = info.id  # its address does not say so, and records need it
        return info

    return once(request, registry, by, body, open_and_note)


@router.get("/{upload_id}")
def show_upload(registry: InRegistry, by: By, upload_id: str) -> UploadInfo:
    """Show an upload."""
    return service.show_upload(registry, by, upload_id)


@router.put("/{upload_id}/packs/{number}")
async def receive_pack(
    request: Request,
    registry: InRegistry,
    by: By,
    upload_id: str,
    number: Number,
    digest: Annotated[str, Header(alias="X-Content-Digest")],
) -> ReceivedPack:
    """Take one pack: streamed to the store and hashed on the way, in bounded memory.

    One of the two asynchronous seams: the body arrives on the event loop, the store is written from
    a thread that asks for the next chunk when it has room for it.
    """
    expected = Digest.parse(digest)
    announced = request.headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced) > PACK_BYTES_MAX:
        raise QuotaExceeded(f"a pack may have {PACK_BYTES_MAX} bytes, this one has {announced}")

    def take() -> ReceivedPack:
        return receive.receive_pack(
            registry,
            by,
            upload_id,
            number=number,
            digest=expected,
            body=chunks_of(request, "pack"),
            size_bytes=int(announced) if announced.isdecimal() else None,
        )

    state = state_of(request)
    async with state.bodies.hold(by.principal_id):
        return await anyio.to_thread.run_sync(take, limiter=state.body_limiter)


@router.post("/{upload_id}:complete", response_model=UploadInfo)
def complete_upload(request: Request, registry: InRegistry, by: By, upload_id: str, body: UploadComplete) -> Response:
    """Turn an upload of a delta into a version."""
    return once(request, registry, by, body, lambda: ingest.complete_upload(registry, by, upload_id, body))


@router.post("/{upload_id}:complete-base")
def complete_base(registry: InRegistry, by: By, upload_id: str, body: UploadComplete) -> BaseInfo:
    """Turn an upload of a base into a stored base."""
    return ingest_base.complete_base(registry, by, upload_id, body)


@router.post("/{upload_id}:register-base")
def register_base(registry: InRegistry, by: By, upload_id: str) -> BaseInfo:
    """Turn an upload without packs into a base whose bytes stay elsewhere."""
    return ingest_base.register_base(registry, by, upload_id)


@router.delete("/{upload_id}", status_code=204)
def abort_upload(registry: InRegistry, by: By, upload_id: str) -> None:
    """Abort an upload."""
    service.abort_upload(registry, by, upload_id)
