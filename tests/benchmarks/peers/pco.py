"""Pcodec: bins of integers by tANS, over our zigzag differences, for it knows no base itself."""

import numpy as np

from deltareg.codec.zigzag import from_zigzag, to_zigzag
from tests.benchmarks.peers.peer import Peer, Stored

_STEP = 1 << 20


def encode(weights, _):
    return Stored.of(_frames(weights))


def decode(stored, weights, _):
    from pcodec import standalone

    for at, frame in zip(_places(weights), stored.frames, strict=True):
        differences = np.ascontiguousarray(standalone.simple_decompress(frame))
        from_zigzag(differences, np.empty_like(differences))
        np.add(differences, weights.base_words[at], out=differences)
        yield differences.view(np.uint8).data


def _frames(weights):
    from pcodec import ChunkConfig, standalone

    for at in _places(weights):
        differences = np.subtract(weights.words[at], weights.base_words[at])
        to_zigzag(differences, np.empty_like(differences))
        yield standalone.simple_compress(differences, ChunkConfig(compression_level=8))


def _places(weights):
    return [slice(at, at + _STEP) for at in range(0, weights.words.size, _STEP)]


PEERS = (Peer("pcodec, subtracted", encode, decode, needs=("pcodec",), uses_base=True),)
