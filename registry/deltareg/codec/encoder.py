"""Encoding pieces into packs, in order, with bounded memory.

::

    encoder = PackEncoder(sources, workers=2)
    for pack in encoder.packs():          # EncodedPack(number, digest, data, entries)
        upload(pack.digest, pack.data)
    encoder.pieces                        # {Digest: StoredPiece}, filled after the last pack
    encoder.pack_refs                     # (PackRef, …) in order

The same sources in the same order with the same references give the same packs, whatever the number
of workers: an interrupted push encodes again and skips packs that the server has. Memory: a few
chunks a worker, the pack being filled and the last one yielded.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import xxhash

from deltareg.codec.choose import SAMPLE_BYTES, choose_reference, encode_smallest, estimate_size
from deltareg.codec.chunk_codec import CHUNK_ELEMENTS, PCODEC
from deltareg.codec.codecs import PROFILES, thread_codecs
from deltareg.codec.ordered import OrderedPool
from deltareg.codec.packs import PackEntry, PackWriter
from deltareg.codec.sources import PieceSource
from deltareg.digest import Digest
from deltareg.errors import InvalidInput
from deltareg.identity.storage_map import Chunk, PackRef, StoredPiece
from deltareg.tensors.header import ITEM_BYTES

_BATCH_BYTES = 2 << 20  # small pieces are handed to a thread together


@dataclass(frozen=True, slots=True)
class EncodedPack:
    """A finished pack.

    Attributes:
        number: Its place among the packs of this push, from 0.
        digest: `sha256:` of its bytes.
        data: Its bytes, valid as long as this object.
        entries: Its index.
    """

    number: int
    digest: Digest
    data: memoryview
    entries: tuple[PackEntry, ...]

    @property
    def ref(self) -> PackRef:
        """The pack as a storage map names it."""
        return PackRef(self.digest, self.data.nbytes)


class PackEncoder:
    """Encodes pieces once; `packs` can be iterated only once."""

    def __init__(self, sources: Iterable[PieceSource], *, workers: int = 2, profile: str = "default") -> None:
        """Prepare; nothing is read before the first pack is requested.

        Args:
            sources: In the order of the packs. A piece that occurs twice is encoded once, with its
                first reference.
            workers: Threads; with one, only the caller's is used.
            profile: A name of `PROFILES`.

        Raises:
            InvalidInput: There is no such profile.
        """
        if profile not in PROFILES:
            raise InvalidInput(f"no codec profile {profile!r}", fix=f"use {', '.join(PROFILES)}")
        self._sources = sources
        self._workers = workers
        self._candidates = PROFILES[profile]
        self._writer = PackWriter()
        self._refs: list[PackRef] = []
        self._references: dict[Digest, Digest | None] = {}
        self._placed: dict[Digest, list[tuple[int, PackEntry]]] = {}
        self._pieces: dict[Digest, StoredPiece] = {}

    def packs(self) -> Generator[EncodedPack, None, None]:
        """Yield the packs as they fill; closing the generator early stops the threads."""
        with OrderedPool(self._workers) as pool:
            for chunks in pool.map(self._encode_batch, _batches(self._jobs())):
                for job, codec, payload, check in chunks:
                    if not self._writer.has_room_for(len(payload)):
                        yield self._close_pack()
                    entry = self._writer.add(
                        payload, codec=codec, item_bytes=job.item_bytes, size_bytes=job.end - job.begin, check=check
                    )
                    self._place(job, entry)
        if self._writer.entries:
            yield self._close_pack()
        self._pieces = {digest: self._build_piece(digest) for digest in self._placed}

    @property
    def pieces(self) -> Mapping[Digest, StoredPiece]:
        """The location of every piece; empty until `packs` has ended."""
        return self._pieces

    @property
    def pack_refs(self) -> tuple[PackRef, ...]:
        """The packs yielded so far."""
        return tuple(self._refs)

    def _jobs(self) -> "Iterator[_Encoding]":
        for source in self._sources:
            piece = source.piece
            if piece.digest in self._placed:
                continue
            self._placed[piece.digest] = []
            self._references[piece.digest] = None
            if source.is_unchanged:
                self._references[piece.digest] = piece.digest
                continue
            yield from _chunks_of(choose_reference(thread_codecs(), self._candidates, source))

    def _encode_batch(self, jobs: "list[_Encoding]") -> "list[_EncodedChunk]":
        return [self._encode_chunk(job) for job in jobs]

    def _encode_chunk(self, job: "_Encoding") -> "_EncodedChunk":
        codec, payload = job.encode(self._candidates)
        return job, codec, payload, xxhash.xxh3_64_intdigest(job.read_chunk())

    def _place(self, job: "_Encoding", entry: PackEntry) -> None:
        digest = job.source.piece.digest
        self._placed[digest].append((len(self._refs), entry))
        reference = job.source.reference
        if reference is not None and thread_codecs()[entry.codec].uses_reference:
            self._references[digest] = reference.digest

    def _close_pack(self) -> EncodedPack:
        writer, self._writer = self._writer, PackWriter()
        digest, data = writer.finish()
        pack = EncodedPack(len(self._refs), digest, data, tuple(writer.entries))
        self._refs.append(pack.ref)
        return pack

    def _build_piece(self, digest: Digest) -> StoredPiece:
        chunks = tuple(
            Chunk(self._refs[number].digest, e.offset, e.length, e.codec, e.size_bytes, e.check)
            for number, e in self._placed[digest]
        )
        return StoredPiece(digest, self._references[digest], chunks)


def measure_payloads(sources: Iterable[PieceSource], *, workers: int = 2, profile: str = "default") -> list[list[int]]:
    """Return, for each source, how long the payload of each of its chunks would be in a pack.

    Nothing is written. A source with several references is measured against the one that the
    encoder would choose.
    """
    lengths: list[list[int]] = []

    def jobs() -> Iterator[tuple[list[int], _Encoding]]:
        for source in sources:
            own: list[int] = []
            lengths.append(own)
            for job in _chunks_of(choose_reference(thread_codecs(), PROFILES[profile], source)):
                yield own, job

    def measure(item: tuple[list[int], _Encoding]) -> tuple[list[int], int]:
        own, job = item
        return own, len(job.encode(PROFILES[profile])[1])

    with OrderedPool(workers) as pool:
        for own, length in pool.map(measure, jobs()):
            own.append(length)
    return lengths


def sample_sizes(source: PieceSource, *, profile: str = "default") -> list[int]:
    """Return the encoded size of a sample of a piece: with its own reference, and with each other one.

    A size with another one may be larger than with none, where that would be the smaller of the two.
    """
    codecs, candidates = thread_codecs(), PROFILES[profile]
    own = estimate_size(codecs, candidates, source, source.read_reference)
    if source.read_reference is None and source.piece.size_bytes <= SAMPLE_BYTES and PCODEC not in candidates:
        # All of it was encoded alone just now: with a reference only what uses that is left to try.
        candidates = tuple(one for one in candidates if codecs[one].uses_reference)
    return [own, *(estimate_size(codecs, candidates, source, other.read) for other in source.others)]


@dataclass(frozen=True, slots=True)
class _Encoding:
    """One chunk to encode; the thread that encodes it reads its bytes."""

    source: PieceSource
    item_bytes: int
    begin: int
    end: int

    def encode(self, candidates: Sequence[int]) -> tuple[int, bytes]:
        """Return the codec and the payload."""
        return encode_smallest(
            thread_codecs(),
            candidates,
            chunk=self.read_chunk(),
            reference=self.read_reference(),
            item_bytes=self.item_bytes,
        )

    def read_chunk(self) -> memoryview:
        return _exactly(self.source.read(self.begin, self.end), self.end - self.begin)

    def read_reference(self) -> memoryview | None:
        data = self.source.reference_bytes(self.begin, self.end)
        return None if data is None else _exactly(data, self.end - self.begin)


_EncodedChunk = tuple[_Encoding, int, bytes, int]


def _chunks_of(source: PieceSource) -> Iterator[_Encoding]:
    item_bytes = ITEM_BYTES[source.piece.dtype]
    step = CHUNK_ELEMENTS * item_bytes
    for begin in range(0, source.piece.size_bytes, step):
        yield _Encoding(source, item_bytes, begin, min(begin + step, source.piece.size_bytes))


def _exactly(data: memoryview, size_bytes: int) -> memoryview:
    if data.nbytes != size_bytes:
        raise InvalidInput(
            f"a file gave {data.nbytes} bytes where {size_bytes} were announced",
            fix="push again when nothing writes to the files",
        )
    return data.cast("B")


def _batches(jobs: Iterator[_Encoding]) -> Iterator[list[_Encoding]]:
    batch: list[_Encoding] = []
    size = 0
    for job in jobs:
        if batch and size + job.end - job.begin > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(job)
        size += job.end - job.begin
    if batch:
        yield batch
