"""The smallest encoding is found without trying every codec on everything."""

import numpy as np
from hypothesis import given

from deltareg.codec.choose import SAMPLE_BYTES, encode_smallest
from deltareg.codec.chunk_codec import BLOCKS, CONTEXTS, FLOATS, PLANES, RAW, ZSTD
from deltareg.codec.codecs import PROFILES, open_codecs
from tests.codec.samples import chunks_with_reference, noise, nudged, weights

CODECS = open_codecs()
ALL = PROFILES["default"]


def choose(chunk, reference=None, item_bytes=2):
    return encode_smallest(
        CODECS,
        ALL,
        chunk=memoryview(chunk),
        reference=None if reference is None else memoryview(reference),
        item_bytes=item_bytes,
    )


@given(case=chunks_with_reference())
def test_a_small_chunk_is_as_short_as_can_be_or_a_third_by_the_first_codec(case):
    chunk, reference, item_bytes = case

    codec, payload = choose(chunk, reference, item_bytes)

    payloads = (CODECS[i].encode(chunk, reference, item_bytes=item_bytes) for i in ALL)
    shortest = min(chunk.nbytes, *(len(p) for p in payloads if p is not None), chunk.nbytes)
    is_enough = codec in ALL[:2] and 3 * len(payload) <= chunk.nbytes
    assert len(payload) == shortest or is_enough


def test_large_chunks_get_the_codec_that_fits():
    base = weights(400_000)
    wide = np.arange(400_000, dtype="<u2").tobytes()
    cases = {
        CONTEXTS: (nudged(base), base),
        BLOCKS: (nudged(base[:200_000]) + base[200_000:], base),
        FLOATS: (base, noise(len(base))),
        PLANES: (wide, noise(len(wide))),
        ZSTD: (noise(3000) * 300, noise(900_000, 5)),
        RAW: (noise(900_000, 6), noise(900_000, 7)),
    }

    assert {codec: choose(*case)[0] for codec, case in cases.items()} == {c: c for c in cases}


def test_a_sample_that_misleads_is_made_up_for():
    """Equal in the sample's stretches, unrelated between them: alone is shorter after all."""
    count = 16 * SAMPLE_BYTES
    base = bytearray(noise(count, 3))
    chunk = bytearray(weights(count // 2))
    step = (count - 4096) // 15 // 4096 * 4096
    for start in range(0, 16 * step, step):
        base[start : start + 4096] = chunk[start : start + 4096]

    codec, _ = choose(chunk, base)

    assert codec == FLOATS
