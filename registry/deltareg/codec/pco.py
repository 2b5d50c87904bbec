"""Codec 6: zigzag differences by pcodec, for the smallest fp32; the library is an extra.

Pcodec (Loncaric et al. 2025, arXiv 2502.06112) bins numbers by their size and codes the bin with
tANS and the rest as plain bits, which suits differences whose low bits are noise. Only the profile
`max` writes it: reading such a pack needs the library as well.
"""

from functools import cache
from importlib import import_module
from typing import Final, Protocol, cast

import numpy as np

from deltareg.codec.chunk_codec import PCODEC, build_integrity_failure, same_size
from deltareg.codec.scratch import Scratch, Words, octets, words_of
from deltareg.codec.zigzag import from_zigzag, to_zigzag
from deltareg.errors import Misconfigured

_LEVEL: Final = 8


class _Progress(Protocol):
    n_processed: int
    finished: bool


class _Standalone(Protocol):
    def simple_compress(self, src: Words, config: object) -> bytes: ...

    def simple_decompress_into(self, src: bytes, dst: Words) -> _Progress: ...


class Pcodec:
    """Stores the difference to the reference as numbers of pcodec."""

    id = PCODEC
    name = "pcodec"
    uses_reference = True

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch

    def encode(self, chunk: memoryview, reference: memoryview | None, *, item_bytes: int) -> bytes | None:
        against = words_of(same_size(reference, chunk.nbytes), item_bytes)
        library = _library()
        if library is None or item_bytes == 1:
            return None
        zigzag = self._scratch.words("words", count=against.size, item_bytes=item_bytes)
        sign = self._scratch.words("plane", count=against.size, item_bytes=item_bytes)
        np.subtract(words_of(chunk, item_bytes), against, out=zigzag)
        to_zigzag(zigzag, sign)
        payload = library[0].simple_compress(zigzag, library[1])
        return payload if len(payload) < chunk.nbytes else None

    def decode(
        self, payload: bytes | memoryview, reference: memoryview | None, *, size_bytes: int, item_bytes: int
    ) -> memoryview:
        against = words_of(same_size(reference, size_bytes), item_bytes)
        if item_bytes == 1:
            raise build_integrity_failure("a chunk of single bytes is never stored by pcodec")
        library = _library()
        if library is None:
            raise Misconfigured(
                "this version was pushed with --compression max, and pcodec is not installed",
                fix="pip install 'deltareg[pcodec]', then again",
            )
        words = self._scratch.lend(against.size, item_bytes)
        words.fill(0)
        try:
            progress = library[0].simple_decompress_into(bytes(payload), words)
        except BaseException as error:
            # Its Rust reports damage in two ways; one of them is no Exception.
            if not isinstance(error, RuntimeError) and type(error).__name__ != "PanicException":
                raise
            raise build_integrity_failure(f"a chunk of pcodec cannot be read: {error}") from error
        if progress.n_processed != words.size or not progress.finished:
            raise build_integrity_failure(f"a chunk of pcodec does not hold {words.size} numbers")
        sign = self._scratch.words("plane", count=against.size, item_bytes=item_bytes)
        from_zigzag(words, sign)
        np.add(words, against, out=words)
        return octets(words)


@cache
def _library() -> tuple[_Standalone, object] | None:
    """Return pcodec's standalone module and its write settings; None if the extra is not installed."""
    try:
        library = import_module("pcodec")
    except ImportError:
        return None
    return cast("_Standalone", library.standalone), library.ChunkConfig(compression_level=_LEVEL)
