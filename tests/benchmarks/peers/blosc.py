"""Blosc2: bytes shuffled by their place in an element, then zstd; with a base, over the XOR."""

import numpy as np

from tests.benchmarks.peers.peer import STEP_BYTES, Peer, Stored


def encode(weights, _):
    return Stored.of(_compress(part, weights.item_bytes) for part in _steps(weights.data))


def decode(stored, weights, _):
    return _decompress(stored)


def encode_xor(weights, _):
    pairs = zip(_steps(weights.data), _steps(weights.against), strict=True)
    return Stored.of(_compress(np.bitwise_xor(a, b), weights.item_bytes) for a, b in pairs)


def decode_xor(stored, weights, _):
    for data, base in zip(_decompress(stored), _steps(weights.against), strict=True):
        yield np.bitwise_xor(np.frombuffer(data, np.uint8), base).data


def _compress(data, item_bytes):
    import blosc2

    blosc2.set_nthreads(1)
    return blosc2.compress2(
        data,
        typesize=item_bytes,
        codec=blosc2.Codec.ZSTD,
        clevel=1,
        nthreads=1,
        filters=[blosc2.Filter.SHUFFLE],
        splitmode=blosc2.SplitMode.ALWAYS_SPLIT,
    )


def _decompress(stored):
    import blosc2

    return (blosc2.decompress2(frame, nthreads=1) for frame in stored.frames)


def _steps(data):
    return [data[at : at + STEP_BYTES] for at in range(0, data.size, STEP_BYTES)]


PEERS = (
    Peer("blosc2 shuffle+zstd", encode, decode, needs=("blosc2",)),
    Peer("blosc2, XOR", encode_xor, decode_xor, needs=("blosc2",), uses_base=True),
)
