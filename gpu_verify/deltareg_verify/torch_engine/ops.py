"""The operations of `deltareg.kind.Ops` in torch, on any device."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Sequence
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
REAL = frozenset({"F64", "F32", "F16", "BF16"})


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
        if tensor.dtype not in REAL:
            raise InvalidInput(f"{tensor.name} is {tensor.dtype}, which holds no real numbers")
        return as_array(stored(tensor, start, stop).to(self.device, torch.float32))

    def nothing(self) -> torch.Tensor:
        """Stand in for a weight that does not matter."""
        return torch.empty(0, device=self.device)

    def row_norms(self, matrix: Array) -> Array:
        """Euclidean norm of every row."""
        return as_array(torch.linalg.vector_norm(as_torch(matrix), dim=1, keepdim=True))

    def column_norms(self, matrix: Array) -> Array:
        """Euclidean norm of every column."""
        return as_array(torch.linalg.vector_norm(as_torch(matrix), dim=0, keepdim=True))

    def with_rows(self, matrix: Array, rows: Sequence[int], values: Array) -> Array:
        """Put values in place of rows; a row that is not there is left out."""
        kept = [(i, row) for i, row in enumerate(rows) if 0 <= row < matrix.shape[0]]
        result = as_torch(matrix).clone()
        if kept:
            result[[row for _, row in kept]] = as_torch(values)[[i for i, _ in kept]]
        return as_array(result)

    def svd_part(self, matrix: Array, rank: int) -> Array:
        """What the largest singular values make up of a matrix."""
        u, s, v = torch.linalg.svd(as_torch(matrix), full_matrices=False)
        return as_array((u[:, :rank] * s[:rank]) @ v[:rank])

    def qr_part(self, matrix: Array, rank: int) -> Array:
        """Q[:, :rank] @ R[:rank] of a matrix."""
        q, r = torch.linalg.qr(as_torch(matrix))
        return as_array(q[:, :rank] @ r[:rank])


def as_array(tensor: torch.Tensor) -> Array:
    """Give a tensor to a formula."""
    return cast(Array, tensor)


def as_torch(array: Array) -> torch.Tensor:
    """Take a tensor back from a formula."""
    return cast(torch.Tensor, array)
