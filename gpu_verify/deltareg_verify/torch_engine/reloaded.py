"""The folded model as a folder would hold it, loaded by the class that its config names."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import transformers

from deltareg.delta.fold import Folding
from deltareg.delta.kind import Effect, WeightUpdate
from deltareg.delta.maths.formula import Tensor
from deltareg_verify.engine import Reloaded
from deltareg_verify.torch_engine.fold import chains, fold
from deltareg_verify.torch_engine.from_files import Loading, mapped, network_from
from deltareg_verify.torch_engine.load import Network
from deltareg_verify.torch_engine.ops import DTYPES, TorchOps, stored


def folded_values(
    effects: Sequence[Effect],
    tensors: Mapping[str, Tensor],
    ops: TorchOps,
    *,
    known: Mapping[str, torch.Tensor],
) -> dict[str, torch.Tensor]:
    """Give every tensor of the folded folder on the CPU, in the dtype that it is stored in there.

    Args:
        effects: Of a delta that acts on weights alone.
        tensors: The base's.
        ops: Computes what is not known.
        known: Folded weights by target that were computed before, in whatever dtype.
    """
    weights = [effect for effect in effects if isinstance(effect, WeightUpdate)]
    folding = Folding(effects, tensors)
    values = mapped(tensors)
    for chain in chains(weights):
        dtype = DTYPES[folding.dtype(chain.target)]
        value = known.get(chain.target)
        if value is None or value.dtype != dtype:
            value = fold(chain, tensors, ops, dtype)
        values[chain.target] = value.detach().cpu()
    return values | {name: stored(tensor) for name, tensor in folding.additions.items()}


def load_as_folder(
    config: Mapping[str, object], values: Mapping[str, torch.Tensor], dtype: torch.dtype
) -> tuple[transformers.PreTrainedModel, Loading]:
    """Load values by the class that a config names, as from the folder of both.

    Raises:
        Inconclusive: transformers has no class for it.
    """
    with TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config))
        return network_from(Path(folder), values, dtype, config)


def load_beside(
    config: Mapping[str, object],
    values: Mapping[str, torch.Tensor],
    network: Network,
    *,
    base: Mapping[str, torch.Tensor],
    is_same_class: bool,
) -> tuple[transformers.PreTrainedModel, Reloaded]:
    """Load a folded model and say what went otherwise than when its base was loaded.

    Args:
        config: The folded folder's.
        values: What is in it.
        network: The base, running.
        base: The base's tensors; only their shapes are looked at, and where the class is another.
        is_same_class: Whether the config names the class of the running network.

    Returns:
        The model, with the running network's values where no file holds any, and what there is to
        say of it.
    """
    dtype = next(p.dtype for p in network.module.parameters() if p.is_floating_point())
    module, found = load_as_folder(config, values, dtype)
    before = network.loading if is_same_class else load_as_folder(config, base, dtype)[1]
    for name, own in module.named_parameters():
        other = network.live.get(name)
        if name in found.missing and other is not None and own.shape == other.shape:
            own.data = other.detach().to(own.device)
    return module, Reloaded(
        tuple(sorted(found.missing - before.missing)),
        tuple(sorted(found.unexpected - before.unexpected)),
        tuple(sorted(found.mismatched)),
        None,
    )
