"""Updates attached beside their module: functions of its input and output, never a new weight.

Low rank: y + s·(x Rᵀ)Lᵀ (Hu et al. 2021, arXiv 2106.09685, section 4.1). Weight-decomposed:
m/‖V‖·(y - b + s·(x Rᵀ)Lᵀ) + b (Liu et al. 2024, arXiv 2402.09353, equation 5), with the norms of
V = W + s·L·R from Gram matrices. Both are float32 and rounded once to the dtype of the module's own
output; neither shares a step with the fold.
"""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from deltareg.delta.kind import ActivationHook, HookInputs, Tap
from deltareg.delta.maths.formula import Array, FactoredUpdate, Ops, Update, is_factored
from deltareg.delta.maths.updates import WeightDecomposed
from deltareg_verify.engine.torch_engine.ops import TorchOps, as_array, as_torch

Branch = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Added = Callable[[torch.Tensor], torch.Tensor]


def branch_for(module: nn.Module, update: Update, weight: torch.Tensor, ops: TorchOps) -> Branch | None:
    """Return the function from a module's input and output to its new output in float32.

    None for an update or a class of module that is unknown here; a subclass of a known class may do
    anything, so it counts as unknown.

    Args:
        module: The module that holds the weight as `weight`.
        update: The formula.
        weight: The weight that the module runs with beneath the branch.
        ops: Reads its tensors.
    """
    if isinstance(update, WeightDecomposed):
        return _build_decomposed(module, update, weight, ops)
    if not is_factored(update):
        return None
    added = _build_factored(module, update, ops)
    return None if added is None else lambda x, y: y + added(x)


@dataclass(frozen=True, slots=True)
class BranchHook:
    """A branch as a hook on its module.

    Attributes:
        branch: The function.
    """

    branch: Branch

    def apply(self, value: Array, seen: HookInputs, ops: Ops) -> Array:
        """Return the module's output with the update."""
        return as_array(self.branch(as_torch(seen.arrays["x"]), as_torch(value)))


def as_hook(path: str, branch: Branch) -> ActivationHook:
    """Turn a branch into a hook on its module."""
    return ActivationHook(path, "after", {"x": Tap(path, "input")}, {}, BranchHook(branch))


def has_branch(update: Update) -> bool:
    """Return whether there is a branch for an update on some class of module."""
    return isinstance(update, WeightDecomposed) or is_factored(update)


def _build_factored(module: nn.Module, update: FactoredUpdate, ops: TorchOps) -> Added | None:
    left, right, scale = update.factors(ops)
    tall, wide = as_torch(left), as_torch(right)
    match module:
        case nn.Linear() if type(module) is nn.Linear:
            return lambda x: scale * functional.linear(functional.linear(x.float(), wide), tall)
        case Conv1D():  # its weight is (in, out)
            return lambda x: scale * (x.float() @ tall @ wide)
        case nn.Embedding() if type(module) is nn.Embedding:
            # A hook sees float32, in which the number of a token is exact.
            return lambda ids: scale * (functional.embedding(ids.long(), tall) @ wide)
        case nn.Conv2d() if module.groups == 1 and module.padding_mode == "zeros":
            return _convolution(module, tall, wide, scale)
        case _:
            return None


def _convolution(module: nn.Conv2d, tall: torch.Tensor, wide: torch.Tensor, scale: float) -> Added:
    down = wide.reshape(-1, *module.weight.shape[1:])
    up = tall.reshape(module.out_channels, -1, 1, 1)
    stride, padding, dilation = module.stride, module.padding, module.dilation

    def add(x: torch.Tensor) -> torch.Tensor:
        inner = functional.conv2d(x.float(), down, None, stride, padding, dilation)
        return scale * functional.conv2d(inner, up)

    return add


def _build_decomposed(
    module: nn.Module, update: WeightDecomposed, weight: torch.Tensor, ops: TorchOps
) -> Branch | None:
    added = _build_factored(module, update.direction, ops)
    module_class = {"rows": nn.Linear, "columns": Conv1D}[update.outputs]
    if added is None or not isinstance(module, module_class):
        return None
    left, right, scale = update.direction.factors(ops)
    tall, wide = as_torch(left), as_torch(right)
    if update.outputs == "columns":
        tall, wide, weight = wide.T, tall.T, weight.T
    factor = as_torch(ops.load(update.magnitude)).reshape(-1) / _row_norms(weight, tall, wide, scale)
    own = dict(module.named_parameters(recurse=False)).get("bias")
    bias = torch.zeros(1, device=ops.device) if own is None else own.detach().float()
    return lambda x, y: factor * (y - bias + added(x)) + bias


def _row_norms(weight: torch.Tensor, tall: torch.Tensor, wide: torch.Tensor, scale: float) -> torch.Tensor:
    """Return the norms of the rows w + s·l·R: ‖w‖² + 2s·l·(R w) + s²·l·(R Rᵀ)·l, in float64."""
    w, left, right = weight.detach().double(), tall.double(), wide.double()
    crossed = 2 * scale * (left * (w @ right.T)).sum(1)
    inner = scale * scale * ((left @ (right @ right.T)) * left).sum(1)
    return (w.square().sum(1) + crossed + inner).clamp_min(0).sqrt().float()
