"""What a codec of the benchmark is: two functions, and what they need."""

import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.weights import Weights

Buffer = bytes | bytearray | memoryview
STEP_BYTES = 8 << 20  # how much those take at a time that have no measure of their own


@dataclass(frozen=True)
class Stored:
    """What an encoder kept: all that it costs to store the set, and what decoding needs."""

    size_bytes: int
    parts: object
    payload_bytes: int = 0  # without the documents, where there are some

    @classmethod
    def of(cls, frames: Iterable[Buffer]) -> "Stored":
        """Count frames, with four bytes each for its length."""
        kept = list(frames)
        return cls(sum(len(frame) + 4 for frame in kept), kept)

    @property
    def frames(self) -> list[Buffer]:
        assert isinstance(self.parts, list)
        return self.parts


@dataclass(frozen=True)
class Peer:
    """One codec.

    Attributes:
        name: Its row.
        encode: Stores a set; a scratch folder is at hand.
        decode: Gives the bytes of all tensors back, in order.
        needs: Modules that have to be installed.
        uses_base: Whether it makes use of a base. One that does is left out of sets without.
        prepare: What happens before a fine-tune comes, off the clock: storing the base.
        dtypes: The only ones that it knows, if not all.
        limit_bytes: More than this takes too long: it gets a stretch from the set's middle.
        lack: Tells what else is missing, if anything.
        is_ours: Whether it is this library.
    """

    name: str
    encode: Callable[[Weights, Path], Stored]
    decode: Callable[[Stored, Weights, Path], Iterable[Buffer]]
    needs: tuple[str, ...] = ()
    uses_base: bool = False
    prepare: Callable[[Weights, Path], object] | None = None
    dtypes: frozenset[str] | None = None
    limit_bytes: int | None = None
    lack: Callable[[], str] | None = None
    is_ours: bool = False

    def missing(self) -> str:
        """Say why it cannot run here; empty when it can."""
        absent = [name for name in self.needs if importlib.util.find_spec(name) is None]
        if absent:
            return f"not installed: {', '.join(absent)}"
        return "" if self.lack is None else self.lack()

    def takes(self, weights: Weights) -> bool:
        """Whether it has anything to say of a set."""
        has_base = weights.base is not None or not self.uses_base
        return has_base and (self.dtypes is None or weights.dtype in self.dtypes)
