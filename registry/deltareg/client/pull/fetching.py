"""Fetches versions and bases: rebuilds every file byte for byte, then puts the folder in place."""

from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

from deltareg.client.asking.resolving import base_path, version_path
from deltareg.client.bases.bases import find_base, identity_of
from deltareg.client.bases.which import base_manifest
from deltareg.client.context import Context, Decode, EncodedStorage
from deltareg.client.disk.kept_files import make_read_only
from deltareg.client.disk.whole_folder import place_folder
from deltareg.client.folders.base_folder import BaseFolder, open_base
from deltareg.client.folders.known_folders import file_states, remember_version
from deltareg.client.packs.at_hand import with_at_hand
from deltareg.client.packs.pack_reader import PackReader
from deltareg.client.packs.proof import write_chunks
from deltareg.client.packs.rebuilt_files import write_files
from deltareg.client.packs.stored_delta import StoredDelta
from deltareg.client.packs.transfer import reader
from deltareg.client.progress import Meter
from deltareg.client.pull.intact import find_intact, holds, holds_plainly, remember_held
from deltareg.codec import OrderedPool, ReadRange, cores
from deltareg.codec.rebuild import PieceRebuilder
from deltareg.delta.base_manifest import base_view
from deltareg.delta.kind import BaseView
from deltareg.digest import Digest
from deltareg.errors import Conflict, IntegrityFailure, NotFound
from deltareg.identity.manifest import Manifest
from deltareg.identity.needed_chunks import chunks_in_order, needed_chunks
from deltareg.identity.storage_map import StorageMap
from deltareg.refs import Ref
from deltareg.wire import BaseInfo, VersionDetail, VersionInfo

T = TypeVar("T")
Held = Mapping[Digest, ReadRange]
_NOTHING: Final[Held] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class PulledVersion:
    """A version on this machine.

    Attributes:
        version: The version on the server.
        manifest: Its manifest.
        path: The folder that holds its files.
        fetched_bytes: Bytes that came over the network, including those of the base.
        cached_bytes: Bytes that the cache had.
        storage: Its storage map when it was fetched; None if it was here already.
    """

    version: VersionDetail
    manifest: Manifest
    path: Path
    fetched_bytes: int
    cached_bytes: int
    storage: StorageMap | None = None


def fetch(
    context: Context,
    version: VersionDetail,
    manifest: Manifest,
    *,
    to: Path | None = None,
    held: Held = _NOTHING,
    is_noted: bool = True,
) -> PulledVersion:
    """Fetch a version to this machine.

    Args:
        context: The client's surroundings.
        version: The version.
        manifest: Its manifest.
        to: The target folder; a snapshot in the cache by default.
        held: Pieces that are at hand and need not be fetched.
        is_noted: Whether to remember the folder for later commands.
    """
    digest = Digest.parse(version.digest)
    if to is None:
        snapshot = find_intact(context.cache, "snapshots", digest, manifest)
        if snapshot is not None:
            return PulledVersion(version, manifest, snapshot, 0, manifest.logical_bytes)
    target = context.cache.folder_path("snapshots", digest) if to is None else to

    def write(source: _Source) -> PulledVersion:
        fetched, cached = _write(context, target, replace(source, is_noted=is_noted))
        fetched += source.base_fetched_bytes
        return PulledVersion(version, manifest, target, fetched, cached, source.storage)

    return _from_source(context, version, manifest, write, held)


def read_stored(
    context: Context,
    version: VersionDetail,
    manifest: Manifest,
    use: Callable[[StoredDelta], T],
    *,
    meter: Meter,
    held: Held = _NOTHING,
) -> tuple[PackReader, T]:
    """Call `use` with a version in its stored form, possibly again; no folder is written.

    Raises:
        IntegrityFailure: The stored bytes are damaged.
    """
    return read_pieces(context, version, manifest, lambda own: use(StoredDelta(manifest, own)), meter=meter, held=held)


