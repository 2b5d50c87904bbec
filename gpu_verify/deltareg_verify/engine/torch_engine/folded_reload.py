"""The folded model as its folder would hold it, loaded by the class that its config names."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from deltareg.delta.base_manifest import CONFIG_FILE
from deltareg.delta.fold import FoldedBase
from deltareg.delta.kind import Effect, WeightUpdate
from deltareg.delta.maths.formula import Tensor
from deltareg_verify.engine.engine import ReloadOutcome
from deltareg_verify.engine.torch_engine.fold import chains, fold
from deltareg_verify.engine.torch_engine.forward import forward
from deltareg_verify.engine.torch_engine.from_files import blank_values, map_tensors
from deltareg_verify.engine.torch_engine.load import LoadedNetwork
from deltareg_verify.engine.torch_engine.networks import LoadReport, make_network
from deltareg_verify.engine.torch_engine.networks.pipeline import RunBase
from deltareg_verify.engine.torch_engine.ops import DTYPES, TorchOps, read_rows
from deltareg_verify.engine.torch_engine.probe import floating_outputs
from deltareg_verify.engine.torch_engine.same_network import is_same_network
from deltareg_verify.engine.torch_engine.swap import swap_tensors

_CLASSES = "architectures"


def folded_values(
    effects: Sequence[Effect], tensors: Mapping[str, Tensor], ops: TorchOps, *, known: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return every tensor of the folded folder on the CPU, in its stored dtype.

    Args:
        effects: The effects of a delta that acts on weights alone.
        tensors: The base's tensors.
        ops: Computes the weights that are not in `known`.
        known: Folded weights by target that were computed before, in any dtype.
    """
    weights = [effect for effect in effects if isinstance(effect, WeightUpdate)]
    folding = FoldedBase(effects, tensors)
    values = map_tensors(tensors)
    for chain in chains(weights):
        dtype = DTYPES[folding.dtype(chain.target)]
        value = known.get(chain.target)
        if value is None or value.dtype != dtype:
            value = fold(chain, tensors, ops, dtype)
        values[chain.target] = value.detach().cpu()
    return values | {name: read_rows(tensor) for name, tensor in folding.additions.items()}


def load_as_folder(
    base: RunBase, config: Mapping[str, object], values: Mapping[str, torch.Tensor], dtype: torch.dtype
) -> tuple[nn.Module, LoadReport]:
    """Load values by the class that a config names, as from a folder of both.

    Args:
        base: The base of the fold; the folder has the same files beside the weights.
        config: The folder's config.
        values: The folder's tensors.
        dtype: The dtype to run in.

    Raises:
        Inconclusive: No library here has a class for it.
    """
    view = replace(base.view, config=config)
    with TemporaryDirectory() as name:
        folder = Path(name)
        configs = {".": config} if not view.components else view.components
        for part, part_config in configs.items():
            (folder / part).mkdir(exist_ok=True)
            (folder / part / CONFIG_FILE).write_text(json.dumps(part_config))
        for own in base.path.iterdir():
            if own.name not in {CONFIG_FILE, *configs} and own.suffix != ".safetensors":
                (folder / own.name).symlink_to(own.resolve())
        return make_network(folder, view, values, dtype)


def load_beside(
    base: RunBase,
    config: Mapping[str, object],
    values: Mapping[str, torch.Tensor],
    network: LoadedNetwork,
    dtype: torch.dtype,
) -> tuple[nn.Module, ReloadOutcome]:
    """Load a folded model and return what went otherwise than when its base was loaded.

    Args:
        base: The base of the fold.
        config: The folded folder's config.
        values: The folder's tensors.
        network: The base, running.
        dtype: The dtype that it runs in.

    Returns:
        The model, with the running network's values where no file holds any, and the outcome of the
        load.
    """
    module, report = load_as_folder(base, config, values, dtype)
    before = network.loading
    if config.get(_CLASSES) != base.view.config.get(_CLASSES):
        own = map_tensors(base.tensors)
        before = load_as_folder(base, config, blank_values(own, own.keys(), dtype), dtype)[1]
    for name, parameter in module.named_parameters():
        other = network.live.get(name)
        if name in report.missing and other is not None and parameter.shape == other.shape:
            parameter.data = other.detach().to(parameter.device)
    return module, ReloadOutcome(
        tuple(sorted(report.missing - before.missing)),
        tuple(sorted(report.unexpected - before.unexpected)),
        tuple(sorted(report.mismatched)),
        None,
    )


def run_unless_same(
    module: nn.Module,
    outcome: ReloadOutcome,
    network: LoadedNetwork,
    folded: Mapping[str, torch.Tensor],
    inputs: Mapping[str, torch.Tensor],
) -> ReloadOutcome:
    """Run a reloaded network, if it is not the one in memory with the folded weights, to the bit.

    Args:
        module: The reloaded network, on its device.
        outcome: How it was loaded.
        network: The base, running.
        folded: The folded weights, by parameter.
        inputs: By parameter of the network's forward.
    """
    with swap_tensors(network.module, folded):
        if is_same_network(network.module, module):
            return replace(outcome, is_same=True)
    return replace(outcome, outputs=floating_outputs(forward(module, inputs)))
