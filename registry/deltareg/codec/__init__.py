"""Encoding tensors into packs and back, losslessly (docs/format.md).

Encode: `PackEncoder(sources, workers=…)` yields packs in order, then has `pieces`.
Decode: `decode_pieces`, `decode_piece`, or `decode_chunk` for one chunk, with the threads of an
`OrderedPool`.
Read a pack without a storage map: `read_pack`, or `index_range` and `read_index` over a range read.
"""

from typing import TYPE_CHECKING

from deltareg.on_demand import load_name

if TYPE_CHECKING:
    from deltareg.codec.chunk_codec import CHUNK_ELEMENTS, MAX_CHUNK_BYTES
    from deltareg.codec.decoder import Fetch, PieceRequest, decode_chunk, decode_piece, decode_pieces
    from deltareg.codec.encoder import EncodedPack, PackEncoder, measure_payloads, sample_sizes
    from deltareg.codec.ordered import OrderedPool, cores
    from deltareg.codec.packs import (
        ENTRY_BYTES,
        FRAME_BYTES,
        PACK_LIMIT_BYTES,
        PACK_TARGET_BYTES,
        TRAILER_BYTES,
        PackEntry,
        index_range,
        read_index,
        read_pack,
    )
    from deltareg.codec.sources import PieceSource, ReadRange, Reference

_HOMES = {
    "chunk_codec": ("CHUNK_ELEMENTS", "MAX_CHUNK_BYTES"),
    "decoder": ("Fetch", "PieceRequest", "decode_chunk", "decode_piece", "decode_pieces"),
    "encoder": ("EncodedPack", "PackEncoder", "measure_payloads", "sample_sizes"),
    "ordered": ("OrderedPool", "cores"),
    "packs": (
        "ENTRY_BYTES",
        "FRAME_BYTES",
        "PACK_LIMIT_BYTES",
        "PACK_TARGET_BYTES",
        "TRAILER_BYTES",
        "PackEntry",
        "index_range",
        "read_index",
        "read_pack",
    ),
    "sources": ("PieceSource", "ReadRange", "Reference"),
}

__all__ = [
    "CHUNK_ELEMENTS",
    "ENTRY_BYTES",
    "FRAME_BYTES",
    "MAX_CHUNK_BYTES",
    "PACK_LIMIT_BYTES",
    "PACK_TARGET_BYTES",
    "TRAILER_BYTES",
    "EncodedPack",
    "Fetch",
    "OrderedPool",
    "PackEncoder",
    "PackEntry",
    "PieceRequest",
    "PieceSource",
    "ReadRange",
    "Reference",
    "cores",
    "decode_chunk",
    "decode_piece",
    "decode_pieces",
    "index_range",
    "measure_payloads",
    "read_index",
    "read_pack",
    "sample_sizes",
]


def __getattr__(name: str) -> object:
    """Load a name's module on first use: who decodes needs no encoder."""
    return load_name(__name__, _HOMES, name)
