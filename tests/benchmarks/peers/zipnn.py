"""ZipNN (Hershcovitch et al., 2024, arXiv 2411.05239): exponents by Huffman, XOR with a base."""

from tests.benchmarks.peers.peer import Peer, Stored

_DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}


def encode(weights, _):
    # It reorders the bytes that it is given, in place: they have to be a copy.
    return Stored.of([_zipnn(weights).compress(bytearray(weights.data))])


def decode(stored, weights, _):
    return [_zipnn(weights).decompress(stored.frames[0])]


def encode_delta(weights, _):
    data, base = weights.data.tobytes(), weights.against.tobytes()
    return Stored.of([_delta(weights).compress(data, delta_second_data=base)])


def decode_delta(stored, weights, _):
    base = weights.against.tobytes()
    return [_delta(weights).decompress(stored.frames[0], delta_second_data=base)]


def _zipnn(weights, **options):
    from zipnn import ZipNN

    kind = _DTYPES[weights.dtype]
    return ZipNN(input_format="byte", bytearray_dtype=kind, threads=1, **options)


def _delta(weights):
    return _zipnn(weights, delta_compressed_type="byte")


PEERS = (
    Peer("zipnn", encode, decode, needs=("zipnn",)),
    Peer("zipnn, XOR", encode_delta, decode_delta, needs=("zipnn",), uses_base=True),
)
