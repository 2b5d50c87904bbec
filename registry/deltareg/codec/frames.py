"""Zstandard frames: fixed parameters for writing, and a strict reader.

The obvious call, `decompress(data, max_output_size=n)`, ignores its limit when the frame declares a
size, and a streaming reader ends a truncated frame without an error. So a frame is read only after
its header has declared exactly the expected size, in one piece, and to its last byte.
"""

from typing import Final

import zstandard

from deltareg.codec.chunk_codec import build_integrity_failure

MAGIC: Final = b"\x28\xb5\x2f\xfd"
MAX_WINDOW_BYTES: Final = 8 << 20

# Huffman coding with hardly any search: weights hold no repeated strings, only skewed bytes, and
# a match found by chance costs more than its letters. The smallest table finds the fewest.
# target_length must stay 0: with the fast strategy anything above it turns literal coding off.
ENTROPY: Final = zstandard.ZstdCompressionParameters(
    compression_level=1,
    window_log=20,
    chain_log=6,
    hash_log=6,
    search_log=1,
    min_match=7,
    target_length=0,
    strategy=zstandard.STRATEGY_FAST,
    write_content_size=1,
    write_checksum=0,
    write_dict_id=0,
)
# Headers, configurations and tokenizers are text: search for repetitions as well.
GENERAL: Final = zstandard.ZstdCompressionParameters(
    compression_level=3,
    window_log=20,
    chain_log=16,
    hash_log=17,
    search_log=1,
    min_match=5,
    target_length=0,
    strategy=zstandard.STRATEGY_DFAST,
    write_content_size=1,
    write_checksum=0,
    write_dict_id=0,
)


def is_worth_it(frame: bytes, size_bytes: int) -> bool:
    """Whether a frame is stored at all: saving less than 1/32 is not worth decoding."""
    return len(frame) * 32 < size_bytes * 31


def open_compressor(parameters: zstandard.ZstdCompressionParameters) -> zstandard.ZstdCompressor:
    """Build a compressor for one thread."""
    return zstandard.ZstdCompressor(compression_params=parameters)


def open_decompressor() -> zstandard.ZstdDecompressor:
    """Build a decompressor for one thread."""
    return zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)


def read_frame(decompressor: zstandard.ZstdDecompressor, frame: bytes | memoryview, *, size_bytes: int) -> bytes:
    """Read exactly one frame that declares and holds exactly `size_bytes`.

    Raises:
        IntegrityFailure: Another size or no size is declared, the window is too large, the frame
            is cut, damaged, skippable, needs a dictionary, or something follows it.
    """
    if frame[: len(MAGIC)] != MAGIC:
        raise build_integrity_failure("a chunk does not hold a zstd frame")
    try:
        header = zstandard.get_frame_parameters(frame)
        if header.content_size != size_bytes:
            raise build_integrity_failure(f"a zstd frame declares {header.content_size} bytes, not {size_bytes}")
        if header.window_size > MAX_WINDOW_BYTES or header.dict_id:
            raise build_integrity_failure("a zstd frame asks for a larger window or for a dictionary")
        decoded = decompressor.decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise build_integrity_failure(f"a zstd frame cannot be read: {error}") from error
    if len(decoded) != size_bytes:
        raise build_integrity_failure(f"a zstd frame holds {len(decoded)} bytes, not {size_bytes}")
    return decoded
