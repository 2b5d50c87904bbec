"""Fetches versions and bases: rebuilds every file byte for byte, then puts the folder in place."""

from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from deltareg.client.asking.resolving import base_path, version_path
from deltareg.client.context import Context
from deltareg.client.packs.pack_reader import PackReader
from deltareg.client.progress import Meter
from deltareg.client.pull.intact import find_intact
from deltareg.client.pull.stored_source import NOTHING_HELD, Held, StoredSource, read_source, write_folder
from deltareg.codec.rebuild import PieceRebuilder
from deltareg.digest import Digest
from deltareg.errors import IntegrityFailure, NotFound
from deltareg.identity.manifest import Manifest
from deltareg.identity.storage_map import StorageMap
from deltareg.refs import Ref
from deltareg.wire import VersionDetail, VersionInfo

if TYPE_CHECKING:
    from deltareg.client.folders.base_folder import BaseFolder
    from deltareg.client.packs.stored_delta import StoredDelta

T = TypeVar("T")


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
    held: Held = NOTHING_HELD,
    is_noted: bool = True,
    storage: bytes = b"",
) -> PulledVersion:
    """Fetch a version to this machine.

    Args:
        context: The client's surroundings.
        version: The version.
        manifest: Its manifest.
        to: The target folder; a snapshot in the cache by default.
        held: Pieces that are at hand and need not be fetched.
        is_noted: Whether to remember the folder for later commands.
        storage: Its storage map, if that was asked for just now.
    """
    digest = Digest.parse(version.digest)
    if to is None:
        snapshot = find_intact(context.cache, "snapshots", digest, manifest)
        if snapshot is not None:
            return PulledVersion(version, manifest, snapshot, 0, manifest.logical_bytes)
    target = context.cache.folder_path("snapshots", digest) if to is None else to

    def write(source: StoredSource) -> PulledVersion:
        fetched, cached = write_folder(context, target, replace(source, is_noted=is_noted))
        fetched += source.base_fetched_bytes
        return PulledVersion(version, manifest, target, fetched, cached, source.storage)

    return _from_source(context, version, manifest, write, held, storage)


def read_stored(
    context: Context,
    version: VersionDetail,
    manifest: Manifest,
    use: "Callable[[StoredDelta], T]",
    *,
    meter: Meter,
    held: Held = NOTHING_HELD,
) -> tuple[PackReader, T]:
    """Call `use` with a version in its stored form, possibly again; no folder is written.

    Raises:
        IntegrityFailure: The stored bytes are damaged.
    """
    from deltareg.client.packs.stored_delta import StoredDelta  # what is written into a folder is not read as a delta

    return read_pieces(context, version, manifest, lambda own: use(StoredDelta(manifest, own)), meter=meter, held=held)


def read_pieces(
    context: Context,
    version: VersionDetail,
    manifest: Manifest,
    use: Callable[[PieceRebuilder], T],
    *,
    meter: Meter,
    held: Held = NOTHING_HELD,
) -> tuple[PackReader, T]:
    """Call `use` with the pieces that a manifest names, possibly again; no others are fetched.

    Raises:
        IntegrityFailure: The stored bytes are damaged.
    """

    def read(source: StoredSource) -> tuple[PackReader, T]:
        return read_source(context, source, use, meter)

    return _from_source(context, version, manifest, read, held)


def fetch_storage(context: Context, version: VersionInfo) -> StorageMap:
    """Ask how a version is stored now, and return its storage map."""
    path = version_path(Ref.parse(version.ref))
    return StorageMap.decode(context.api.send("GET", f"{path}/storage").content)


def _from_source(
    context: Context,
    version: VersionDetail,
    manifest: Manifest,
    use: Callable[[StoredSource], T],
    held: Held = NOTHING_HELD,
    raw: bytes = b"",
) -> T:
    """Ask how a version is stored and use that; try once more if it is stored differently by then.

    Raises:
        NotFound: Stored bytes are gone, and the storage has not changed.
    """
    storage = StorageMap.decode(raw) if raw else fetch_storage(context, version)
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
    context: Context, version: VersionDetail, manifest: Manifest, storage: StorageMap, held: Held = NOTHING_HELD
) -> Generator[StoredSource, None, None]:
    """Yield what a version is built from, with the base open if its pieces refer to it."""
    if held:
        from deltareg.client.packs.at_hand import with_at_hand

        storage = with_at_hand(storage, held)
    outside_pieces = {storage.chain(digest).outside for digest in manifest.pieces()}
    outside = (storage.outside & outside_pieces) - held.keys()
    base, came = _reference_base(context, version, outside, manifest)
    try:
        references = dict(held)
        if base is not None:
            from deltareg.client.pull.base_fetching import readers_by_digest

            references = readers_by_digest(base, storage) | references
        digest = Digest.parse(version.digest)
        yield StoredSource(
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
) -> tuple["BaseFolder | None", int]:
    if not outside:
        return None, 0
    from deltareg.client.pull.base_fetching import fetch_base_counted  # most small versions stand alone
    from deltareg.wire import BaseInfo

    info = context.api.get(base_path(version.base.name), BaseInfo)
    base, came = fetch_base_counted(context, info, tensors_only=True)
    if base.identity.root != manifest.base:
        raise IntegrityFailure(f"the base {info.name} is not the one that {version.ref} is for")
    return base, came


def trim(context: Context, *, keep: Collection[Path] = ()) -> None:
    """Prune the cache to the size in the settings; what a caller was just handed stays."""
    context.cache.prune(max_bytes=context.config.cache_max_bytes, keep=keep)
