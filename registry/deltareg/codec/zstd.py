"""Codec 1: one zstd frame over the bytes, for text and other repetitive data."""

from deltareg.codec.chunk_codec import ZSTD
from deltareg.codec.frames import GENERAL, open_compressor, open_decompressor, read_frame


class ZstdCodec:
    """Stores a chunk as one zstd frame."""

    id = ZSTD
    name = "zstd"
    uses_reference = False

    def __init__(self) -> None:
        self._compressor = open_compressor(GENERAL)
        self._decompressor = open_decompressor()

    def encode(self, chunk: memoryview, reference: memoryview | None, *, item_bytes: int) -> bytes | None:
        del reference, item_bytes
        frame = self._compressor.compress(chunk)
        return frame if len(frame) < chunk.nbytes else None

    def decode(
        self, payload: bytes | memoryview, reference: memoryview | None, *, size_bytes: int, item_bytes: int
    ) -> memoryview:
        del reference, item_bytes
        return memoryview(read_frame(self._decompressor, payload, size_bytes=size_bytes))
