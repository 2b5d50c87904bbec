"""The bytes of a file, from any offset to any other, assembled from packs on demand.

Chunks that are encoded against the base are decoded with the base's own packs. It holds only a few
chunks in memory, whatever the size of the file.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.codec.file_range import read_range
from deltareg.codec.ordered import OrderedPool
from deltareg.codec.rebuild import PieceRebuilder
from deltareg.codec.sources import ReadRange
from deltareg.db.bases import bases as base_queries
from deltareg.db.bases.rows import BaseRow
from deltareg.db.hub import hub_names as queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.session import read
from deltareg.db.sql.row_protocols import present
from deltareg.db.storage import proofs
from deltareg.db.storage.shares import PackHolder
from deltareg.digest import Digest
from deltareg.errors import BlobMissing, NotFound
from deltareg.identity.manifest import Manifest, ManifestFile, Piece
from deltareg.identity.storage_map import Chunk, StorageMap
from deltareg.service.hub.files import CommitFile, files_of, manifest_of, no_file
from deltareg.service.hub.main_version import Main
from deltareg.service.hub.snapshots import MissingContent, Snapshot, find_snapshot
from deltareg.service.registry import Caller, Registry
from deltareg.store import BlobStore

_READ_BYTES = 1 << 20
_STRETCHES = 4


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file of a commit that can be read.

    Attributes:
        snapshot: The commit.
        entry: The file.
        store: Where the packs are.
        manifest: The manifest of the commit.
        stored: How the commit is stored, with its base below it.
    """

    snapshot: Snapshot
    entry: CommitFile
    store: BlobStore
    manifest: Manifest
    stored: "_Stored"

    def read(self, begin: int, end: int) -> Iterator[memoryview]:
        """Yield bytes `begin` to `end` (exclusive); nothing is read before the first is asked for.

        Any thread may take from it, one at a time.

        Raises:
            IntegrityFailure: The stored bytes are not those that were pushed.
            BlobMissing: A pack is gone: it is damaged, or the version is stored in another form by
                now.
            StoreUnavailable: The store does not answer now.
        """
        file = next(each for each in self.manifest.files if each.path == self.entry.path)
        return read_range(
            self.manifest,
            file,
            _rebuild(self.store, self.stored),
            begin=begin,
            end=end,
            is_proven=self.snapshot.is_proven,
        )


@dataclass(frozen=True, slots=True)
class _Stored:
    """How a version or a base is stored.

    Attributes:
        storage: Its storage map.
        packs: The physical key and size of each pack, by digest.
        pieces: Its tensors by digest, where others are encoded against them.
        below: The base that it is encoded against; None where it stands alone.
    """

    storage: StorageMap
    packs: Mapping[str, tuple[str, int]]
    pieces: Mapping[Digest, Piece]
    below: "_Stored | None" = None


def look_for_content(
    registry: Registry, caller: Caller, repository: str, revision: str, path: str, *, main: Main
) -> FileContent | MissingContent:
    """Find a file of a commit and how it is stored.

    The arguments are those of `snapshots.look_for`, and the path of the file. Where the bytes of
    the base are needed but were never stored here, the revision counts as missing: half of it is of
    no use to a client.
    """
    with read(registry.engine) as conn:
        snapshot = find_snapshot(conn, caller, repository, revision, main=main)
        if isinstance(snapshot, MissingContent):
            return snapshot
        manifest = manifest_of(conn, snapshot)
        files = files_of(manifest)
        entry = next((each for each in files if each.path == path), None)
        if entry is None:
            return no_file(snapshot, path, files)
        try:
            stored = _find_stored(conn, snapshot, manifest, _file_of(manifest, path))
        except NotFound as error:
            return MissingContent("revision", error)
    return FileContent(snapshot, entry, registry.store, manifest, stored)


def _file_of(manifest: Manifest, path: str) -> ManifestFile:
    return next(file for file in manifest.files if file.path == path)


