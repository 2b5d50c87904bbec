"""The operations of `deltareg.kind.Ops` in torch, on any device."""

from dataclasses import dataclass
from typing import cast

import torch

from deltareg.errors import InvalidInput
from deltareg.kind import Array, Tensor

DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def stored(tensor: Tensor, start: int = 0, stop: int | None = None) -> torch.Tensor:
    """Read rows of a tensor in its own dtype, onto the CPU.

    Raises:
        InvalidInput: torch has no such dtype.
    """
    if tensor.dtype not in DTYPES:
        raise InvalidInput(f"{tensor.name} is {tensor.dtype}, which this engine does not read")
    data = bytearray(tensor.read(start, stop))  # torch wants memory that it may write
    flat = torch.frombuffer(data, dtype=DTYPES[tensor.dtype])
    return flat.reshape(-1, *tensor.shape[1:]) if tensor.shape else flat.reshape(())


@dataclass(frozen=True, slots=True)
class TorchOps:
    """Reads and measures on one device.

    Attributes:
        device: Where arrays live.
    """

    device: torch.device

    def load(self, tensor: Tensor, start: int = 0, stop: int | None = None) -> Array:
        """Read rows `start:stop` as float32: exact but for F64, which is rounded."""
        if tensor.dtype not in {"F64", "F32", "F16", "BF16"}:
            raise InvalidInput(f"{tensor.name} is {tensor.dtype}, which holds no real numbers")
        return as_array(stored(tensor, start, stop).to(self.device, torch.float32))

    def row_norms(self, matrix: Array) -> Array:
        """Euclidean norm of every row."""
        return as_array(torch.linalg.vector_norm(as_torch(matrix), dim=1, keepdim=True))

    def column_norms(self, matrix: Array) -> Array:
        """Euclidean norm of every column."""
        return as_array(torch.linalg.vector_norm(as_torch(matrix), dim=0, keepdim=True))


def as_array(tensor: torch.Tensor) -> Array:
    """Give a tensor to a formula."""
    return cast(Array, tensor)


def as_torch(array: Array) -> torch.Tensor:
    """Take a tensor back from a formula."""
    return cast(torch.Tensor, array)
