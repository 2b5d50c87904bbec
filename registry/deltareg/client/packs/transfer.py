"""Sends packs: encodes in threads while packs travel, in bounded memory."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from types import MappingProxyType

from deltareg.client.context import Context
from deltareg.client.folders.folder import Folder
from deltareg.client.packs.cold_bound import plan_storage
from deltareg.client.packs.stored_pieces import ReusablePieces, stored_of
from deltareg.client.progress import Meter
from deltareg.codec import EncodedPack, PackEncoder, PieceSource, ReadRange, Reference, cores
from deltareg.delta.kind import BaseView, Tensors
from deltareg.delta.maths.formula import Tensor
from deltareg.host.waits import interruptible
from deltareg.identity.manifest import Manifest, Piece
from deltareg.identity.storage_map import StorageMap
from deltareg.wire import UploadInfo

_SENDERS = 2  # while the server syncs one pack, another one travels
_FLYING = 2 * _SENDERS  # with none that waits, encoding would wait for the network
_SMALL_BYTES = 4 << 20  # of all pieces: one pack, which is encoded and sent in less time than threads save


@dataclass(frozen=True, slots=True)
class SentPacks:
    """What an upload has sent.

    Attributes:
        storage: How every piece of the manifest is stored now.
        uploaded_bytes: Bytes that were really transferred this time.
        encoded: The pieces that were encoded, each with its reference; all others were there.
    """

    storage: StorageMap
    uploaded_bytes: int
    encoded: Sequence[PieceSource]


def send_pieces(
    context: Context,
    upload: UploadInfo,
    manifest: Manifest,
    sources: Iterable[PieceSource],
    stored: ReusablePieces | None = None,
    *,
    keep: Callable[[EncodedPack], None] | None = None,
) -> SentPacks:
    """Encode and send the pieces that the server does not have.

    The same sources make the same packs, so a repeated push encodes again and sends only the
    missing packs; the client keeps no state.

    Args:
        context: The client's surroundings.
        upload: The upload.
        manifest: The manifest of what is uploaded.
        sources: All of its pieces.
        stored: The pieces that need not be sent; by default those that the server offers.
        keep: Called with every pack before it is sent.
    """
    stored = stored_of(upload) if stored is None else stored
    profile = context.config.compression
    sources = list(sources)
    workers = 1 if sum(source.piece.size_bytes for source in sources) <= _SMALL_BYTES else cores()
    missing = plan_storage(sources, stored, workers=workers, profile=profile).encoded
    total = sum(source.piece.size_bytes for source in missing)
    meter = context.progress.task(f"pushing {total_label(len(missing))}", total)
    encoder = PackEncoder(missing, workers=workers, profile=profile)
    received_packs = {pack.digest for pack in upload.received}
    try:
        packs = encoder.packs() if keep is None else _keep_packs(encoder.packs(), keep)
        uploaded = _send(context, upload, packs, received_packs, meter, has_threads=workers > 1)
    finally:
        meter.close()
    storage = stored.storage_map(manifest, encoder.pieces, encoder.pack_refs)
    return SentPacks(storage, uploaded, missing)


def piece_sources(
    folder: Folder,
    manifest: Manifest,
    references: Mapping[str, tuple[Piece, Tensor]],
    earlier: Mapping[tuple[str, str], Reference] = MappingProxyType({}),
) -> list[PieceSource]:
    """List every piece of a folder in the order of its files, headers and small files first.

    Args:
        folder: The open folder.
        manifest: The folder's manifest.
        references: By tensor name, the base's tensor that it may be encoded against.
        earlier: By file and tensor name, the earlier version's tensor that it may be encoded
            against.
    """
    heads: list[PieceSource] = []
    for file in manifest.files:
        data = folder.contents[file.path].data[: file.part.size_bytes]
        heads.append(PieceSource(file.part, reader(data)))
    bodies: list[PieceSource] = []
    # A tensor of the base under another name need not be stored either. Encoded, it might refer to the
    # tensor that stands in its place, and that one to it, as in two layers that changed places.
    of_base = {piece.digest: (piece, tensor) for piece, tensor in references.values()}
    for item in manifest.tensors:
        tensor = folder.contents[item.file].tensor(item.name)
        own = manifest.base_name(item.file, item.name)
        pair = of_base.get(item.digest) or references.get(own)
        piece, other = pair or (None, None)
        read_range = None if other is None else reader(other.read())
        before = earlier.get((item.file, item.name))
        others = () if before is None else (before,)
        bodies.append(PieceSource(item.piece, reader(tensor.data), piece, read_range, others))
    return heads + bodies


def references(own: Tensors, base: BaseView, tensors: Tensors) -> dict[str, tuple[Piece, Tensor]]:
    """Pair tensors with the base tensors of the same name, dtype and shape.

    Args:
        own: The folder's tensors.
        base: The base.
        tensors: The base's tensors.
    """
    pairs: dict[str, tuple[Piece, Tensor]] = {}
    for name, tensor in own.items():
        base_name = base.names.tensor(name) or name
        record, other = base.tensors.get(base_name), tensors.get(base_name)
        if record is None or other is None:
            continue
        if (record.dtype, record.shape) == (tensor.dtype, tensor.shape):
            size = other.read().nbytes
            pairs[name] = (Piece(record.digest, record.dtype, record.shape, size), other)
    return pairs


def reader(data: memoryview) -> ReadRange:
    """Return a function that reads ranges of mapped bytes."""
    return _Range(data.cast("B") if data.format != "B" else data)


def total_label(count: int) -> str:
    """Describe how many pieces there are to send."""
    return "1 piece" if count == 1 else f"{count} pieces"


def _keep_packs(packs: Iterable[EncodedPack], keep: Callable[[EncodedPack], None]) -> Iterator[EncodedPack]:
    for pack in packs:
        keep(pack)
        yield pack


def _send(
    context: Context,
    upload: UploadInfo,
    packs: Iterable[EncodedPack],
    received: set[str],
    meter: Meter,
    *,
    has_threads: bool,
) -> int:
    uploaded = 0
    flying = deque[Future[None]]()
    with _sender() as (pool, is_over):
        for pack in packs:
            while len(flying) >= _FLYING:
                interruptible(flying.popleft())
            original = sum(entry.size_bytes for entry in pack.entries)
            if str(pack.digest) in received:
                meter.add(original)
                continue
            uploaded += pack.data.nbytes
            count = _counter(meter, original / pack.data.nbytes, is_over)
            if has_threads:
                flying.append(pool.submit(_put, context, upload, pack, count))
            else:
                _put(context, upload, pack, count)
        for future in flying:
            interruptible(future)
    return uploaded


@contextmanager
def _sender() -> Generator[tuple[ThreadPoolExecutor, Event], None, None]:
    """Yield threads that send, and an event that is set if the block ends with an error.

    Ctrl-C does not wait for the threads, which may be stuck on a dead network.
    """
    pool, is_over = ThreadPoolExecutor(_SENDERS), Event()
    try:
        yield pool, is_over
    except BaseException as error:
        is_over.set()
        pool.shutdown(wait=not isinstance(error, KeyboardInterrupt), cancel_futures=True)
        raise
    pool.shutdown()


def _counter(meter: Meter, scale: float, is_over: Event) -> Callable[[int], None]:
    """Return a counter of original bytes, as on the user's disk; it cancels when all is over."""

    def count(sent: int) -> None:
        meter.add(round(sent * scale))
        meter.count_moved(sent)
        if sent > 0 and is_over.is_set():  # nobody waits for the rest of this pack
            raise CancelledError

    return count


def _put(context: Context, upload: UploadInfo, pack: EncodedPack, count: Callable[[int], None]) -> None:
    """Send one pack."""
    path = f"/uploads/{upload.id}/packs/{pack.number}"
    context.api.upload(path, pack.data, digest=str(pack.digest), meter=count)


@dataclass(frozen=True, slots=True)
class _Range:
    """Reads a byte range of mapped bytes."""

    data: memoryview

    def __call__(self, begin: int, end: int) -> memoryview:
        return self.data[begin:end]
