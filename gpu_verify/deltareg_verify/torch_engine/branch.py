"""A low-rank update attached as a branch beside its module: y + s·(x Rᵀ)Lᵀ, never the product L·R.

Hu et al. 2021 (arXiv:2106.09685), section 4.1. Factors and the sum are float32; the sum is rounded
once to the dtype of the module's own output.
"""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from deltareg.kind import Factored
from deltareg_verify.torch_engine.ops import TorchOps, as_torch

Branch = Callable[[torch.Tensor], torch.Tensor]


def branch_for(
    module: nn.Module, shape: tuple[int, ...], update: Factored, ops: TorchOps
) -> Branch | None:
    """Give the function from a module's input to what the update adds to its output, in float32.

    None for a class of module that is not known here; subclasses may do anything and are not known.

    Args:
        module: The module that holds the weight as `weight`.
        shape: The weight's shape.
        update: Factors in the orientation of the weight.
        ops: Reads them.
    """
    left, right, scale = update.factors(ops)
    tall, wide = as_torch(left), as_torch(right)
    match module:
        case nn.Linear() if type(module) is nn.Linear:
            return lambda x: scale * functional.linear(functional.linear(x.float(), wide), tall)
        case Conv1D():  # its weight is (in, out)
            return lambda x: scale * (x.float() @ tall @ wide)
        case nn.Embedding() if type(module) is nn.Embedding:
            return lambda ids: scale * (functional.embedding(ids, tall) @ wide)
        case nn.Conv2d() if module.groups == 1 and module.padding_mode == "zeros":
            return _convolution(module, shape, tall, wide, scale)
        case _:
            return None


def _convolution(
    module: nn.Conv2d, shape: tuple[int, ...], tall: torch.Tensor, wide: torch.Tensor, scale: float
) -> Branch:
    down = wide.reshape(-1, *shape[1:])
    up = tall.reshape(shape[0], -1, 1, 1)
    stride, padding, dilation = module.stride, module.padding, module.dilation

    def add(x: torch.Tensor) -> torch.Tensor:
        inner = functional.conv2d(x.float(), down, None, stride, padding, dilation)
        return scale * functional.conv2d(inner, up)

    return add
