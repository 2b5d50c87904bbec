"""Single elements of a weight that change, given by their places."""

from dataclasses import dataclass

import numpy as np

from deltareg.delta.maths.formula import Array, Integers, Ops, Tensor
from deltareg.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class ScatterAdd:
    """W with `values` added at their places; a place that occurs twice gets both.

    Attributes:
        values: (k,).
        places: (2, k) rows and columns, or (k,) counted along the rows of W.
        shape: W's.
    """

    values: Tensor
    places: Tensor
    shape: tuple[int, int]
    needs_whole = False
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        """Return rows `start:stop` with the values that belong there added."""
        rows, columns = self._places(ops)
        values = ops.load(self.values)
        if values.shape != rows.shape:
            raise InvalidInput(f"{list(values.shape)} values for {len(rows)} places")
        inside = np.flatnonzero((rows >= start) & (rows < stop))
        places = (rows[inside] - start, columns[inside])
        return weight + ops.scatter(weight.shape, places, ops.take(values, inside, 0))

    def _places(self, ops: Ops) -> tuple[Integers, Integers]:
        """Return rows and columns, all within W: negative ones would count from the end."""
        height, width = self.shape
        places = ops.integers(self.places)
        flat = places if len(places.shape) == 1 else places[0] * width + places[1]
        is_inside = places.size == 0 or 0 <= int(flat.min()) <= int(flat.max()) < height * width
        if not is_inside or (len(places.shape) == 2 and not _is_within(places[1], width)):
            raise InvalidInput(f"an index of {self.places.name} is not within {list(self.shape)}")
        return flat // width, flat % width


def _is_within(places: Integers, size: int) -> bool:
    return places.size == 0 or 0 <= int(places.min()) <= int(places.max()) < size
