"""Codec 9: codes the exponent with the first bits of the fraction, for weights by themselves.

Weights get rarer as they get larger, within one exponent as well as from one to the next, so the
highest bits of the fraction are not quite noise. A word is counted down from the largest exponent
that is common in the chunk: twelve exponents, in eight steps each, are Huffman-coded, words that do
not fit are stored separately, and the lowest bits, with the sign, are stored as they are. ZipNN
(Hershcovitch et al., 2024, arXiv 2411.05239) codes the exponent alone. Layout: docs/format.md,
Floats.
"""

import struct
from typing import Final

import numpy as np

from deltareg.codec.byte_planes import BytePlanes
from deltareg.codec.chunk_codec import FLOATS, build_integrity_failure
from deltareg.codec.frames import ENTROPY, is_worth_it, open_compressor, open_decompressor, read_frame
from deltareg.codec.kernels import kernel
from deltareg.codec.scratch import Scratch, Words, octets, words_of

_HEAD: Final = struct.Struct("<BI")
_CODE: Final = 96  # of twelve exponents in eight steps; Huffman codes suffer from rarer ones
_HIGH_BITS: Final = 11
_BOTH: Final = 0x0F0F
_RARE: Final = 1024  # one word of so many may lie above the exponent that is counted down from


class FloatsCodec:
    """Stores a chunk as steps down from its largest exponent."""

    id = FLOATS
    name = "floats"
    uses_reference = False

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._planes = BytePlanes(scratch)
        self._compressor = open_compressor(ENTROPY)
        self._decompressor = open_decompressor()

    def encode(self, chunk: memoryview, reference: memoryview | None, *, item_bytes: int) -> bytes | None:
        del reference
        if item_bytes == 1:
            return None
        words = words_of(chunk, item_bytes)
        top = _common_top(kernel().histogram(words), words.size)
        down = self._buffer("words", words)
        spare = self._buffer("plane", words)
        np.left_shift(words, 1, out=down)
        np.right_shift(words, 8 * item_bytes - 1, out=spare)
        np.bitwise_or(down, spare, out=down)
        np.subtract(_highest(top, item_bytes), down, out=down)
        np.right_shift(down, 8 * item_bytes - _HIGH_BITS, out=spare)
        escapes = spare[np.flatnonzero(spare >= _CODE)]
        symbols = self._scratch.words("octets", count=words.size, item_bytes=1)
        np.copyto(symbols, np.minimum(spare, _CODE, out=spare), casting="unsafe")
        frame = self._compressor.compress(octets(symbols))
        if not is_worth_it(frame, symbols.size):
            return None
        rest = self._planes.pack(escapes) if escapes.size else b""
        payload = b"".join((_HEAD.pack(top, len(frame)), frame, *_lows(down, spare), rest))
        return payload if len(payload) < chunk.nbytes else None

    def decode(
        self, payload: bytes | memoryview, reference: memoryview | None, *, size_bytes: int, item_bytes: int
    ) -> memoryview:
        del reference
        if item_bytes == 1:
            raise build_integrity_failure("single bytes are never stored as floats")
        count = size_bytes // item_bytes
        words = self._scratch.lend(count, item_bytes)
        top, frame, lows, rest = _split(memoryview(payload), count, item_bytes)
        symbols = np.frombuffer(read_frame(self._decompressor, frame, size_bytes=count), dtype=np.uint8)
        np.copyto(words, symbols)
        self._fill(words, rest)
        np.left_shift(words, 8 * item_bytes - _HIGH_BITS, out=words)
        self._add_lows(words, lows)
        np.subtract(_highest(top, item_bytes), words, out=words)
        sign = self._buffer("plane", words)
        np.left_shift(words, 8 * item_bytes - 1, out=sign)
        np.right_shift(words, 1, out=words)
        np.bitwise_or(words, sign, out=words)
        return octets(words)

    def _fill(self, words: Words, rest: memoryview) -> None:
        places = np.flatnonzero(words >= _CODE)
        if places.size:
            escapes = self._scratch.words("escapes", count=places.size, item_bytes=words.itemsize)
            self._planes.unpack_into(escapes, rest)
            words[places] = escapes
        elif rest:
            raise build_integrity_failure(f"{len(rest)} bytes follow a chunk of floats without escapes")

    def _add_lows(self, words: Words, lows: memoryview) -> None:
        nibbles = np.frombuffer(lows[: (words.size + 1) // 2], dtype=np.uint8)
        pairs = nibbles.astype("<u2")  # two at once: those of a byte go to one little-endian word
        np.bitwise_or(pairs, pairs << 4, out=pairs)
        each = np.bitwise_and(pairs, _BOTH, out=pairs).view(np.uint8)[: words.size]
        end = nibbles.size + (words.size + 7) // 8
        fifths = np.frombuffer(lows[nibbles.size : end], dtype=np.uint8)
        bits = np.unpackbits(fifths, bitorder="little", count=words.size)
        np.bitwise_or(each, np.left_shift(bits, 4, out=bits), out=each)
        spare = self._buffer("plane", words)
        np.copyto(spare, each)
        below = words.itemsize - 2
        np.left_shift(spare, 8 * below, out=spare)
        np.bitwise_or(words, spare, out=words)
        if below:
            whole = np.frombuffer(lows[end:], dtype=np.uint8)
            words.view(np.uint8).reshape(-1, words.itemsize)[:, :below] = whole.reshape(-1, below)

    def _buffer(self, name: str, words: Words) -> Words:
        return self._scratch.words(name, count=words.size, item_bytes=words.itemsize)


def _common_top(histogram: list[int], count: int) -> int:
    """Find the largest magnitude that only few words exceed."""
    above = 0
    for top in reversed(range(256)):
        above += histogram[top]
        if above * _RARE > count:
            return top
    return 0


def _highest(top: int, item_bytes: int) -> Words:
    """Return the largest word of a magnitude, with its sign in the lowest bit."""
    below = 8 * item_bytes - 8
    return np.array((top << below) | ((1 << below) - 1), dtype=f"<u{item_bytes}")


def _lows(down: Words, spare: Words) -> tuple[bytes, bytes, bytes]:
    """Encode the bits below the highest eleven: four by four, the fifth ones, then whole bytes."""
    below = down.itemsize - 2
    np.right_shift(down, 8 * below, out=spare)
    each = np.zeros(down.size + down.size % 2, dtype=np.uint8)
    np.copyto(each[: down.size], spare, casting="unsafe")
    pairs = np.bitwise_and(each.view("<u2"), _BOTH)
    nibbles = np.bitwise_or(pairs, pairs >> 4, out=pairs).astype(np.uint8)
    fifths = np.packbits(np.bitwise_and(each[: down.size], 16), bitorder="little")
    whole = down.view(np.uint8).reshape(-1, down.itemsize)[:, :below]
    return nibbles.tobytes(), fifths.tobytes(), whole.tobytes()


def _split(payload: memoryview, count: int, item_bytes: int) -> tuple[int, memoryview, memoryview, memoryview]:
    """Split a payload into the top, the frame, the low bits and the rest."""
    if len(payload) < _HEAD.size:
        raise build_integrity_failure("a chunk of floats ends in its head")
    top, length = _HEAD.unpack_from(payload)
    begin = _HEAD.size + length
    end = begin + (count + 1) // 2 + (count + 7) // 8 + count * (item_bytes - 2)
    if end > len(payload):
        raise build_integrity_failure(f"floats of {end} bytes in a chunk of {len(payload)}")
    return top, payload[_HEAD.size : begin], payload[begin:end], payload[end:]
