"""Fetches what a run has to prove: the manifest, the storage map, and the chunks as stored."""

from dataclasses import dataclass, replace
from pathlib import Path

from deltareg.client.asking.resolving import fetch_manifest
from deltareg.client.bases.which import base_manifest
from deltareg.client.cache.cache import Cache
from deltareg.client.context import Context
from deltareg.client.packs.pack_reader import PackReader
from deltareg.client.packs.proof import write_chunks
from deltareg.errors import Conflict
from deltareg.identity.manifest import Manifest
from deltareg.identity.needed_chunks import chunks_in_order
from deltareg.identity.storage_map import StorageMap
from deltareg.refs import Ref
from deltareg.wire import LeaseGrant, VersionDetail


@dataclass(frozen=True, slots=True)
class StoredForm:
    """The stored form of a version or a base, in files of a run; nothing in it is decoded.

    Attributes:
        manifest: The file of its manifest.
        storage: The file of its storage map.
        chunks: The file of its encoded chunks, as `deltareg.client.packs.proof` reads them.
        needs_base: Whether tensors of the base are needed to decode them.
    """

    manifest: Path
    storage: Path
    chunks: Path
    needs_base: bool


def bring_stored(context: Context, grant: LeaseGrant, into: Path, *, is_anew: bool = False) -> StoredForm:
    """Fetch what a run has to prove into a folder of its own.

    Args:
        context: The client's surroundings.
        grant: The run.
        into: The folder.
        is_anew: Whether to fetch everything, whatever the cache has.

    Raises:
        Conflict: The registry has another version under that name now.
        NotFound: Stored bytes are gone.
    """
    if is_anew:
        context = replace(context, cache=Cache(into / "cache"))
    manifest = _manifest(context, grant)
    raw = context.api.send("GET", f"/runs/{grant.run}/storage").content
    storage = StorageMap.decode(raw)
    form = StoredForm(into / "manifest.json", into / "storage.json", into / "chunks", bool(storage.outside))
    form.manifest.write_bytes(manifest.encode())
    form.storage.write_bytes(raw)
    chunks = chunks_in_order(manifest, storage)
    reader = PackReader(
        context, storage, chunks, of=f"run:{grant.run}", concurrency=context.config.concurrency, moved=lambda _: None
    )
    with reader:
        write_chunks(form.chunks, chunks, reader.read)
    return form


def _manifest(context: Context, grant: LeaseGrant) -> Manifest:
    if not grant.ref:
        return base_manifest(context.api, context.cache, grant.base)
    version = context.api.get("/resolve", VersionDetail, ref=str(Ref.parse(grant.ref)))
    if version.digest != grant.digest:
        raise Conflict(f"{grant.ref} is another version now")
    return fetch_manifest(context, version)
