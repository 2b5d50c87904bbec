"""The share that each module of the base has in a factor of a module of the original code."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from deltareg.delta.layouts.originals.original import OriginalModule
from deltareg.delta.maths.formula import Tensor
from deltareg.tensors.derived import DerivedTensor


@dataclass(frozen=True, slots=True)
class TensorRows(DerivedTensor[Tensor]):
    """Runs of rows of a tensor, one after the other, which are read when they are asked for."""

    runs: tuple[tuple[int, int], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions."""
        return (sum(stop - start for start, stop in self.runs), *self.origin.shape[1:])

    def read(self, start: int = 0, stop: int | None = None) -> memoryview:
        """Return the bytes of rows `start:stop`."""
        last = self.shape[0] if stop is None else stop
        blocks: list[memoryview] = []
        before = 0
        for first, end in self.runs:
            low, high = max(start - before, 0), min(last - before, end - first)
            if low < high:
                blocks.append(self.origin.read(first + low, first + high))
            before += end - first
        return blocks[0] if len(blocks) == 1 else memoryview(b"".join(blocks))


def rows_of(tensor: Tensor, original: OriginalModule, heights: Sequence[int]) -> list[Tensor]:
    """Divide a factor with a row for each output of the original among the base's modules.

    Args:
        tensor: The factor, with as many rows as the modules together.
        original: The module of the original code.
        heights: The outputs of each module of the base.
    """
    ends = [0, *accumulate(heights)]
    if original.is_turned:
        half = ends[-1] // 2
        return [TensorRows(tensor, ((half, ends[-1]), (0, half)))]
    return [TensorRows(tensor, (run,)) for run in pairwise(ends)]
