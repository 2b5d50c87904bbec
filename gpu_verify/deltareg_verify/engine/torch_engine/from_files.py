"""A base's tensors as the memory of its files: reading them copies nothing.

The files are mapped to be read only, and shared, so their pages are no memory of this process: the
kernel drops them when it needs room, and no bound on private memory counts them. A tensor of
another dtype, or one assembled from several tensors, is copied.
"""

# torch is typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false

from collections.abc import Collection, Mapping
from pathlib import Path

import torch

from deltareg.delta.kind import BaseView
from deltareg.delta.maths.formula import Tensor
from deltareg_verify.engine.torch_engine.networks import told_dtype
from deltareg_verify.engine.torch_engine.ops import DTYPES, borrow_rows


def map_tensors(tensors: Mapping[str, Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors of a base as the memory of its files; tensors of unknown dtypes are skipped."""
    return {n: borrow_rows(tensor) for n, tensor in tensors.items() if tensor.dtype in DTYPES}


def blank_values(
    values: Mapping[str, torch.Tensor], names: Collection[str], dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """Replace the real numbers of these names with zeros that take no memory."""
    blank = torch.zeros((), dtype=dtype)
    return {
        name: blank.expand(value.shape) if name in names and value.is_floating_point() else value
        for name, value in values.items()
    }


def dtype_of(path: Path, view: BaseView, tensors: Mapping[str, Tensor]) -> torch.dtype:
    """Return the dtype that a base runs in by itself: its config's, else its first tensor's.

    Raises:
        Inconclusive: Its config cannot be read.
    """
    config_dtype = told_dtype(path, view)
    if config_dtype is not None:
        return config_dtype
    dtypes = (DTYPES[tensor.dtype] for tensor in tensors.values() if tensor.dtype in DTYPES)
    return next((dtype for dtype in dtypes if dtype.is_floating_point), torch.float32)
