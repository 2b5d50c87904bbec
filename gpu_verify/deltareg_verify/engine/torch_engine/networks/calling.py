"""Calls a network: inputs are tensors by name, in whatever structure its forward takes them.

A name with a dot is an entry of a dictionary: `added_cond_kwargs.time_ids`. Where a forward of
diffusers wants a number, a list of tensors or a list of shapes, it gets that, made of the tensor.
"""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import inspect
from collections.abc import Collection, Mapping
from typing import cast

import torch
from torch import nn
from transformers import PreTrainedModel

Result = Mapping[str, object]
_NUMBERS = frozenset({"num_frames", "height", "width"})
_LISTS = frozenset({"x", "cap_feats"})  # Z-Image takes one tensor for each image
_SHAPES = frozenset({"img_shapes"})


class ComponentNetworks(nn.Module):
    """Networks side by side, each of which runs alone; a part's names stand before a dot."""

    def __init__(self, parts: Mapping[str, nn.Module]) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        """The networks by name."""
        return dict(self.named_children())

    @property
    def device(self) -> torch.device:
        """The device that they are all on."""
        return next(self.parameters()).device

    def forward(self, **inputs: torch.Tensor) -> dict[str, object]:
        """Run every part that has inputs."""
        outputs: dict[str, object] = {}
        for name, part in self.parts.items():
            start = f"{name}."
            own = {n.removeprefix(start): v for n, v in inputs.items() if n.startswith(start)}
            answer = call(part, own) if own else {}
            outputs |= {f"{start}{n}": value for n, value in answer.items()}
        return outputs


def call(module: nn.Module, inputs: Mapping[str, torch.Tensor]) -> Result:
    """Run a network once, without a cache, and return its outputs by name.

    Args:
        module: The network.
        inputs: By parameter of its forward.
    """
    if isinstance(module, (PreTrainedModel, ComponentNetworks)):
        return cast("Result", module(**inputs, **asked_for(module)))
    answer = module(**_arguments(inputs), **asked_for(module))
    return _flat(answer)


def parameters_of(module: nn.Module) -> Collection[str]:
    """Return the parameters of a network's forward."""
    return inspect.signature(module.forward).parameters


def asked_for(module: nn.Module) -> dict[str, object]:
    """Return the arguments that ask for named outputs and for no cache."""
    if isinstance(module, PreTrainedModel):
        has_cache = getattr(module.config, "use_cache", None) is not None
        return {"return_dict": True, **({"use_cache": False} if has_cache else {})}
    return {"return_dict": True} if "return_dict" in parameters_of(module) else {}


def _arguments(inputs: Mapping[str, torch.Tensor]) -> dict[str, object]:
    arguments: dict[str, object] = {}
    for name, value in inputs.items():
        above, _, key = name.partition(".")
        if key:
            entries = cast("dict[str, object]", arguments.setdefault(above, {}))
            entries[key] = value
        else:
            arguments[name] = _as_taken(name, value)
    return arguments


def _as_taken(name: str, value: torch.Tensor) -> object:
    if name in _NUMBERS:
        return int(value)
    if name in _LISTS:
        return list(value.unbind(0))
    return [[tuple(row)] for row in value.tolist()] if name in _SHAPES else value


def _flat(answer: object) -> dict[str, object]:
    """Return an answer by name; tensors of a list go by the list's name and their place."""
    outputs = cast("Mapping[str, object]", answer) if isinstance(answer, Mapping) else {"": answer}
    flat: dict[str, object] = {}
    for name, value in outputs.items():
        if isinstance(value, (list, tuple)):
            for place, part in enumerate(cast("list[object]", value)):
                flat[f"{name}.{place}".strip(".")] = part
        else:
            flat[name or "sample"] = value
    return flat
