"""BitX, written anew from its paper: ZipLLM (NSDI 2026, arXiv 2505.06252).

XOR with the base; the exponent bits and the bits of sign and mantissa apart; zstd 3 over each. The
paper has bf16 only, where the two parts are the bytes of the words rotated left by one bit. Other
dtypes get the same treatment: rotate, take the bytes apart. It works on 8 MiB at a time, which is
kinder to its cache than a whole tensor.
"""

import numpy as np
import zstandard

from tests.benchmarks.peers.peer import STEP_BYTES, Peer, Stored

_LEVEL = 3


def encode(weights, _):
    compressor = zstandard.ZstdCompressor(level=_LEVEL)
    return Stored.of(
        compressor.compress(np.ascontiguousarray(plane).data)
        for at in _places(weights)
        for plane in _planes(np.bitwise_xor(weights.words[at], weights.base_words[at]))
    )


def decode(stored, weights, _):
    decompressor, frames = zstandard.ZstdDecompressor(), iter(stored.frames)
    for at in _places(weights):
        base = weights.base_words[at]
        planes = np.empty((base.size, base.itemsize), np.uint8)
        for index in range(base.itemsize):
            planes[:, index] = np.frombuffer(decompressor.decompress(next(frames)), np.uint8)
        words = planes.view(base.dtype)[:, 0]
        words = (words >> 1) | (words << (8 * base.itemsize - 1))
        yield np.bitwise_xor(words, base, out=words).view(np.uint8).data


def _planes(words):
    rotated = (words << 1) | (words >> (8 * words.itemsize - 1))
    return rotated.view(np.uint8).reshape(-1, words.itemsize).T


def _places(weights):
    step = STEP_BYTES // weights.item_bytes
    return [slice(at, at + step) for at in range(0, weights.words.size, step)]


PEERS = (Peer("BitX (ZipLLM)", encode, decode, uses_base=True),)
