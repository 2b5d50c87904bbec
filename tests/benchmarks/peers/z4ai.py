"""z4ai: XOR with a base, then its own streaming codec."""

from tests.benchmarks.peers.peer import Peer, Stored

_DTYPES = {"BF16": "bf16", "F16": "fp16", "F32": "fp32"}


def encode(weights, _):
    import z4ai

    data = weights.data.tobytes()
    return Stored.of([z4ai.compress(data, dtype=_DTYPES[weights.dtype], threads=1)])


def decode(stored, weights, _):
    import z4ai

    return [z4ai.decompress(stored.frames[0])]


def encode_delta(weights, _):
    import z4ai

    data, base = weights.data.tobytes(), weights.against.tobytes()
    kind = _DTYPES[weights.dtype]
    return Stored.of([z4ai.compress_delta(data, base, dtype=kind, threads=1)])


def decode_delta(stored, weights, _):
    import z4ai

    return [z4ai.decompress_delta(stored.frames[0], weights.against.tobytes())]


PEERS = (
    Peer("z4ai", encode, decode, needs=("z4ai",)),
    Peer("z4ai, delta", encode_delta, decode_delta, needs=("z4ai",), uses_base=True),
)
