"""This library: its public encoder and decoder, whole pieces in and out, with every check.

Counted are the packs, and the storage map and the manifest as the database keeps them; the file's
header is a piece like any other. Outside of the clock are the digests of the pieces, which a push
takes while it reads.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from deltareg.codec import PackEncoder, PieceRequest, PieceSource, decode_pieces
from deltareg.codec.kernels import kernel
from deltareg.db.sql.document import pack_document, pack_map
from deltareg.digest import sha256_of, tensor_digest
from deltareg.identity.manifest import Manifest, ManifestFile, ManifestTensor, Piece
from deltareg.identity.storage_map import StorageMap
from tests.benchmarks.peers.peer import Peer, Stored
from tests.benchmarks.weights import header

_FILE = "model.safetensors"


def encode(weights, _, *, profile, side):
    with running(side):
        head = _head(weights)
        sources = [head, *(_source(weights, name) for name in weights.tensors)]
        encoder = PackEncoder(sources, workers=1, profile=profile)
        packs = {pack.digest: pack for pack in encoder.packs()}
        stored = StorageMap(encoder.pack_refs, encoder.pieces)
        manifest = _manifest(weights, head.piece)
        payload = sum(pack.data.nbytes for pack in packs.values())
        documents = _kept_bytes(stored, manifest)
        return Stored(payload + documents, (stored, packs), payload)


def decode(stored, weights, _, *, profile, side):
    storage, packs = stored.parts
    requests = (
        PieceRequest(storage.pieces[piece.digest], piece, _base_of(weights, name))
        for name, piece in weights.pieces.items()
    )

    def fetch(chunk):
        return packs[chunk.pack].data[chunk.offset : chunk.offset + chunk.length]

    with running(side):
        yield from decode_pieces(requests, fetch=fetch)


@contextmanager
def running(side) -> Iterator[None]:
    """Have the inner loops run natively or on NumPy."""
    before = os.environ.pop("DELTAREG_KERNEL", None)
    if side == "numpy":
        os.environ["DELTAREG_KERNEL"] = side
    kernel.cache_clear()
    try:
        yield
    finally:
        os.environ.pop("DELTAREG_KERNEL", None)
        if before is not None:
            os.environ["DELTAREG_KERNEL"] = before
        kernel.cache_clear()


def _lack():
    with running("native"):
        return "" if kernel().name == "native" else "the native kernel was not built"


def _head(weights) -> PieceSource:
    raw = header(weights.dtype, {name: a.shape for name, a in weights.tensors.items()})
    piece = Piece(tensor_digest("U8", (len(raw),), [raw]), "U8", (len(raw),), len(raw))
    return PieceSource(piece, lambda begin, end: memoryview(raw)[begin:end])


def _source(weights, name) -> PieceSource:
    read, read_base = _reader(weights.tensors[name]), _base_of(weights, name)
    return PieceSource(weights.pieces[name], read, weights.base_pieces.get(name), read_base)


def _base_of(weights, name):
    return None if weights.base is None else _reader(weights.base[name])


def _reader(array):
    data = array.reshape(-1).data.cast("B")
    return lambda begin, end: data[begin:end]


def _manifest(weights, head) -> Manifest:
    size = head.size_bytes + weights.data.nbytes
    file = ManifestFile(_FILE, size, sha256_of(head.digest.hex.encode()), head, is_tensors=True)
    tensors = tuple(
        ManifestTensor(_FILE, name, "weight", name, piece.dtype, piece.shape, piece.digest)
        for name, piece in sorted(weights.pieces.items())
    )
    base = tensor_digest("U8", (0,), [])
    return Manifest("full", "", foldable=True, base=base, config={}, tensors=tensors, files=(file,))


def _kept_bytes(storage, manifest):
    raw = manifest.encode()
    return len(pack_document(raw)) + len(pack_map(storage.encode(), raw))


def _peer(profile, side) -> Peer:
    name = f"ours {profile}" + (", NumPy" if side == "numpy" else "")
    return Peer(
        name,
        partial(encode, profile=profile, side=side),
        partial(decode, profile=profile, side=side),
        lack=_lack if side == "native" else None,
        is_ours=True,
    )


PEERS = (
    *(_peer(profile, "native") for profile in ("default", "max", "fast", "planes")),
    *(_peer(profile, "numpy") for profile in ("default", "fast")),
)
