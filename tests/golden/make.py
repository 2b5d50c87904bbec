"""Golden packs: what they hold, and the one way in which they were made.

`python tests/golden/make.py` writes the files that are missing under `tests/golden/v1`. It never
writes over one: a pack that was stored once must be readable for ever, so a golden file is added
with each new format and none is changed. Tensors come from SHAKE-128, whose output no library will
ever change.
"""

import hashlib
import json
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import zstandard

from deltareg.codec import CHUNK_ELEMENTS, PackEncoder, PieceSource
from deltareg.digest import tensor_digest
from deltareg.identity.manifest import Piece
from deltareg.identity.storage_map import Chain
from deltareg.tensors.header import ITEM_BYTES

FOLDER = Path(__file__).parent / "v1"


@dataclass(frozen=True)
class Tensor:
    """A tensor, and the one that it is encoded against."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes
    reference: bytes | None = None

    def source(self) -> PieceSource:
        """Give it to the encoder."""
        if self.reference is None:
            return PieceSource(self._piece(self.data), reader(self.data))
        reference = self._piece(self.reference)
        return PieceSource(self._piece(self.data), reader(self.data), reference, reader(self.reference))

    def _piece(self, data: bytes) -> Piece:
        digest = tensor_digest(self.dtype, self.shape, [data])
        return Piece(digest, self.dtype, self.shape, len(data))


def reader(data: bytes):
    """Read ranges of bytes at hand."""
    view = memoryview(data)
    return lambda begin, end: view[begin:end]


def octets(name: str, count: int) -> np.ndarray:
    """Give pseudo-random bytes, the same for ever."""
    return np.frombuffer(hashlib.shake_128(name.encode()).digest(count), np.uint8)


def weights(name: str, count: int, item_bytes: int) -> np.ndarray:
    """Make words like those of weights: a random sign, few exponents, a random mantissa."""
    words = np.zeros(count, f"<u{item_bytes}")
    for plane in range(item_bytes):
        words |= octets(f"{name} {plane}", count).astype(words.dtype) << (8 * plane)
    depth = np.unpackbits(octets(f"{name} depth", count)).reshape(-1, 8).sum(axis=1).astype(words.dtype)
    exponent_bits = {2: 8, 4: 8, 8: 11}[item_bytes]
    mantissa_bits = 8 * item_bytes - 1 - exponent_bits
    exponent = words.dtype.type((1 << (exponent_bits - 1)) - 12) + depth
    sign = words & words.dtype.type(1 << (8 * item_bytes - 1))
    mantissa = words & words.dtype.type((1 << mantissa_bits) - 1)
    return sign | (exponent << mantissa_bits) | mantissa


def moved(name: str, words: np.ndarray, *, every: int) -> np.ndarray:
    """Move about one word of `every` by at most three units, up or down."""
    chance = octets(f"{name} chance", words.size)
    step = (octets(f"{name} step", words.size) % 7).astype(words.dtype) - words.dtype.type(3)
    return np.where(chance % every == 0, words + step, words).astype(words.dtype)


def pair(name: str, dtype: str, shape: tuple[int, ...], *, every: int = 3) -> Tensor:
    """Make a tensor and its reference."""
    item_bytes = ITEM_BYTES[dtype]
    count = int(np.prod(shape))
    base = octets(name, count) >> 3 if item_bytes == 1 else weights(name, count, item_bytes)
    return Tensor(dtype, shape, moved(name, base, every=every).tobytes(), base.tobytes())


def far(name: str, dtype: str, shape: tuple[int, ...], *, bits: int = 8) -> Tensor:
    """Make a tensor and its reference: small words move by up to `bits` bits, large ones little."""
    item_bytes = ITEM_BYTES[dtype]
    base = weights(name, int(np.prod(shape)), item_bytes)
    size = (base << 1) >> (8 * item_bytes - 8)  # the exponent, about
    depth = np.minimum(size.max() - size, bits).astype(base.dtype)
    noise = weights(f"{name} step", base.size, item_bytes) & ((base.dtype.type(1) << depth) - 1)
    return Tensor(dtype, shape, (base + noise).astype(base.dtype).tobytes(), base.tobytes())


def rows(name: str, dtype: str, shape: tuple[int, int], *, every: int) -> Tensor:
    """Make a tensor and its reference: of stretches of four rows one of `every` moves."""
    one = far(name, dtype, shape)
    words = np.frombuffer(one.data, f"<u{ITEM_BYTES[dtype]}").reshape(shape).copy()
    base = np.frombuffer(one.reference or b"", words.dtype).reshape(shape)
    stays = np.arange(shape[0]) // 4 % every != 0
    words[stays] = base[stays]
    return Tensor(dtype, shape, words.tobytes(), base.tobytes())


def alone(name: str, dtype: str, shape: tuple[int, ...]) -> Tensor:
    """Make a tensor without a reference."""
    return Tensor(dtype, shape, weights(name, int(np.prod(shape)), ITEM_BYTES[dtype]).tobytes())


def unchanged(name: str, dtype: str, shape: tuple[int, ...]) -> Tensor:
    """Make a tensor that is its reference."""
    one = alone(name, dtype, shape)
    return Tensor(dtype, shape, one.data, one.data)


def special(dtype: str) -> Tensor:
    """Take every kind of bit pattern against every other: NaN, infinity, zeros, subnormals."""
    item_bytes = ITEM_BYTES[dtype]
    top = 8 * item_bytes
    edges = [0, 1, 1 << (top - 1), (1 << (top - 1)) | 1, (1 << top) - 1, (1 << (top - 1)) - 1]
    if item_bytes > 1:
        exponent = {"F16": 5, "F64": 11}.get(dtype, 8)
        infinity = ((1 << exponent) - 1) << (top - 1 - exponent)
        edges += [infinity, infinity | (1 << (top - 1)), infinity | 1, infinity - 1]
    words = np.array(edges, f"<u{item_bytes}")
    left, right = np.repeat(words, 40 * words.size), np.tile(words, 40 * words.size)
    return Tensor(dtype, (left.size,), left.tobytes(), right.tobytes())


TEXT = "".join(
    f'{{"name": "layers.{n}.attention.{part}.weight", "dtype": "BF16", "shape": [64, 64]}}\n'
    for n in range(40)
    for part in ("query", "key", "value", "output")
).encode()

# Written before newer codecs were there, or to show one that the default would not take.
PROFILES = {"planes": "planes", "subtract": "planes", "chunks": "planes", "packed": "fast", "pcodec": "pcodec"}

CASES: dict[str, list[Tensor]] = {
    "raw": [Tensor("U8", (3000,), octets("raw", 3000).tobytes()), Tensor("F32", (), b"\0\0\x80\x3f")],
    "zstd": [Tensor("U8", (len(TEXT),), TEXT)],
    "planes": [
        alone("planes bf16", "BF16", (60, 100)),
        alone("planes f32", "F32", (25, 40, 2)),
        alone("planes f64", "F64", (500,)),
        Tensor("I64", (512,), np.arange(512, dtype="<i8").tobytes()),
    ],
    "subtract": [
        pair("subtract bf16", "BF16", (80, 100)),
        pair("subtract f16", "F16", (4000,), every=2),
        pair("subtract f32", "F32", (50, 40), every=1),
        pair("subtract f64", "F64", (700,)),
        pair("subtract i8", "I8", (40, 50)),
        unchanged("unchanged", "BF16", (30, 30)),
    ],
    "packed": [
        pair("packed bf16", "BF16", (80, 100)),
        pair("packed f16", "F16", (4001,), every=40),
        pair("packed f32", "F32", (50, 40), every=1),
        far("packed f64", "F64", (1000,)),
        far("packed wide", "F32", (3000,), bits=20),
        pair("packed zeros", "BF16", (9001,), every=251),
    ],
    "contexts": [
        far("contexts bf16", "BF16", (150, 200)),
        far("contexts f16", "F16", (20_003,), bits=4),
        far("contexts f32", "F32", (70, 300), bits=12),
        far("contexts f64", "F64", (9000,), bits=5),
        pair("contexts of one class", "BF16", (2000,)),
    ],
    "blocks": [
        rows("blocks bf16", "BF16", (120, 200), every=3),
        rows("blocks f16", "F16", (301, 67), every=2),
        rows("blocks f32", "F32", (60, 130), every=6),
        rows("blocks f64", "F64", (40, 129), every=4),
    ],
    "floats": [
        alone("floats bf16", "BF16", (150, 101)),
        alone("floats f16", "F16", (4001,)),
        alone("floats f32", "F32", (77, 101)),
        alone("floats f64", "F64", (1001,)),
    ],
    "lengths": [
        far("lengths bf16", "BF16", (768,)),
        far("lengths f16", "F16", (2048,), bits=6),
        far("lengths f32", "F32", (33, 31), bits=18),
        far("lengths f64", "F64", (257,), bits=40),
        pair("lengths of few bits", "BF16", (384,), every=1),
    ],
    "pcodec": [
        far("pcodec f32", "F32", (80, 100), bits=12),
        far("pcodec bf16", "BF16", (3000,)),
        far("pcodec f64", "F64", (1000,), bits=30),
    ],
    "special": [special(dtype) for dtype in sorted(ITEM_BYTES)],
    "chunks": [pair("chunks", "BF16", (2, CHUNK_ELEMENTS + 7), every=251)],
}


def encode(name: str) -> tuple[bytes, dict[str, object]]:
    """Encode a case: the pack, and what is written down beside it."""
    sources = [tensor.source() for tensor in CASES[name]]
    encoder = PackEncoder(sources, workers=1, profile=PROFILES.get(name, "default"))
    (pack,) = encoder.packs()
    pieces = encoder.pieces
    described = [
        {
            "dtype": s.piece.dtype,
            "shape": list(s.piece.shape),
            "digest": str(s.piece.digest),
            "stored": json.loads(Chain((pieces[s.piece.digest],)).encode()),
        }
        for s in sources
    ]
    zstd = ".".join(map(str, zstandard.ZSTD_VERSION))
    made_with = {"zstd": zstd}
    if name == "pcodec":
        made_with["pcodec"] = version("pcodec")
    return bytes(pack.data), {"pack": str(pack.digest), **made_with, "pieces": described}


def main() -> int:
    """Write what is missing."""
    FOLDER.mkdir(exist_ok=True)
    for name in CASES:
        path = FOLDER / f"{name}.pack"
        if path.exists():
            print(f"{path.name} is there and stays")
            continue
        data, described = encode(name)
        path.write_bytes(data)
        path.with_suffix(".json").write_text(json.dumps(described, indent=1) + "\n")
        print(f"{path.name}: {len(data)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
