"""Storing a version in another way: fetched, encoded anew, sent, decoded again and compared.

Nothing is believed on the way: fetching checks every digest, and so does decoding what was encoded.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deltareg.client.asking.resolving import fetch_manifest, resolve
from deltareg.client.context import Context
from deltareg.client.folders.base_folder import BaseFolder
from deltareg.client.folders.folder import Folder
from deltareg.client.packs.at_hand import open_files
from deltareg.client.packs.stored_pieces import ReusablePieces, pack_refs
from deltareg.client.packs.transfer import piece_sources, references, send_pieces
from deltareg.client.pull.fetching import fetch
from deltareg.client.push.line_before import LineBefore
from deltareg.client.push.version_before import EarlierVersion, earlier_version
from deltareg.codec import EncodedPack, OrderedPool, PieceSource, ReadRange
from deltareg.codec.rebuild import PieceRebuilder
from deltareg.digest import Digest
from deltareg.errors import Blocked, Conflict, IntegrityFailure, NotFound
from deltareg.identity.manifest import Manifest
from deltareg.identity.storage_map import Chain, Chunk, StorageMap
from deltareg.refs import Ref
from deltareg.wire import LeaseGrant, LeaseHold, ReencodeReport, UploadInfo, VersionDetail, request_of

_DECODERS = 2


def reencode(context: Context, grant: LeaseGrant, base: BaseFolder, scratch: Path) -> ReencodeReport:
    """Make the new form of a version and send its packs; the report ends the run.

    Args:
        context: The client's surroundings.
        grant: The run.
        base: The version's base, its root checked.
        scratch: An empty folder, for the version, the one before it and the new packs.

    Raises:
        IntegrityFailure: A byte is not what was pushed, or not what was encoded.
        LeaseLost: The run is somebody else's now.
        UploadClosed: What the upload had was collected meanwhile.
    """
    version = resolve(context, Ref.parse(grant.ref), bare="newest")
    manifest = fetch_manifest(context, version)
    if version.digest != grant.digest or base.identity.root != manifest.base:
        raise Conflict(f"{grant.ref} is another version now, or the base is another one")
    found = fetch(context, version, manifest, to=scratch / "version")
    hold = request_of(LeaseHold, run=grant.run, fence=grant.fence)
    upload = context.api.post(f"/runs/{grant.run}:upload", hold, UploadInfo)
    with (
        open_files(found.path, manifest, is_whole=True) as files,
        _earlier(context, grant, version, manifest, scratch) as earlier,
    ):
        job = _Reencoding(context, upload, manifest, _Kept(scratch / "packs"))
        storage = job.encode(files, base, earlier, found.storage, grant.against)
    return request_of(ReencodeReport, fence=grant.fence, upload=upload.id, storage_map=storage.encode().decode())


@dataclass(frozen=True, slots=True)
class _Kept:
    """The packs that were sent, on this disk, until they have been decoded again."""

    folder: Path

    def keep(self, pack: EncodedPack) -> None:
        self.folder.mkdir(exist_ok=True)
        (self.folder / pack.digest.hex).write_bytes(pack.data)

    def read(self, chunk: Chunk) -> bytes:
        with (self.folder / chunk.pack.hex).open("rb") as file:
            file.seek(chunk.offset)
            return file.read(chunk.length)


@dataclass(frozen=True, slots=True)
class _Reencoding:
    """One version to be encoded anew."""

    context: Context
    upload: UploadInfo
    manifest: Manifest
    kept: _Kept

    def encode(
        self, files: Folder, base: BaseFolder, earlier: EarlierVersion | None, before: StorageMap | None, against: str
    ) -> StorageMap:
        pairs = references(files.tensors, base.view, base.tensors)
        stored = ReusablePieces()
        with_base = {t.digest for t in self.manifest.tensors if t.name in pairs}
        self._use_on(stored, before, lambda chain: _may_stay(chain, with_base, against))
        others = {} if earlier is None else earlier.references(self.manifest, stored)
        sources = piece_sources(files, self.manifest, pairs, others)
        sent = send_pieces(self.context, self.upload, self.manifest, sources, stored, keep=self.kept.keep)
        self._compare(sent.encoded, sent.storage)
        return sent.storage

    def _use_on(self, stored: ReusablePieces, before: StorageMap | None, may_stay: Callable[[Chain], bool]) -> None:
        """Take what the server offers where it is as it was fetched, which proved it."""
        packs = pack_refs(self.upload)
        for text, entry in sorted(self.upload.known.items()):
            chain = Chain.decode(Digest.parse(text), entry.encode())
            if before is not None and may_stay(chain) and before.chain(chain.piece.digest) == chain:
                stored.add(chain, packs)

    def _compare(self, sources: Sequence[PieceSource], storage: StorageMap) -> None:
        """Decode what was encoded, down to the bytes at hand; each piece is checked by its digest.

        Raises:
            IntegrityFailure: Something else comes out than went in.
        """
        at_hand: dict[Digest, ReadRange] = {}
        for source in sources:
            at_hand |= {r.piece.digest: r.read for r in source.candidates}
        pieces = {source.piece.digest: source.piece for source in sources}
        total = sum(piece.size_bytes for piece in pieces.values())
        with OrderedPool(_DECODERS) as pool:
            decoded = PieceRebuilder(storage, self.kept.read, at_hand, pool)(pieces.values())
            if sum(data.nbytes for data in decoded) != total:
                raise IntegrityFailure("the new form does not hold all of the version")


def _may_stay(chain: Chain, with_base: set[Digest], against: str) -> bool:
    """Whether a piece that others need as it is need not be encoded anew."""
    if against == "base":
        return len(chain.pieces) == 1
    return chain.depth > 0 or chain.piece.digest not in with_base


@contextmanager
def _earlier(
    context: Context, grant: LeaseGrant, version: VersionDetail, manifest: Manifest, scratch: Path
) -> Generator[EarlierVersion | None, None, None]:
    """Fetch the version before, where it may serve as a reference."""
    found = None
    if grant.against == "smallest":
        line = Ref.parse(version.ref).line
        found = earlier_version(
            LineBefore(context, line), manifest, Digest.parse(version.digest), before=version.version
        )
    if found is None or found.proof in {"claimed", "corrupt"}:
        yield None
        return
    try:
        detail = resolve(context, Ref.parse(found.ref), bare="newest")
        own = fetch_manifest(context, detail)
        pulled = fetch(context, detail, own, to=scratch / "earlier")
    except (Blocked, NotFound):  # deleted meanwhile, or collected as well
        yield None
        return
    if pulled.storage is None:
        raise AssertionError("unreachable: it was fetched into a folder")
    with open_files(pulled.path, own) as files:
        yield EarlierVersion(own, pulled.storage, files)
