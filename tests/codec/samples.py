"""Pieces, sources and chunks for the tests of the codec."""

import hypothesis.strategies as st
import numpy as np
import xxhash
import zstandard

from deltareg.codec import PackEncoder, PieceSource
from deltareg.digest import Digest, tensor_digest
from deltareg.identity.manifest import Piece
from deltareg.identity.storage_map import Chunk
from deltareg.tensors.header import ITEM_BYTES

PACK = Digest("sha256", "0" * 64)


def piece_of(dtype, data, shape=None):
    """Describe bytes as a piece; one dimension unless told otherwise."""
    shape = (len(data) // ITEM_BYTES[dtype],) if shape is None else shape
    return Piece(tensor_digest(dtype, shape, [data]), dtype, shape, len(data))


def source(dtype, data, reference=None, shape=None):
    """Make a source over bytes, against other bytes of the same dtype and shape."""
    piece = piece_of(dtype, data, shape)
    if reference is None:
        return PieceSource(piece, reader(data))
    return PieceSource(piece, reader(data), piece_of(dtype, reference, shape), reader(reference))


def reader(data):
    """Read ranges of bytes at hand."""
    view = memoryview(data)
    return lambda begin, end: view[begin:end]


def encoded(sources, **options):
    """Encode sources; give the packs by digest and the encoder."""
    encoder = PackEncoder(sources, **options)
    packs = {pack.digest: bytes(pack.data) for pack in encoder.packs()}
    return packs, encoder


def fetcher(packs):
    """Fetch payloads from packs at hand."""
    return lambda chunk: packs[chunk.pack][chunk.offset : chunk.offset + chunk.length]


def payload_of(codec, chunk, reference=None, *, item_bytes=2):
    """Encode a chunk that the codec must be able to make shorter."""
    payload = codec.encode(chunk, reference, item_bytes=item_bytes)
    assert payload is not None
    return payload


def chunk_of(payload, codec, size_bytes, check=0):
    """Describe a payload as a storage map would."""
    return Chunk(PACK, 8, len(payload), codec, size_bytes, check)


def sound_chunk(payload, codec, data):
    """Describe a payload that decodes to `data`."""
    return chunk_of(payload, codec, len(data), xxhash.xxh3_64_intdigest(data))


def weights(count, item_bytes=2, seed=0):
    """Make bits that look like weights: skewed exponents above, noise below."""
    rng = np.random.default_rng(seed)
    floats = (rng.standard_normal(count) * 0.02).astype({2: "<f4", 4: "<f4", 8: "<f8"}[item_bytes])
    words = floats.view("<u4") >> 16 if item_bytes == 2 else floats.view(f"<u{item_bytes}")
    return words.astype(f"<u{item_bytes}").tobytes()


def nudged(data, item_bytes=2, share=0.3, seed=1):
    """Move some words by one or two units."""
    rng = np.random.default_rng(seed)
    words = np.frombuffer(data, f"<u{item_bytes}").copy()
    chosen = rng.random(words.size) < share
    words[chosen] += rng.integers(1, 3, int(chosen.sum())).astype(words.dtype)
    return words.tobytes()


def noise(size_bytes, seed=0):
    """Make bytes that nothing compresses."""
    return np.random.default_rng(seed).bytes(size_bytes)


# Words as they are, small differences, and the bit patterns of special floats.
item_sizes = st.sampled_from([1, 2, 4, 8])


@st.composite
def chunks_with_reference(draw):
    """Draw (chunk, reference, item_bytes): unrelated, close together, or equal."""
    item_bytes = draw(item_sizes)
    chunk = draw(st.binary(min_size=1, max_size=600).map(lambda b: b * item_bytes))
    how = draw(st.sampled_from(["unrelated", "near", "equal", "special"]))
    if how == "unrelated":
        reference = draw(st.binary(min_size=len(chunk), max_size=len(chunk)))
    elif how == "special":
        reference = bytes([0xFF]) * len(chunk)
    else:
        steps = draw(st.lists(st.integers(-3, 3), min_size=1, max_size=20))
        words = np.frombuffer(chunk, f"<u{item_bytes}").copy()
        if how == "near":
            words += np.resize(np.array(steps), words.size).astype(words.dtype)
        reference = words.tobytes()
    return memoryview(chunk), memoryview(reference), item_bytes


def zstd_frame(data, **options):
    """Compress with the library, parameters at will."""
    return zstandard.ZstdCompressor(**options).compress(data)


def forged_frame(content_size, blocks=(), *, window_log=None, dictionary=0):
    """Write a zstd frame by hand (RFC 8878): any size claimed, any window, RLE blocks.

    Args:
        content_size: What the header declares; None declares nothing.
        blocks: (size, byte) of each RLE block.
        window_log: Window to ask for; None makes a single-segment frame.
        dictionary: Dictionary id; 0 names none.
    """
    single = 0x20 if window_log is None else 0
    descriptor = (0xC0 if content_size is not None else 0) | single | (0x03 if dictionary else 0)
    head = b"\x28\xb5\x2f\xfd" + bytes([descriptor])
    if window_log is not None:
        head += bytes([(window_log - 10) << 3])
    if dictionary:
        head += dictionary.to_bytes(4, "little")
    if content_size is not None:
        head += content_size.to_bytes(8, "little")
    last = len(blocks) - 1
    body = b"".join(
        ((size << 3) | 2 | (number == last)).to_bytes(3, "little") + bytes([byte])
        for number, (size, byte) in enumerate(blocks)
    )
    return head + body
