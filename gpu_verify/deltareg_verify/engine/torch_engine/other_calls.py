"""The other ways in which a network can be called: without an input that it can do without, or by another flag.

BLIP matches by attention across both towers or, by a flag, without it; Mllama reads texts without its
layers for images. What such a call leaves out got no gradient where all of a training called it so.
"""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import inspect
from collections.abc import Iterator, Mapping

import torch
from torch import nn

_FORM_ONLY = ("output_", "return_", "interpolate_", "use_cache")
"""Flags that say how an answer looks, and not which parts give it."""


def other_calls(module: nn.Module, inputs: Mapping[str, torch.Tensor]) -> Iterator[Mapping[str, torch.Tensor]]:
    """Yield the inputs of every other call; a network need not take all of them.

    Args:
        module: The network.
        inputs: Those of the usual call, by parameter of its forward.
    """
    for name, parameter in inspect.signature(module.forward).parameters.items():
        is_flag = isinstance(parameter.default, bool) or "bool" in str(parameter.annotation)
        if is_flag and not name.startswith(_FORM_ONLY):
            yield {**inputs, name: torch.tensor(not parameter.default)}
        elif name in inputs and len(inputs) > 1 and parameter.default is None:
            yield {other: value for other, value in inputs.items() if other != name}
