"""Decodes damaged containers in a process of its own, on both sides of the kernel.

`python -m tests.codec.fuzz_child '{"seed": 1, "begin": 0, "end": 5000, …}'`. A case is made by the
seed and its number alone. The number stands in the file `at` before the case begins, so that a
crash, a hang or too much memory names the case.
"""

import json
import os
import random
import resource
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import xxhash

from deltareg.codec import CHUNK_ELEMENTS, decode_chunk, decode_piece, native_kernel, read_pack
from deltareg.codec.codecs import thread_codecs
from deltareg.codec.kernels import kernel
from deltareg.digest import Digest
from deltareg.errors import BaseMismatch, IntegrityFailure, Refused
from deltareg.identity.storage_map import Chunk, StorageMap, StoredPiece
from tests.codec.fuzz_corpus import Container, Wanted, containers
from tests.codec.fuzz_mutations import cut, damage, other_chunks, other_document
from tests.codec.samples import PACK, reader

ALLOWED = (IntegrityFailure, BaseMismatch, Refused)
CASE_SECONDS = 20
BLOCK = 250  # cases between two looks at the other side of the kernel


@dataclass(frozen=True)
class Ask:
    """What to do: a range of cases, and the bounds that hold while they run.

    Attributes:
        seed: Of all cases.
        begin: First case.
        end: One past the last.
        mode: `damage` or `cut`.
        at: A file for the number of the case.
        library: A kernel to load in place of the one that was built.
        sides: Kernels to run, `native` first; what they say must be the same.
        memory_bytes: Address space that may be added; None where a sanitizer has all of it.
    """

    seed: int
    begin: int
    end: int
    mode: str
    at: str
    library: str | None = None
    sides: tuple[str, ...] = ("native", "numpy")
    memory_bytes: int | None = None


class Wrong(Exception):
    """Something came out that must not."""


def main(ask: Ask) -> int:
    """Run all cases; print what came out, by kind, and the growth of memory."""
    if ask.library:
        native_kernel.LIBRARY = Path(ask.library)  # type: ignore[misc]  # in place of the built one
    corpus = containers()
    place = os.open(ask.at, os.O_WRONLY | os.O_CREAT)
    for side in ask.sides:  # so that what is made once is there before memory is bounded
        _outcomes(ask, corpus, range(ask.begin, ask.begin + 50), side, place)
    before = _bound(ask.memory_bytes)
    counts: Counter[str] = Counter()
    for begin in range(ask.begin, ask.end, BLOCK):
        numbers = range(begin, min(begin + BLOCK, ask.end))
        found = [_outcomes(ask, corpus, numbers, side, place) for side in ask.sides]
        for number, *said in zip(numbers, *found, strict=True):
            if len(set(said)) > 1:
                print(f"case {number}: {said}", file=sys.stderr)
                return 1
        counts.update(outcome for outcome, _ in found[0])
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps({"counts": counts, "growth_kib": growth}))
    return 0


def _outcomes(ask: Ask, corpus: list[Container], numbers: range, side: str, place: int) -> list[tuple[str, str]]:
    os.environ["DELTAREG_KERNEL"] = side
    kernel.cache_clear()
    if kernel().name != side:
        raise Wrong(f"there is no {side} kernel")
    found: list[tuple[str, str]] = []
    for number in numbers:
        os.pwrite(place, b"%12d" % number, 0)
        signal.alarm(CASE_SECONDS)  # nobody catches it: it ends the process
        rng = random.Random(f"{ask.seed}/{number}")
        case = rng.choice(CASES[ask.mode])
        try:
            found.append((f"{case.__name__}: ended", case(rng, rng.choice(corpus), corpus)))
        except ALLOWED as error:
            found.append((f"{case.__name__}: {type(error).__name__}", ""))
        except Exception:
            print(f"case {number} ({case.__name__}, {side})", file=sys.stderr)
            raise
    signal.alarm(0)
    return found


def _bound(memory_bytes: int | None) -> int:
    if memory_bytes is not None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def damaged_payload(rng: random.Random, container: Container, corpus: list[Container]) -> str:
    """Damage a payload; the map tells its new length, and the check value of what comes out."""
    wanted, chunk, payload, against = _chunk_of(rng, container)
    payload = damage(rng, payload, _chunk_of(rng, rng.choice(corpus))[2])
    codec, size = thread_codecs()[chunk.codec], chunk.size_bytes
    if against is None and rng.random() < 0.1:
        size = CHUNK_ELEMENTS * wanted.item_bytes
    data = codec.decode(payload, against, size_bytes=size, item_bytes=wanted.item_bytes)
    if len(data) != size:
        raise Wrong(f"{codec.name} gave {len(data)} bytes, not {size}")
    check = xxhash.xxh3_64_intdigest(data)
    told = Chunk(PACK, 0, len(payload), chunk.codec, size, check)
    return f"{check:016x} {_class_of(lambda: _decode_with(container, wanted, chunk, told, payload))}"


def damaged_chunks(rng: random.Random, container: Container, corpus: list[Container]) -> str:
    """Change what the map says of a piece."""
    del corpus
    wanted = rng.choice(container.wanted)
    piece = container.storage.pieces[wanted.piece.digest]
    return _decode(other_chunks(rng, piece, sorted(thread_codecs())), wanted, container.packs)


def damaged_map(rng: random.Random, container: Container, corpus: list[Container]) -> str:
    """Change the text of the storage map."""
    del corpus
    wanted = rng.choice(container.wanted)
    raw = other_document(rng, container.storage.encode())
    return _decode_from(StorageMap.decode(raw), wanted, container.packs)


