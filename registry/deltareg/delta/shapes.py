"""Formulas run on shapes alone, to check that an update fits its weight without reading data.

Every kind gets this check from the engine, so a formula that would stretch, repeat or cut a tensor
to make it fit is refused before any data is touched.
"""

from dataclasses import dataclass

from deltareg.delta.kind import DeltaFiles
from deltareg.delta.maths.formula import Tensor, Update
from deltareg.delta.maths.shape_ops import ShapeArray, ShapeOps, format_shape
from deltareg.errors import InvalidInput
from deltareg.tensors.derived import DerivedTensor, TensorSpec


@dataclass(frozen=True, slots=True)
class HeaderTensor(DerivedTensor[TensorSpec]):
    """A tensor of which only the header is at hand."""

    def read(self, start: int = 0, stop: int | None = None) -> memoryview:
        raise InvalidInput(f"only the header of {self.name} is at hand, its data is not")


def header_tensors(files: DeltaFiles) -> dict[str, Tensor]:
    """Return the tensors of all headers, without data."""
    return {name: HeaderTensor(info) for header in files.headers.values() for name, info in header.tensors.items()}


def misfit(update: Update, shape: tuple[int, ...]) -> str:
    """Return why an update does not fit a weight of this shape; empty if it does.

    Tensors that it computes with must hold real numbers; a replacement need not.
    """
    try:
        rows = shape[0] if shape else 1
        result = update.fold(ShapeArray(shape), 0, rows, ShapeOps(rows, are_real=not update.replaces))
    except InvalidInput as error:
        return error.message
    return "" if result.shape == shape else f"makes {format_shape(result.shape)} of {format_shape(shape)}"