def read_pieces(
    context: Context,
    version: VersionDetail,
    manifest: Manifest,
    use: Callable[[PieceRebuilder], T],
    *,
    meter: Meter,
    held: Held = _NOTHING,
) -> tuple[PackReader, T]:
    """Call `use` with the pieces that a manifest names, possibly again; no others are fetched.

    Raises:
        IntegrityFailure: The stored bytes are damaged.
    """

    def read(source: _Source) -> tuple[PackReader, T]:
        return _reading(context, source, use, meter)

    return _from_source(context, version, manifest, read, held)


def fetch_storage(context: Context, version: VersionInfo) -> StorageMap:
    """Ask how a version is stored now, and return its storage map."""
    path = version_path(Ref.parse(version.ref))
    return StorageMap.decode(context.api.send("GET", f"{path}/storage").content)


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
    context: Context, info: BaseInfo, *, tensors_only: bool = False, held: Held = _NOTHING
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
        references = {**_readers_by_digest(bottom, storage), **held}
        source = _Source(f"base:{info.name}", manifest, storage, references, base=None if held else bottom)
        return below + _write(context, target, source)[0]
    finally:
        if bottom is not None:
            bottom.folder.close()


def bring_base(context: Context, info: BaseInfo) -> BaseFolder:
    """Open a base as `fetch_base` does, and keep the cache within its limits."""
    base = fetch_base(context, info)
    trim(context, keep={base.path})
    return base


def trim(context: Context, *, keep: Collection[Path] = ()) -> None:
    """Prune the cache to the size in the settings; what a caller was just handed stays."""
    context.cache.prune(max_bytes=context.config.cache_max_bytes, keep=keep)


@dataclass(frozen=True, slots=True)
class _Source:
    """What a folder is built from.

    Attributes:
        of: What the packs are requested for: `ns/name:v3` or `base:NAME`.
        manifest: The manifest of what is built.
        storage: Its storage map.
        references: Tensors of the base, by digest.
        version: The manifest's digest; None for a base.
        is_noted: Whether to remember the folder.
        base_fetched_bytes: How many bytes were fetched for the base.
        base: The base of these tensors; None if other pieces are at hand beside it.
    """

    of: str
    manifest: Manifest
    storage: StorageMap
    references: Mapping[Digest, ReadRange]
    version: Digest | None = None
    is_noted: bool = True
    base_fetched_bytes: int = 0
    base: BaseFolder | None = None


def _write(context: Context, target: Path, source: _Source) -> tuple[int, int]:
    """Build the folder; return the bytes fetched and those that the cache had.

    Raises:
        IntegrityFailure: The stored bytes are damaged.
        Conflict: Something else was put at the target meanwhile.
    """
    meter = context.progress.task(f"pulling {source.of}", source.manifest.logical_bytes)
    try:
        packs, _ = _reading(context, source, lambda own: _write_once(context, target, source, own, meter), meter)
    finally:
        meter.close()
    return packs.fetched_bytes, packs.cached_bytes


def _reading(
    context: Context, source: _Source, use: Callable[[PieceRebuilder], T], meter: Meter
) -> tuple[PackReader, T]:
    """Call `use` with the pieces of a version; damaged packs in the cache are fetched again.

    Raises:
        IntegrityFailure: The stored bytes are damaged.
    """
    for is_last in (False, True):
        packs = PackReader(
            context,
            source.storage,
            needed_chunks(source.manifest, source.storage),
            of=source.of,
            concurrency=context.config.concurrency,
            moved=meter.count_moved,
        )
        try:
            with packs, OrderedPool(cores()) as pool:
                return packs, use(PieceRebuilder(source.storage, packs.read, source.references, pool))
        except IntegrityFailure:
            if not packs.drop_damaged() or is_last:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def _write_once(context: Context, target: Path, source: _Source, rebuild: PieceRebuilder, meter: Meter) -> None:
    """Build the folder; if another process has put the same there meanwhile, that will do."""
    try:
        with place_folder(target) as draft:
            if context.decode is None or (source.references and source.base is None):
                write_files(draft, source.manifest, rebuild, meter=meter)
            else:
                _have_decoded(context, context.decode, source, rebuild, draft)
            if target.is_relative_to(context.cache.path):
                make_read_only(draft)
            states = file_states(draft, source.manifest)
        if source.version is not None and source.is_noted:
            remember_version(context.cache, source.version, target, states)
    except Conflict:
        if not holds(context.cache, target, source.manifest):
            raise
    else:
        if source.is_noted:
            remember_held(context.cache, target, source.manifest)