def damaged_pack(rng: random.Random, container: Container, corpus: list[Container]) -> str:
    """Damage a whole pack; read its index, and all that it lists, and a piece by the map."""
    digest, pack = rng.choice(list(container.packs.items()))
    return _read_all(rng, container, digest, damage(rng, pack, rng.choice(corpus).name.encode()))


def damaged_index(rng: random.Random, container: Container, corpus: list[Container]) -> str:
    """Damage the index of a pack and give it the check value that it then has."""
    del corpus
    digest, pack = rng.choice(list(container.packs.items()))
    begin = len(pack) - 24 - int.from_bytes(pack[-24:-16], "little")
    index = damage(rng, pack[begin:-24], pack[8:begin])
    trailer = len(index).to_bytes(8, "little")
    trailer += xxhash.xxh3_64_intdigest(index).to_bytes(8, "little") + pack[-8:]
    return _read_all(rng, container, digest, pack[:begin] + index + trailer)


def cut_pack(rng: random.Random, container: Container, corpus: list[Container]) -> str:
    """Cut a pack near one of its borders, or anywhere."""
    del corpus
    digest, pack = rng.choice(list(container.packs.items()))
    borders = [0, 8, *(e.offset + e.length for e in read_pack(pack)), len(pack) - 24, len(pack)]
    at = max(rng.choice(borders) + rng.randint(-12, 12), 0)
    cut_to = pack[:at] if at < len(pack) and rng.random() < 0.7 else cut(rng, pack)
    return _read_all(rng, container, digest, cut_to)


def cut_payload(rng: random.Random, container: Container, corpus: list[Container]) -> str:
    """Cut a payload; the map tells its new length."""
    del corpus
    wanted, chunk, payload, _ = _chunk_of(rng, container)
    payload = cut(rng, payload)
    told = replace(chunk, pack=PACK, offset=0, length=len(payload))
    return _decode_with(container, wanted, chunk, told, payload)


def cut_map(rng: random.Random, container: Container, corpus: list[Container]) -> str:
    """Cut the text of the storage map."""
    del corpus
    storage = StorageMap.decode(cut(rng, container.storage.encode()))
    return _decode_from(storage, rng.choice(container.wanted), container.packs)


Case = Callable[[random.Random, Container, list[Container]], str]
_ELSEWHERE: list[Case] = [damaged_chunks, damaged_chunks, damaged_map, damaged_pack, damaged_index]
_PAYLOADS: list[Case] = [damaged_payload] * len(_ELSEWHERE)
CASES: dict[str, list[Case]] = {"damage": _PAYLOADS + _ELSEWHERE, "cut": [cut_pack, cut_payload, cut_map]}


def _chunk_of(rng: random.Random, container: Container) -> tuple[Wanted, Chunk, bytes, memoryview | None]:
    """Choose a chunk; give its piece, itself, its payload and the same bytes of the reference."""
    stored = container.storage.pieces
    wanted = rng.choice([w for w in container.wanted if stored[w.piece.digest].chunks])
    chunks = stored[wanted.piece.digest].chunks
    at = rng.randrange(len(chunks))
    begin, chunk = sum(one.size_bytes for one in chunks[:at]), chunks[at]
    payload = container.packs[chunk.pack][chunk.offset : chunk.offset + chunk.length]
    if wanted.reference is None:
        return wanted, chunk, payload, None
    against = memoryview(wanted.reference)[begin : begin + chunk.size_bytes]
    return wanted, chunk, payload, against


def _decode_with(container: Container, wanted: Wanted, chunk: Chunk, told: Chunk, payload: bytes) -> str:
    """Decode a piece in which another payload has taken the place of a chunk's."""
    piece = container.storage.pieces[wanted.piece.digest]
    chunks = tuple(told if one is chunk else one for one in piece.chunks)
    return _decode(replace(piece, chunks=chunks), wanted, {**container.packs, PACK: payload})


def _decode_from(storage: StorageMap, wanted: Wanted, packs: Mapping[Digest, bytes]) -> str:
    piece = storage.pieces.get(wanted.piece.digest)
    return "not there" if piece is None else _decode(piece, wanted, packs)


def _decode(piece: StoredPiece, wanted: Wanted, packs: Mapping[Digest, bytes]) -> str:
    """Decode a piece as a pull does; what comes out to its end must be right."""

    def fetch(chunk: Chunk) -> bytes:
        return packs.get(chunk.pack, b"")[chunk.offset : chunk.offset + chunk.length]

    read = None if wanted.reference is None else reader(wanted.reference)
    data = b"".join(decode_piece(piece, wanted.piece, fetch=fetch, read_reference=read))
    if data != wanted.data:
        raise Wrong("other bytes came out, and nothing said so")
    return "whole"


def _read_all(rng: random.Random, container: Container, digest: Digest, pack: bytes) -> str:
    """Read a pack by its index, what stands alone as well, and a piece of it by the map."""
    wanted = rng.choice(container.wanted)
    piece = container.storage.pieces[wanted.piece.digest]
    said = [_class_of(lambda: _decode(piece, wanted, {**container.packs, digest: pack}))]
    for entry in read_pack(pack)[:20]:
        payload = pack[entry.offset : entry.offset + entry.length]
        chunk = Chunk(digest, entry.offset, entry.length, entry.codec, entry.size_bytes, entry.check)
        alone = partial(decode_chunk, payload, chunk, item_bytes=entry.item_bytes)
        said.append(_class_of(alone))
    return " ".join(said)


def _class_of(run: Callable[[], object]) -> str:
    try:
        run()
    except ALLOWED as error:
        return type(error).__name__
    return "right"


if __name__ == "__main__":
    try:
        sys.exit(main(Ask(**json.loads(sys.argv[1]))))
    except Exception:  # noqa: BLE001  (a case that ends in anything else is what is looked for)
        traceback.print_exc()
        sys.exit(1)
