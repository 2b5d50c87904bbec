"""Zstandard: plain at several levels, and with the base as a dictionary (`zstd --patch-from`)."""

from functools import partial

import zstandard

from tests.benchmarks.peers.peer import Peer, Stored

_SLICE_BYTES = 8 << 20
_PATCH_LEVEL = 3


def encode(weights, _, *, level):
    return Stored.of([zstandard.ZstdCompressor(level=level).compress(weights.data)])


def decode(stored, weights, _):
    return [zstandard.ZstdDecompressor().decompress(stored.frames[0])]


def encode_patch(weights, _):
    # As the command does it: a window over base and fine-tune, and long-distance matching.
    window_log = min(31, max(10, (weights.data.nbytes + weights.against.nbytes).bit_length()))
    parameters = zstandard.ZstdCompressionParameters.from_level(
        _PATCH_LEVEL, window_log=window_log, enable_ldm=True, write_content_size=True
    )
    compressor = zstandard.ZstdCompressor(dict_data=_base(weights), compression_params=parameters)
    return Stored.of([compressor.compress(weights.data)])


def decode_patch(stored, weights, _):
    decompressor = zstandard.ZstdDecompressor(dict_data=_base(weights), max_window_size=1 << 31)
    return [decompressor.decompress(stored.frames[0])]


def _base(weights):
    return zstandard.ZstdCompressionDict(weights.against.tobytes(), dict_type=zstandard.DICT_TYPE_RAWCONTENT)


PEERS = (
    *(Peer(f"zstd -{level}", partial(encode, level=level), decode) for level in (1, 3, 9)),
    Peer("zstd -19", partial(encode, level=19), decode, limit_bytes=_SLICE_BYTES),
    Peer("zstd --patch-from", encode_patch, decode_patch, uses_base=True),
)