def _have_decoded(context: Context, decode: Decode, source: _Source, rebuild: PieceRebuilder, draft: Path) -> None:
    """Let `decode` write the files of a folder, and compare the result with the manifest.

    Raises:
        IntegrityFailure: The result differs from the manifest.
    """
    base = source.base if source.references else None
    with context.cache.draft() as folder:
        folder.mkdir(parents=True, exist_ok=True)
        chunks = chunks_in_order(source.manifest, source.storage)
        write_chunks(folder / "chunks", chunks, rebuild.fetch_encoded)
        encoded = EncodedStorage(
            source.manifest,
            source.storage,
            folder / "chunks",
            base=None if base is None else base.path.absolute(),
            base_manifest=None if base is None else base.manifest,
        )
        decode(encoded, draft)
    if not holds_plainly(draft, source.manifest):
        raise IntegrityFailure(f"what was decoded of {source.of} is not what its manifest says")


def _from_source(
    context: Context, version: VersionDetail, manifest: Manifest, use: Callable[[_Source], T], held: Held = _NOTHING
) -> T:
    """Ask how a version is stored and use that; try once more if it is stored differently by then.

    Raises:
        NotFound: Stored bytes are gone, and the storage has not changed.
    """
    storage = fetch_storage(context, version)
    try:
        with _source(context, version, manifest, storage, held) as source:
            return use(source)
    except NotFound:  # its old packs may have been collected meanwhile
        now = fetch_storage(context, version)
        if now == storage:
            raise
    with _source(context, version, manifest, now, held) as source:
        return use(source)


@contextmanager
def _source(
    context: Context, version: VersionDetail, manifest: Manifest, storage: StorageMap, held: Held = _NOTHING
) -> Generator[_Source, None, None]:
    """Yield what a version is built from, with the base open if its pieces refer to it."""
    storage = with_at_hand(storage, held)
    outside_pieces = {storage.chain(digest).outside for digest in manifest.pieces()}
    outside = (storage.outside & outside_pieces) - held.keys()
    base, came = _reference_base(context, version, outside, manifest)
    try:
        references = {**_readers_by_digest(base, storage), **held}
        digest = Digest.parse(version.digest)
        yield _Source(
            version.ref,
            manifest,
            storage,
            references,
            version=digest,
            base_fetched_bytes=came,
            base=None if held else base,
        )
    finally:
        if base is not None:
            base.folder.close()


def _reference_base(
    context: Context, version: VersionDetail, outside: Collection[Digest], manifest: Manifest
) -> tuple[BaseFolder | None, int]:
    if not outside:
        return None, 0
    info = context.api.get(base_path(version.base.name), BaseInfo)
    base, came = fetch_base_counted(context, info, tensors_only=True)
    if base.identity.root != manifest.base:
        raise IntegrityFailure(f"the base {info.name} is not the one that {version.ref} is for")
    return base, came


def _readers_by_digest(base: BaseFolder | None, storage: StorageMap) -> dict[Digest, ReadRange]:
    if base is None:
        return {}
    digests = storage.outside
    tensors = base.tensors
    return {
        record.digest: reader(tensors[name].read())
        for name, record in base.view.tensors.items()
        if record.digest in digests
    }
