"""Bottleneck adapters on a planted base, as Houlsby et al. 2019 (arXiv 1902.00751) put them.

One reads what each attention and each feedforward part gives, and adds to it. They are saved under
the names and with the config of `save_adapter()` of the adapters library.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel

# What a sublayer gives; attention gives its weights beside.
Given = torch.Tensor | tuple[torch.Tensor, ...]
# By type of network: where its layers are, and their attention and feedforward parts.
_PARTS = {"llama": ("model.layers", "self_attn", "mlp"), "gpt2": ("transformer.h", "attn", "mlp")}
_HOLDERS = "attention_adapters", "output_adapters"
_NAME = "task"
# What else the library writes into the config; all of it is as DoubleSeqBnConfig has it, but for
# `init_weights`: with this one the second factor starts at zero.
_METHOD: dict[str, object] = {
    "adapter_residual_before_ln": False,
    "cross_adapter": False,
    "dropout": 0.0,
    "init_weights": "mam_adapter",
    "inv_adapter": None,
    "is_parallel": False,
    "leave_out": [],
    "ln_after": False,
    "ln_before": False,
    "mh_adapter": True,
    "non_linearity": "swish",
    "original_ln_after": True,
    "original_ln_before": False,
    "output_adapter": True,
    "phm_layer": False,
    "residual_before_ln": True,
    "scaling": 1.0,
    "use_gating": False,
}


class Bottleneck(nn.Module):
    """One adapter: narrow, activate, widen, add."""

    def __init__(self, width: int, narrow: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, narrow), nn.Linear(narrow, width)
        for factor in (self.up.weight, self.up.bias, self.down.bias):
            nn.init.zeros_(factor)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Give what goes on in the network in place of what came."""
        made: torch.Tensor = self.up(nn.functional.silu(self.down(hidden)))
        return hidden + made


class Widened(nn.Module):
    """A network whose own weights are frozen, with an adapter at every sublayer.

    Attributes:
        network: The base.
        adapters: By the holder's path, with `/` where names have a point.
    """

    def __init__(self, network: PreTrainedModel, narrow: int) -> None:
        super().__init__()
        self.network = network.requires_grad_(requires_grad=False)
        self.adapters = nn.ModuleDict()
        for holder, module in _places(network):
            made = Bottleneck(network.config.hidden_size, narrow)
            self.adapters[holder.replace(".", "/")] = made
            module.register_forward_hook(_widening(made))

    def forward(self, **inputs: torch.Tensor) -> object:
        """Run the network, adapters and all."""
        return self.network(**inputs)

    def save(self, folder: Path) -> None:
        """Write the adapters and their config."""
        folder.mkdir(parents=True)
        tensors: dict[str, torch.Tensor] = {}
        for holder, adapter in self.adapters.items():
            path = f"{holder.replace('/', '.')}.adapters.{_NAME}"
            for name, value in adapter.state_dict().items():
                part, _, what = name.partition(".")
                inner = "adapter_down.0" if part == "down" else "adapter_up"
                tensors[f"{path}.{inner}.{what}"] = value
        save_file(tensors, folder / "adapter.safetensors")
        config = json.dumps(self._config(), indent=2, sort_keys=True)
        (folder / "adapter_config.json").write_text(config)

    def _config(self) -> dict[str, object]:
        told, (first, *_) = self.network.config, self.adapters.values()
        assert isinstance(first, Bottleneck)
        factor = told.hidden_size / first.down.out_features
        return {
            "config": {**_METHOD, "reduction_factor": factor},
            "hidden_size": told.hidden_size,
            "model_class": type(self.network).__name__,
            "model_name": "planted",
            "model_type": told.model_type,
            "name": _NAME,
            "version": "adapters.1.3.0",
        }


def _places(network: PreTrainedModel) -> Iterator[tuple[str, nn.Module]]:
    """Give every sublayer, by the path of what holds its adapter in the library's network."""
    layers, *parts = _PARTS[network.config.model_type]
    for number in range(network.config.num_hidden_layers):
        for holder, part in zip(_HOLDERS, parts, strict=True):
            path = f"{layers}.{number}"
            yield f"{path}.{holder}", network.get_submodule(f"{path}.{part}")


def _widening(adapter: Bottleneck) -> Callable[[nn.Module, object, Given], Given]:
    def hook(_module: nn.Module, _inputs: object, output: Given) -> Given:
        if isinstance(output, tuple):
            return (adapter(output[0]), *output[1:])
        made: torch.Tensor = adapter(output)
        return made

    return hook
