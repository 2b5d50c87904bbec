"""Both sides of a proof, played in one process: who lies to a registry, and who finds out."""

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

from deltareg.client.bases.bases import resolve_base
from deltareg.client.folders.base_folder import open_base
from deltareg.client.folders.folder import open_folder
from deltareg.client.folders.hashing import FolderHashing
from deltareg.client.packs.proof import wrong_parts
from deltareg.client.packs.transfer import piece_sources, reader, send_pieces
from deltareg.client.progress import SILENT
from deltareg.delta.delta_manifest import assess, build_delta_manifest
from deltareg.digest import sha256_of
from deltareg.errors import IntegrityFailure, NotFound
from deltareg.identity.manifest import Manifest
from deltareg.identity.storage_map import StorageMap
from deltareg.wire import (
    BaseInfo,
    LeaseRequest,
    ProofReport,
    RunFailure,
    UploadComplete,
    UploadInfo,
    UploadOpen,
    WrongPart,
    request_of,
)


def prover_of(server):
    """Make the client of a worker that proves, and is nobody who pushes."""
    return server.client(("read", "verify"), principal="prover", kind="wrk")


def prove_all(client, *, name="prover"):
    """Prove all that waits for it, as a worker does; give the runs that came of it."""
    found = []
    request = LeaseRequest(worker=name, what=["prove"])
    while (grant := client.lease(request)) is not None:
        try:
            found.append(client.complete_proof(grant.run, look(client, grant)))
        except (IntegrityFailure, NotFound) as error:
            failure = RunFailure(fence=grant.fence, error=error.message, is_unreadable=True)
            client.fail_run(grant.run, failure)
    return found


def prove_one(client, run, *, name="prover"):
    """Carry out one run that proves, and give it."""
    grant = client.lease(LeaseRequest(worker=name, what=["prove"], run=run))
    assert grant is not None, "it is for somebody else"
    return client.complete_proof(run, look(client, grant))


def look(client, grant):
    """Decode what a run is about, and report it."""
    with tempfile.TemporaryDirectory() as into, ExitStack() as opened:
        stored = client.bring_stored(grant, Path(into))
        manifest = Manifest.decode(stored.manifest.read_bytes())
        storage = StorageMap.decode(stored.storage.read_bytes())
        references = {}
        if stored.needs_base:
            info = grant.base if grant.ref else client.bases.show(grant.base.bottom.name)
            base = opened.enter_context(client.bases.fetch(info))
            references = {
                record.digest: reader(base.tensors[tensor].read()) for tensor, record in base.view.tensors.items()
            }
        wrong = list(wrong_parts(manifest, storage, stored.chunks, references, workers=1))
        read = str(sha256_of(stored.chunks.read_bytes())) if wrong else ""
    return request_of(
        ProofReport,
        fence=grant.fence,
        storage_revision=grant.storage_revision,
        pieces=len(manifest.pieces()),
        wrong=[WrongPart(name=one.name, detail=one.detail) for one in wrong],
        read=read,
    )


def zeros_of(folder, into):
    """Copy a folder with nothing but zeros behind the headers of its tensors."""
    shutil.copytree(folder, into, dirs_exist_ok=True)
    for path in into.glob("*.safetensors"):
        raw = path.read_bytes()
        begin = 8 + int.from_bytes(raw[:8], "little")
        path.chmod(0o644)
        path.write_bytes(raw[:begin] + bytes(len(raw) - begin))
    return into


def push_lie(client, true, lie, line, *, base):
    """Push the bytes of one folder under the digests of another: what no honest client does."""
    context = client._context
    known = resolve_base(context.api, context.cache, base)
    with open_folder(true) as honest, FolderHashing(honest, meter=SILENT.task("", 0)) as hashing:
        assessment = assess(honest.files, honest.tensors, known.view)
        hashed = hashing.finish()
        manifest = build_delta_manifest(
            assessment, delta=honest.files, files=hashed.files, digests=hashed.digests, base=known.view, parents=()
        )
    request = request_of(UploadOpen, subject="delta", target=line, manifest=manifest.encode().decode(), base=base)
    return _send(context, request, manifest, lie, "complete", UploadInfo).version


def push_base_lie(client, true, lie, name):
    """Push the bytes of one folder as the base that another one is."""
    context = client._context
    with open_base(true, context.cache) as honest:
        manifest = honest.manifest
    request = request_of(UploadOpen, subject="base", target=name, manifest=manifest.encode().decode())
    return _send(context, request, manifest, lie, "complete-base", BaseInfo)


def _send(context, request, manifest, lie, verb, model):
    upload = context.api.post("/uploads", request, UploadInfo)
    with open_folder(lie, purpose="base" if verb == "complete-base" else "delta") as folder:
        sources = piece_sources(folder, manifest, {})
        sent = send_pieces(context, upload, manifest, sources)
    complete = UploadComplete(storage_map=sent.storage.encode().decode())
    return context.api.post(f"/uploads/{upload.id}:{verb}", complete, model)