def _find_stored(conn: sa.Connection, snapshot: Snapshot, manifest: Manifest, file: ManifestFile) -> _Stored:
    """Find how a file is stored, with the base if any of it is encoded against the base."""
    storage = StorageMap.decode(proofs.content(conn, snapshot.held).storage_map)
    digests = {file.part.digest}
    digests |= {tensor.digest for tensor in manifest.tensors if tensor.file == file.path}
    outside = {storage.chain(digest).outside for digest in digests} - {None}
    below = _base_below(conn, snapshot) if outside else None
    return _Stored(
        storage,
        queries.pack_keys(conn, snapshot.held),
        {},
        None if below is None else _stored_base(conn, below, snapshot.name),
    )


def _base_below(conn: sa.Connection, snapshot: Snapshot) -> BaseRow:
    """Return the base that a commit is encoded against.

    For a version that is its base; for a version that became a base, the base at the foot.
    """
    if snapshot.held.is_base:
        return _by_id(conn, present(_by_id(conn, snapshot.held.row_id).bottom_id))
    version = version_queries.version_by_id(conn, snapshot.held.row_id)
    return _by_id(conn, present(version.base_id))


def _by_id(conn: sa.Connection, base_id: int) -> BaseRow:
    return base_queries.base_rows(conn, base_id=base_id, limit=1, also_deleted=True)[0]


def _stored_base(conn: sa.Connection, row: BaseRow, name: str) -> _Stored:
    """Find how a base is stored, for what is encoded against it.

    Raises:
        NotFound: The base is registered without its bytes.
    """
    if not row.is_stored:
        raise NotFound(
            f"{name} is stored against its base, whose bytes are not here",
            fix=f"store them, deltareg base push PATH {row.name}, or pull it with its base at"
            f" hand: deltareg pull {name}",
        )
    held = PackHolder(row.id, is_base=True)
    content = base_queries.base_content(conn, row.id)
    storage = StorageMap.decode(content.storage_map)
    tensors = Manifest.decode(content.manifest).tensors
    below = None
    if storage.outside:
        below = _stored_base(conn, _by_id(conn, present(row.bottom_id)), name)
    pieces = {tensor.digest: tensor.piece for tensor in tensors}
    return _Stored(storage, queries.pack_keys(conn, held), pieces, below)


def _rebuild(store: BlobStore, stored: _Stored) -> PieceRebuilder:
    references: Mapping[Digest, ReadRange] = {}
    if stored.below is not None:
        references = _Below(_rebuild(store, stored.below), stored.below.pieces)
    fetch = _Packs(store, stored.packs)
    return PieceRebuilder(stored.storage, fetch, references, OrderedPool(1))


class _Below(Mapping[Digest, ReadRange]):
    """The tensors of a base; each caller gets a reader of its own.

    A reader keeps a chunk, so a lasting reader for each tensor would in the end hold a whole base.
    """

    def __init__(self, rebuild: PieceRebuilder, pieces: Mapping[Digest, Piece]) -> None:
        self._rebuild, self._pieces = rebuild, pieces

    def __getitem__(self, digest: Digest) -> ReadRange:
        return self._rebuild.reader(self._pieces[digest])

    def __iter__(self) -> Iterator[Digest]:
        return iter(self._pieces)

    def __len__(self) -> int:
        return len(self._pieces)


class _Packs:
    """Reads chunks from packs, a mebibyte at a time, so that small neighbours come in one read.

    The stretches that were read last are cached.
    """

    def __init__(self, store: BlobStore, packs: Mapping[str, tuple[str, int]]) -> None:
        self._store, self._packs = store, packs
        self._read: OrderedDict[str, tuple[int, bytes]] = OrderedDict()

    def __call__(self, chunk: Chunk) -> memoryview:
        pack, stop = str(chunk.pack), chunk.offset + chunk.length
        begin, data = self._read.get(pack, (0, b""))
        if not begin <= chunk.offset <= stop <= begin + len(data):
            begin, data = chunk.offset, self._stretch(pack, chunk.offset, stop)
            self._read[pack] = begin, data
            if len(self._read) > _STRETCHES:
                self._read.popitem(last=False)
        self._read.move_to_end(pack)
        return memoryview(data)[chunk.offset - begin : stop - begin]

    def _stretch(self, pack: str, begin: int, stop: int) -> bytes:
        if pack not in self._packs:
            raise BlobMissing(pack)
        key, size = self._packs[pack]
        end = max(stop, min(begin + _READ_BYTES, size))
        return b"".join(self._store.read(key, begin, end))
