"""Damage for the fuzzers, drawn from a random source: of bytes, of chunks and of documents."""

import json
import random
import struct
from dataclasses import replace

from deltareg.codec import CHUNK_ELEMENTS, MAX_CHUNK_BYTES
from deltareg.digest import Digest
from deltareg.identity.storage_map import Chunk, StoredPiece
from tests.codec.samples import forged_frame

FRAME_MAGIC = b"\x28\xb5\x2f\xfd"
TABLE_BYTES = 32  # modes, widths and lengths stand at the beginning of a payload
WIDTHS = (0, 1, 2, 3, 4, 8, 16, 254, 255)


def damage(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Damage a payload, or any bytes, in one to three ways."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(_WAYS)(rng, data or b"\0", other)
    return data


def cut(rng: random.Random, data: bytes) -> bytes:
    """Cut bytes: near the beginning, near the end, anywhere."""
    size = len(data)
    last = max(size - 1, 0)
    near = rng.choice((rng.randint(0, 40), size - rng.randint(1, 40), rng.randint(0, last)))
    return data[: min(max(near, 0), last)]


def _flip(rng: random.Random, data: bytes, other: bytes) -> bytes:
    del other
    made = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        made[_place(rng, data)] ^= 1 << rng.randrange(8)
    return bytes(made)


def _set(rng: random.Random, data: bytes, other: bytes) -> bytes:
    del other
    made = bytearray(data)
    made[_place(rng, data)] = rng.choice((*WIDTHS, rng.randrange(256)))
    return bytes(made)


def _length(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Write a number where one may stand: an odd one, one that is near, one of the payload."""
    del other
    at = rng.randrange(min(len(data), 4 * TABLE_BYTES))
    held = int.from_bytes(data[at : at + 4], "little")
    odd = (0, 1, len(data), len(data) - at, 2**31, 2**32 - 1, held + 1, held - 1, held * 2)
    return data[:at] + struct.pack("<I", rng.choice(odd) & 0xFFFFFFFF) + data[at + 4 :]


def _stretch(rng: random.Random, data: bytes, other: bytes) -> bytes:
    del other
    at, size = _place(rng, data), rng.choice((1, 4, 30, 400))
    return data[:at] + rng.randbytes(size) + data[at + size :]


def _grow(rng: random.Random, data: bytes, other: bytes) -> bytes:
    at, more = _place(rng, data), rng.choice((rng.randbytes(rng.randint(1, 9)), other[:99]))
    return data[:at] + more + data[at:]


def _shrink(rng: random.Random, data: bytes, other: bytes) -> bytes:
    del other
    at = _place(rng, data)
    return data[:at] + data[at + rng.randint(1, 20) :]


def _splice(rng: random.Random, data: bytes, other: bytes) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + other[rng.randrange(len(other) + 1) :]


def _cut(rng: random.Random, data: bytes, other: bytes) -> bytes:
    del other
    return cut(rng, data)


def _frame(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Put a frame that claims something else where a frame begins, or at the beginning."""
    del other
    at = max(data.find(FRAME_MAGIC), 0)
    sizes = (None, 0, 100, 4096, 1 << 20, 1 << 28, 1 << 40)
    blocks = [(rng.choice((1, 100, 1 << 17)), 7)] * rng.choice((0, 1, 3, 2048))
    window = rng.choice((None, 10, 20, 23, 24, 31))
    frame = forged_frame(rng.choice(sizes), blocks, window_log=window)
    return data[:at] + frame + data[at + len(frame) :]


_WAYS = (_flip, _flip, _set, _set, _length, _length, _stretch, _grow, _shrink, _splice, _cut, _frame)


def _place(rng: random.Random, data: bytes) -> int:
    """Choose a place, every second time in the tables at the beginning."""
    size = len(data) if rng.random() < 0.5 else min(len(data), TABLE_BYTES)
    return rng.randrange(size)


def other_chunks(rng: random.Random, piece: StoredPiece, codecs: list[int]) -> StoredPiece:
    """Change what a storage map says of a piece: a chunk's fields, their order, the reference."""
    chunks = list(piece.chunks)
    if not chunks:
        return replace(piece, reference=rng.choice((None, Digest("blake3", "0" * 64))))
    at = rng.randrange(len(chunks))
    how = rng.randrange(6)
    if how == 0:
        chunks.reverse()
    elif how == 1:
        chunks.insert(at, rng.choice(chunks))
    elif how == 2:
        del chunks[at]
    elif how == 3:
        return replace(piece, reference=rng.choice((None, piece.digest)))
    else:
        chunks[at] = _other_chunk(rng, chunks[at], codecs)
    return replace(piece, chunks=tuple(chunks))


def _other_chunk(rng: random.Random, chunk: Chunk, codecs: list[int]) -> Chunk:
    near = rng.choice((-8, -2, -1, 1, 2, 8))
    sizes = (0, 1, chunk.size_bytes + near, MAX_CHUNK_BYTES, MAX_CHUNK_BYTES + 8, 1 << 39)
    return rng.choice(
        (
            replace(chunk, codec=rng.choice((*codecs, 6, 7, 255, 1 << 30))),
            replace(chunk, size_bytes=rng.choice((*sizes, CHUNK_ELEMENTS))),
            replace(chunk, length=max(chunk.length + near, 0)),
            replace(chunk, offset=max(chunk.offset + near, 0)),
            replace(chunk, check=chunk.check ^ 1 << rng.randrange(64)),
        )
    )


def other_document(rng: random.Random, raw: bytes) -> bytes:
    """Change a JSON document: its bytes, or a value somewhere in it."""
    if rng.random() < 0.4:
        return rng.choice((_flip, _set, _shrink, _grow, _cut))(rng, raw, raw)
    document = json.loads(raw)
    places = list(_places(document))
    holder, key = rng.choice(places)
    odd: list[object] = [
        None,
        True,
        -1,
        0,
        1 << 39,
        1 << 70,
        0.5,
        "",
        "x",
        [],
        {},
        [[]],
        "sha256:" + "0" * 64,
        "0" * 16,
        "blake3:" + "f" * 64,
        "\ud800",
    ]
    holder[key] = rng.choice((*odd, rng.choice(places)[0]))
    try:
        return json.dumps(document).encode()
    except ValueError:  # it holds itself now
        return b"[" * 5_000 + raw


def _places(value):
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in pairs:
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)
