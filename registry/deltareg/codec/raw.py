"""Codec 0: the bytes as they are."""

from deltareg.codec.chunk_codec import RAW, build_integrity_failure


class RawCodec:
    """Stores a chunk unchanged, for chunks that no other codec makes shorter."""

    id = RAW
    name = "raw"
    uses_reference = False

    def encode(self, chunk: memoryview, reference: memoryview | None, *, item_bytes: int) -> bytes | None:
        del reference, item_bytes
        return bytes(chunk)

    def decode(
        self, payload: bytes | memoryview, reference: memoryview | None, *, size_bytes: int, item_bytes: int
    ) -> memoryview:
        del reference, item_bytes
        if len(payload) != size_bytes:
            raise build_integrity_failure(f"a raw chunk has {len(payload)} bytes, not {size_bytes}")
        return memoryview(payload)
