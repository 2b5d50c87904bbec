"""Sound containers to damage: every codec of the table in every width, golden and real ones."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import xxhash

from deltareg.codec import PackEncoder
from deltareg.codec.chunk_codec import ChunkCodec
from deltareg.codec.codecs import open_codecs
from deltareg.codec.packs import PackWriter
from deltareg.codec.sources import PieceSource
from deltareg.digest import Digest
from deltareg.identity.manifest import Piece
from deltareg.identity.storage_map import Chunk, PackRef, StorageMap, StoredPiece
from deltareg.tensors.header import ITEM_BYTES
from tests.codec.samples import nudged, piece_of, reader, weights
from tests.conftest import REPOSITORY
from tests.folders import read_file
from tests.golden import make as golden

SAMPLES = REPOSITORY / "tests" / "samples"
DTYPES = {1: "U8", 2: "BF16", 4: "F32", 8: "F64"}
_SMALL_BYTES = 300_000


@dataclass(frozen=True)
class Wanted:
    """A piece of a container, and what must come out of it."""

    piece: Piece
    data: bytes
    reference: bytes | None

    @property
    def item_bytes(self) -> int:
        """Bytes of an element."""
        return ITEM_BYTES[self.piece.dtype]


@dataclass(frozen=True)
class Container:
    """Packs and the storage map over them, with what they hold."""

    name: str
    packs: Mapping[Digest, bytes]
    storage: StorageMap
    wanted: tuple[Wanted, ...]


def containers() -> list[Container]:
    """Make all of them; the same ones each time."""
    return [*_of_codecs(), *_golden(), *_real()]


def _of_codecs() -> Iterator[Container]:
    for codec in open_codecs().values():
        for item_bytes, dtype in DTYPES.items():
            for name, data, base in _tensors(item_bytes):
                made = _forced(codec, name, dtype, data, base)
                if made is not None:
                    yield made


def _tensors(item_bytes: int) -> Iterator[tuple[str, bytes, bytes]]:
    """Give tensors with a reference: near it, far from it by magnitude, and text-like ones."""
    if item_bytes == 1:
        base = bytes(n * n // 7 % 61 for n in range(1500))
        yield "octets", bytes((b + (n % 11 == 0)) & 255 for n, b in enumerate(base)), base
        return
    base = weights(900, item_bytes)
    yield "near", nudged(base, item_bytes), base
    far = golden.far("fuzz", DTYPES[item_bytes], (12_000,), bits=9)
    assert far.reference is not None
    yield "far", far.data, far.reference
    rows = golden.rows("fuzz rows", DTYPES[item_bytes], (96, 256), every=3)
    assert rows.reference is not None
    yield "rows", rows.data, rows.reference
    yield "repeats", base[: 8 * item_bytes] * 100, base[: 800 * item_bytes]


def _forced(codec: ChunkCodec, name: str, dtype: str, data: bytes, base: bytes) -> Container | None:
    """Store a tensor by one codec alone, in two chunks; None where it makes neither shorter."""
    item_bytes = ITEM_BYTES[dtype]
    half = len(data) // item_bytes * 2 // 3 * item_bytes
    reference = base if codec.uses_reference else None
    wanted = Wanted(piece_of(dtype, data), data, reference)
    writer, entries = PackWriter(), []
    for begin, end in ((0, half), (half, len(data))):
        chunk, against = memoryview(data)[begin:end], memoryview(base)[begin:end]
        payload = codec.encode(chunk, against, item_bytes=item_bytes)
        if payload is None:
            return None
        check = xxhash.xxh3_64_intdigest(chunk)
        size = end - begin
        entries.append(writer.add(payload, codec=codec.id, item_bytes=item_bytes, size_bytes=size, check=check))
    digest, pack = writer.finish()
    chunks = tuple(Chunk(digest, e.offset, e.length, e.codec, e.size_bytes, e.check) for e in entries)
    against_digest = piece_of(dtype, base).digest if codec.uses_reference else None
    stored = StoredPiece(wanted.piece.digest, against_digest, chunks)
    storage = StorageMap((PackRef(digest, len(pack)),), {stored.digest: stored})
    return Container(f"{codec.name} {dtype} {name}", {digest: bytes(pack)}, storage, (wanted,))


def _golden() -> Iterator[Container]:
    for name, tensors in golden.CASES.items():
        wanted = [Wanted(t.source().piece, t.data, t.reference) for t in tensors if len(t.data) <= _SMALL_BYTES]
        if wanted:
            yield _encoded(f"golden {name}", wanted, golden.PROFILES.get(name, "default"))


def _real() -> Iterator[Container]:
    base, delta = SAMPLES / "bases" / "tinyllama", SAMPLES / "deltas" / "tinyllama"
    _, against = read_file(base / "model.safetensors")
    for folder in ("full", "lora"):
        path = min((delta / folder).glob("*.safetensors"))
        _, tensors = read_file(path)
        wanted = [_of_file(tensor, against.get(name)) for name, tensor in list(tensors.items())[:12]]
        yield _encoded(f"real {folder}", wanted, "default")


def _of_file(tensor, other) -> Wanted:
    data = bytes(tensor.read())
    is_alike = other is not None and (other.dtype, other.shape) == (tensor.dtype, tensor.shape)
    reference = bytes(other.read()) if is_alike else None
    return Wanted(piece_of(tensor.dtype, data, tensor.shape), data, reference)


def _encoded(name: str, wanted: list[Wanted], profile: str) -> Container:
    encoder = PackEncoder([_source(one) for one in wanted], workers=1, profile=profile)
    packs = {pack.digest: bytes(pack.data) for pack in encoder.packs()}
    storage = StorageMap(encoder.pack_refs, dict(encoder.pieces))
    return Container(name, packs, storage, tuple(wanted))


def _source(one: Wanted) -> PieceSource:
    if one.reference is None:
        return PieceSource(one.piece, reader(one.data))
    against = piece_of(one.piece.dtype, one.reference, one.piece.shape)
    return PieceSource(one.piece, reader(one.data), against, reader(one.reference))
