"""Running one codec over one set: what comes back is compared bit for bit, then it counts."""

import dataclasses
import gc
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash

from tests.benchmarks.peers import Buffer, Peer, Stored
from tests.benchmarks.weights import Weights, cache_folder

_WARM_BYTES = 1 << 20


@dataclass(frozen=True)
class Result:
    """One codec on one set. Bytes are of all tensors; seconds of one run.

    Attributes:
        note: Why there is no figure; empty when there is one.
        set_bytes: Bytes of the whole set, which `size_bytes` is not for a stretch of it.
    """

    set: str
    codec: str
    is_ours: bool
    size_bytes: int = 0
    stored_bytes: int = 0
    payload_bytes: int = 0
    encode_core_s: float = 0
    encode_wall_s: float = 0
    decode_core_s: float = 0
    decode_wall_s: float = 0
    changed: float | None = None
    set_bytes: int = 0
    note: str = ""

    @property
    def is_slice(self) -> bool:
        return 0 < self.size_bytes < self.set_bytes

    @property
    def ratio(self) -> float:
        return self.size_bytes / self.stored_bytes if self.stored_bytes else 0

    def rate(self, what: str) -> float:
        """Give MB of original bytes a second, by a field's name without its unit."""
        return self.size_bytes / 1e6 / max(getattr(self, f"{what}_s"), 1e-9)


@dataclass
class Clock:
    """CPU seconds of all threads of this process, and those on the wall, since `run` began."""

    core_s: float = 0
    wall_s: float = 0

    @contextmanager
    def run(self) -> Iterator[None]:
        gc.collect()
        began, worked = time.perf_counter(), time.process_time()
        yield
        self.wall_s, self.core_s = time.perf_counter() - began, time.process_time() - worked


def measure(peer: Peer, weights: Weights, *, repeat: int = 1) -> Result:
    """Encode and decode a set; the best of several runs counts, each by itself.

    What it costs to load a library is paid before, on a small stretch of the set.
    """
    about = Result(weights.name, peer.name, peer.is_ours, changed=weights.changed, set_bytes=weights.data.nbytes)
    if note := peer.missing():
        return dataclasses.replace(about, note=note)
    most = peer.limit_bytes
    given = weights if most is None or weights.data.nbytes <= most else weights.cut(most)
    _run(peer, weights.cut(_WARM_BYTES))
    runs = [_run(peer, given) for _ in range(repeat)]
    encoding = min((run[0] for run in runs), key=lambda clock: clock.core_s)
    decoding = min((run[1] for run in runs), key=lambda clock: clock.core_s)
    return dataclasses.replace(
        about,
        size_bytes=given.data.nbytes,
        stored_bytes=runs[0][2].size_bytes,
        payload_bytes=runs[0][2].payload_bytes,
        encode_core_s=encoding.core_s,
        encode_wall_s=encoding.wall_s,
        decode_core_s=decoding.core_s,
        decode_wall_s=decoding.wall_s,
    )


def _run(peer: Peer, weights: Weights) -> tuple[Clock, Clock, Stored]:
    assert len(weights.pieces) == len(weights.tensors)  # digests are taken before the clock starts
    assert len(weights.base_pieces) in {0, len(weights.tensors)}
    before = xxhash.xxh3_128_digest(weights.data.data)
    encoding, decoding = Clock(), Clock()
    with _scratch() as scratch:
        if peer.prepare is not None:
            peer.prepare(weights, scratch)
        with encoding.run():
            stored = peer.encode(weights, scratch)
        with decoding.run():
            found = list(peer.decode(stored, weights, scratch))
        check(peer, weights, found)
    if xxhash.xxh3_128_digest(weights.data.data) != before:
        raise SystemExit(f"{peer.name} wrote into what it was given")
    return encoding, decoding, stored


def check(peer: Peer, weights: Weights, found: list[Buffer]) -> None:
    """Hold what came back to what went in."""
    at = 0
    for buffer in found:
        part = np.frombuffer(buffer, np.uint8)
        if not np.array_equal(part, weights.data[at : at + part.size]):
            raise SystemExit(f"{peer.name} on {weights.name}: other bytes come back")
        at += part.size
    if at != weights.data.size:
        raise SystemExit(f"{peer.name} on {weights.name}: {at} bytes of {weights.data.size}")


@contextmanager
def _scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="scratch-", dir=cache_folder()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
