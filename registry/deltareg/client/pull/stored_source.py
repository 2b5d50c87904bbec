"""Puts a folder together from its stored form, byte for byte, and then in place."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar

from deltareg.client.context import Context, Decode, EncodedStorage
from deltareg.client.disk.kept_files import make_read_only
from deltareg.client.disk.whole_folder import place_folder
from deltareg.client.folders.known_folders import file_states, remember_version
from deltareg.client.packs.pack_reader import PackReader
from deltareg.client.packs.rebuilt_files import write_files
from deltareg.client.progress import Meter
from deltareg.client.pull.intact import holds, holds_plainly, remember_held
from deltareg.codec.ordered import OrderedPool, cores
from deltareg.codec.rebuild import PieceRebuilder
from deltareg.codec.sources import ReadRange
from deltareg.digest import Digest
from deltareg.errors import Conflict, IntegrityFailure
from deltareg.identity.carried import check_received
from deltareg.identity.manifest import Manifest
from deltareg.identity.needed_chunks import chunks_in_order, needed_chunks
from deltareg.identity.storage_map import StorageMap

if TYPE_CHECKING:
    from deltareg.client.folders.base_folder import BaseFolder

T = TypeVar("T")
Held = Mapping[Digest, ReadRange]
"""Pieces at hand, by digest."""
NOTHING_HELD: Final[Held] = MappingProxyType({})
_SMALL_BYTES: Final = 4 << 20
"""What is decoded sooner than threads would be at it."""


@dataclass(frozen=True, slots=True)
class StoredSource:
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
    base: "BaseFolder | None" = None


def write_folder(context: Context, target: Path, source: StoredSource) -> tuple[int, int]:
    """Build the folder; return the bytes fetched and those that the cache had.

    Raises:
        IntegrityFailure: The stored bytes are damaged.
        Conflict: Something else was put at the target meanwhile.
        Refused: There is a file that no push may have.
    """
    check_received(source.manifest.files, of=source.of)
    meter = context.progress.task(f"pulling {source.of}", source.manifest.logical_bytes)
    try:
        packs, _ = read_source(context, source, lambda own: _write_once(context, target, source, own, meter), meter)
    finally:
        meter.close()
    return packs.fetched_bytes, packs.cached_bytes


def read_source(
    context: Context, source: StoredSource, use: Callable[[PieceRebuilder], T], meter: Meter
) -> tuple[PackReader, T]:
    """Call `use` with the pieces of a version; damaged packs in the cache are fetched again.

    Raises:
        IntegrityFailure: The stored bytes are damaged.
    """
    workers = 1 if source.manifest.logical_bytes <= _SMALL_BYTES else cores()
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
            with packs, OrderedPool(workers) as pool:
                return packs, use(PieceRebuilder(source.storage, packs.read, source.references, pool))
        except IntegrityFailure:
            if not packs.drop_damaged() or is_last:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def _write_once(context: Context, target: Path, source: StoredSource, rebuild: PieceRebuilder, meter: Meter) -> None:
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


def _have_decoded(context: Context, decode: Decode, source: StoredSource, rebuild: PieceRebuilder, draft: Path) -> None:
    """Let `decode` write the files of a folder, and compare the result with the manifest.

    Raises:
        IntegrityFailure: The result differs from the manifest.
    """
    from deltareg.client.packs.proof import write_chunks  # few have others decode for them

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
