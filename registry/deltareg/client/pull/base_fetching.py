"""Fetches bases, and opens those that are here."""

from pathlib import Path

from deltareg.client.asking.resolving import base_path
from deltareg.client.bases.bases import find_base, identity_of
from deltareg.client.bases.which import base_manifest
from deltareg.client.context import Context
from deltareg.client.folders.base_folder import BaseFolder, open_base
from deltareg.client.packs.at_hand import with_at_hand
from deltareg.client.packs.transfer import reader
from deltareg.client.pull.intact import find_intact
from deltareg.client.pull.stored_source import NOTHING_HELD, Held, StoredSource, write_folder
from deltareg.codec.sources import ReadRange
from deltareg.delta.base_manifest import base_view
from deltareg.delta.kind import BaseView
from deltareg.digest import Digest
from deltareg.errors import IntegrityFailure
from deltareg.identity.manifest import Manifest
from deltareg.identity.storage_map import StorageMap
from deltareg.wire import BaseInfo


def view_of(context: Context, info: BaseInfo) -> BaseView:
    """Return names, shapes and config of a base, without its bytes."""
    return base_view(base_manifest(context.api, context.cache, info))


def fetch_base(context: Context, info: BaseInfo) -> BaseFolder:
    """Open a base on this machine, or fetch it into the cache first.

    A folder with the same tensors and another config, tokenizer or template is another base.

    A version that is a base is rebuilt from the base at its foot, whatever lies between.

    Raises:
        NotFound: The base is registered without its bytes, and no folder here holds it.
        IntegrityFailure: The server's bytes are those of another base.
    """
    return fetch_base_counted(context, info)[0]


def fetch_base_counted(
    context: Context, info: BaseInfo, *, tensors_only: bool = False, held: Held = NOTHING_HELD
) -> tuple[BaseFolder, int]:
    """Fetch a base as `fetch_base` does, and return how many bytes came over the network too.

    With `tensors_only`, any folder with its tensors will do: nothing else of it is used. Pieces in
    `held` are not fetched.
    """
    root = Digest.parse(info.root)
    record = None if tensors_only else base_manifest(context.api, context.cache, info)
    local = find_base(context.cache, root, record=record, progress=context.progress)
    if local is not None:
        return local, 0
    manifest = base_manifest(context.api, context.cache, info) if record is None else record
    raw = context.api.send("GET", f"{base_path(info.name)}/storage").content
    storage = StorageMap.decode(raw)
    identity = identity_of(manifest)
    target = context.cache.folder_path("bases", identity)
    fetched_bytes = 0
    if find_intact(context.cache, "bases", identity, manifest) is None:
        fetched_bytes = _put_together(context, info, target, manifest, with_at_hand(storage, held), held)
    folder = open_base(target, context.cache, progress=context.progress)
    if folder.identity.root != root or folder.identity.whole.identity != identity:
        folder.folder.close()
        raise IntegrityFailure(f"the base {info.name} came as {folder.identity.root}, not {root}")
    return folder, fetched_bytes


def _put_together(
    context: Context, info: BaseInfo, target: Path, manifest: Manifest, storage: StorageMap, held: Held
) -> int:
    bottom, below = None, 0
    if info.bottom is not None and storage.outside - held.keys():
        own = context.api.get(base_path(info.bottom.name), BaseInfo)
        bottom, below = fetch_base_counted(context, own, tensors_only=True)
    try:
        references = {**readers_by_digest(bottom, storage), **held}
        source = StoredSource(f"base:{info.name}", manifest, storage, references, base=None if held else bottom)
        return below + write_folder(context, target, source)[0]
    finally:
        if bottom is not None:
            bottom.folder.close()


def bring_base(context: Context, info: BaseInfo) -> BaseFolder:
    """Open a base as `fetch_base` does, and keep the cache within its limits."""
    base = fetch_base(context, info)
    context.cache.prune(max_bytes=context.config.cache_max_bytes, keep={base.path})
    return base


def readers_by_digest(base: BaseFolder | None, storage: StorageMap) -> dict[Digest, ReadRange]:
    """Return how to read the tensors of a base that a storage map refers to, by digest."""
    if base is None:
        return {}
    digests = storage.outside
    tensors = base.tensors
    return {
        record.digest: reader(tensors[name].read())
        for name, record in base.view.tensors.items()
        if record.digest in digests
    }
