"""The table of chunk codecs by id, with one set of instances per thread."""

import threading
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from deltareg.codec.blocks import BlocksCodec
from deltareg.codec.chunk_codec import (
    BLOCKS,
    CONTEXTS,
    FLOATS,
    LENGTHS,
    PACKED,
    PCODEC,
    PLANES,
    SUBTRACT,
    ZSTD,
    ChunkCodec,
)
from deltareg.codec.contexts import ContextsCodec
from deltareg.codec.floats import FloatsCodec
from deltareg.codec.lengths import LengthsCodec
from deltareg.codec.packed import PackedCodec
from deltareg.codec.pco import Pcodec
from deltareg.codec.planes import PlanesCodec
from deltareg.codec.raw import RawCodec
from deltareg.codec.scratch import Scratch
from deltareg.codec.subtract import SubtractCodec
from deltareg.codec.zstd import ZstdCodec

# Which codecs the encoder tries, by profile. Decoding knows them all and needs no profile.
PROFILES: Final[Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {
        "default": (LENGTHS, BLOCKS, CONTEXTS, SUBTRACT, FLOATS, PLANES, ZSTD),
        "fast": (LENGTHS, PACKED, SUBTRACT, PLANES, ZSTD),
        "max": (LENGTHS, BLOCKS, CONTEXTS, PCODEC, PACKED, SUBTRACT, FLOATS, PLANES, ZSTD),
        "pcodec": (PCODEC,),
        "planes": (SUBTRACT, PLANES, ZSTD),  # quick without the native kernel, too
    }
)


def open_codecs() -> Mapping[int, ChunkCodec]:
    """Create all codecs, with shared buffers, for one thread."""
    scratch = Scratch()
    codecs: tuple[ChunkCodec, ...] = (
        RawCodec(),
        ZstdCodec(),
        PlanesCodec(scratch),
        PackedCodec(scratch),
        ContextsCodec(scratch),
        SubtractCodec(scratch),
        Pcodec(scratch),
        BlocksCodec(scratch),
        FloatsCodec(scratch),
        LengthsCodec(scratch),
    )
    return MappingProxyType({codec.id: codec for codec in codecs})


def thread_codecs() -> Mapping[int, ChunkCodec]:
    """Return the codecs of the calling thread; they live as long as the thread."""
    return _OWN.codecs


class _PerThread(threading.local):
    def __init__(self) -> None:
        self.codecs: Mapping[int, ChunkCodec] = open_codecs()


_OWN: Final = _PerThread()
