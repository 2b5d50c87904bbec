"""Trains the tensors of a delta a little, on the network that they act on.

The formulas that attach a delta run on torch, so a loss has gradients in the delta's stored tensors,
whatever their kind. Nothing of the network itself is changed. This makes broken deltas for a
backtest; it is no trainer for a delta that somebody is to use.
"""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.func import functional_call
from torch.nn import functional
from transformers import PreTrainedModel

from deltareg.delta.kind import Effect, WeightUpdate
from deltareg.delta.maths.formula import Array, StoredUpdate, Tensor
from deltareg.errors import InvalidInput
from deltareg_verify.engine.case import BaseFiles
from deltareg_verify.engine.torch_engine.hooks import attach_hooks
from deltareg_verify.engine.torch_engine.load import LoadedNetwork
from deltareg_verify.engine.torch_engine.networks.calling import asked_for
from deltareg_verify.engine.torch_engine.ops import KeepingOps, as_array
from deltareg_verify.engine.torch_engine.plan import NetworkPlan, make_plan
from deltareg_verify.engine.torch_engine.prefix import insert_prefixes
from deltareg_verify.engine.training_rows import IGNORED, TrainingRows

F32 = NDArray[np.float32]
_AT_ONCE = 32
_LEAST_STEP = 1e-3  # of a tensor that nothing has moved yet


@dataclass(frozen=True, slots=True)
class TrainingOps(KeepingOps):
    """The same operations, but tensors of the delta are read as they are at this step of a training.

    Attributes:
        live: The trained tensors, by the identity of the stored ones (`_key`).
    """

    live: Mapping[int, torch.Tensor] = field(default_factory=dict[int, torch.Tensor])

    def load(self, tensor: Tensor, start: int = 0, stop: int | None = None, *, is_part: bool = False) -> Array:
        """Read rows of a tensor."""
        value = self.live.get(_key(tensor))
        if value is None:
            return KeepingOps.load(self, tensor, start, stop)
        # A clone, as formulas may write into what they were given.
        return as_array(value.clone() if value.ndim == 0 else value[start:stop].clone())


@dataclass(frozen=True, slots=True)
class RowsMeasure:
    """How good a network is on rows.

    Attributes:
        loss: In nats for each label.
        right: The share of labels that it finds likeliest.
    """

    loss: float
    right: float


class DeltaTrainer:
    """The tensors of one delta, to be trained on one network."""

    def __init__(
        self,
        network: LoadedNetwork,
        base: BaseFiles,
        effects: Sequence[Effect],
        stored: Mapping[str, tuple[Tensor, float]],
        device: torch.device,
    ) -> None:
        """Prepare a training.

        Args:
            network: The base's network, with nothing on it.
            base: Its files.
            effects: The effects of the delta; they read the stored tensors.
            stored: The tensors to train, by name, each with the root of the mean square of what
                training has changed in it so far: steps are as large as a share of that.
            device: The device of the network.
        """
        self._network, self._base, self._effects, self._device = network, base, effects, device
        self._sizes = {name: size for name, (_, size) in stored.items()}
        self._live = {
            name: torch.zeros(tensor.shape, device=device, requires_grad=True) for name, (tensor, _) in stored.items()
        }
        live = {_key(tensor): self._live[name] for name, (tensor, _) in stored.items()}
        self._ops = TrainingOps(device, live=live)
        self._whole = {
            effect.target: live[_key(effect.update.stored)]
            for effect in effects
            if isinstance(effect, WeightUpdate)
            and isinstance(effect.update, StoredUpdate)
            and _key(effect.update.stored) in live
        }
        self._optimiser: torch.optim.Optimizer | None = None

    def begin(self, values: Mapping[str, F32], *, rate: float) -> None:
        """Begin a training at these values.

        Args:
            values: By name.
            rate: How far a step goes, as a share of what training has changed so far.
        """
        self.put(values)
        usual = float(np.median([size for size in self._sizes.values() if size > 0] or [_LEAST_STEP / rate]))
        groups = [{"params": [self._live[name]], "lr": rate * (size or usual)} for name, size in self._sizes.items()]
        self._optimiser = torch.optim.Adam(groups, betas=(0.9, 0.99))

    def hurry(self, factor: float) -> None:
        """Take larger steps from now on."""
        assert self._optimiser is not None, "begun"
        for group in self._optimiser.param_groups:
            group["lr"] *= factor

    def put(self, values: Mapping[str, F32]) -> None:
        """Set the tensors."""
        with torch.no_grad():
            for name, tensor in self._live.items():
                tensor.copy_(torch.from_numpy(np.ascontiguousarray(values[name])).reshape(tensor.shape))

    def values(self) -> dict[str, F32]:
        """Return the tensors as they are now."""
        return {name: tensor.detach().cpu().numpy().copy() for name, tensor in self._live.items()}

    def step(self, rows: TrainingRows) -> bool:
        """Take one step on a few rows; returns whether there was a direction to go.

        Raises:
            InvalidInput: The network has no loss on such rows.
        """
        assert self._optimiser is not None, "begun"
        slopes = self._slopes(rows)
        known = [slope for slope in slopes if slope is not None]
        if not known or not all(bool(slope.isfinite().all()) for slope in known):
            return False
        for tensor, slope in zip(self._live.values(), slopes, strict=True):
            tensor.grad = slope
        self._optimiser.step()
        self._optimiser.zero_grad()
        return True

    def gradients(self, rows: TrainingRows) -> dict[str, F32]:
        """Return the gradients of the loss for each label, of the tensors that it depends on."""
        slopes = zip(self._live, self._slopes(rows), strict=True)
        return {name: slope.cpu().numpy() for name, slope in slopes if slope is not None}

    def _slopes(self, rows: TrainingRows) -> list[torch.Tensor | None]:
        tensors = list(self._live.values())
        with torch.enable_grad():
            loss, _, count = self._run(rows)
            if not loss.requires_grad or not count:
                return [None] * len(tensors)
            return list(torch.autograd.grad(loss / count, tensors, allow_unused=True))

    def measure(self, rows: TrainingRows) -> RowsMeasure:
        """Measure the network with the tensors as they are now."""
        loss, right, count = 0.0, 0.0, 0
        with torch.no_grad():
            for start in range(0, len(rows), _AT_ONCE):
                part = self._run(rows.select(range(start, min(start + _AT_ONCE, len(rows)))))
                loss, right, count = loss + float(part[0]), right + part[1], count + part[2]
        return RowsMeasure(loss / max(count, 1), right / max(count, 1))

    def _run(self, rows: TrainingRows) -> tuple[torch.Tensor, float, int]:
        """Return the sum of the losses of some rows, how many labels are right, and how many there are."""
        labels = torch.from_numpy(rows.labels).to(self._device)
        inputs = {name: torch.from_numpy(value).to(self._device) for name, value in rows.inputs.items()}
        if rows.form == "paired":
            inputs["labels"] = labels
        logits = self._logits(inputs)
        if rows.form == "causal":  # a delta may put virtual tokens before them
            logits, labels = logits[:, -labels.shape[1] :][:, :-1], labels[:, 1:]
        flat, wanted = logits.float().reshape(-1, logits.shape[-1]), labels.reshape(-1)
        loss = functional.cross_entropy(flat, wanted, ignore_index=IGNORED, reduction="sum")
        counts = wanted != IGNORED
        right = float(((flat.argmax(-1) == wanted) & counts).sum())
        return loss, right, int(counts.sum())

    def _logits(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        module = self._network.module
        if not isinstance(module, PreTrainedModel):
            raise InvalidInput("only networks of transformers are trained here")
        plan = make_plan(
            self._network, self._effects, tensors=self._base.tensors, names=self._base.view.names, ops=self._ops
        )
        with ExitStack() as stack:
            stack.enter_context(insert_prefixes(module, plan.inserts, self._ops, _nobody))
            stack.enter_context(attach_hooks(module, plan.hooks, self._ops, _nobody))
            result = functional_call(module, self._attach(plan), (), {**inputs, **asked_for(module)})
        logits = cast("Mapping[str, object]", result).get("logits")
        if not isinstance(logits, torch.Tensor):
            raise InvalidInput(f"{type(module).__name__} gives no logits")
        return logits

    def _attach(self, plan: NetworkPlan) -> dict[str, torch.Tensor]:
        """Return the weights to run with; those that are stored whole are the trained tensors themselves."""
        attached = dict(plan.attached)
        for place, target in plan.targets.items():
            if place in attached and target in self._whole:
                attached[place] = self._whole[target].to(attached[place].dtype)
        return attached


def _key(tensor: Tensor) -> int:
    """Return what is one for a tensor of a file, however often the file is asked for it."""
    return id(getattr(tensor, "origin", tensor))


def _nobody(effect: object, passed: object = None, /) -> None:
    """Ignore the call."""
