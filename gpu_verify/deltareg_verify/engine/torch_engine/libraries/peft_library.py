"""A delta as peft itself loads it."""

# torch and peft are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from transformers import PreTrainedModel

from deltareg.delta.kind import Effect, WeightUpdate
from deltareg.delta.maths.updates import OrthonormalRemoval, PrincipalRemoval
from deltareg.errors import InvalidInput

WEIGHTS = "adapter_model.safetensors"


def load_by_peft(network: torch.nn.Module, folder: Path, effects: Sequence[Effect]) -> torch.nn.Module:
    """Load a delta by `PeftModel.from_pretrained`, from the folder as it is.

    Raises:
        InvalidInput: The weights have a name that peft does not look for.
    """
    import peft  # optional, and dear

    _check_name(folder)
    _grow(network, effects)
    _give_memory(network, effects)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says so where it loads nothing; the outputs tell
        model = peft.PeftModel.from_pretrained(
            network, str(folder), torch_device=str(network.device), local_files_only=True
        )
        _settle_bases(model)
        return cast("torch.nn.Module", model.eval())


def _check_name(folder: Path) -> None:
    """Refuse weights of another name: peft would ask a hub for its own, and blame that."""
    if not (folder / WEIGHTS).is_file():
        others = ", ".join(sorted(path.name for path in folder.glob("*.safetensors"))) or "none"
        raise InvalidInput(f"it looks for {WEIGHTS}, and the folder has {others}", fix=f"rename it to {WEIGHTS}")


def _give_memory(network: torch.nn.Module, effects: Sequence[Effect]) -> None:
    """Copy the weights that peft writes to: the base's are mapped read-only."""
    updates = (effect.update for effect in effects if isinstance(effect, WeightUpdate))
    if any(isinstance(update, (OrthonormalRemoval, PrincipalRemoval)) for update in updates):
        for parameter in network.parameters():
            parameter.data = parameter.data.clone()


def _settle_bases(model: torch.nn.Module) -> None:
    """Let FRoD's layers follow the basis that was saved, not the one that peft made before it read the file.

    peft decomposes the base's weights anew where it loads a delta, and rounding decides the signs of what
    it gets: one half of each product would be of this machine and the other of the one that trained.
    """
    for module in model.modules():
        decompose: Any = getattr(module, "_calculate_frod_u_and_lambda", None)
        if decompose is not None:
            layer: Any = module  # of peft, which says no types
            weight = layer.get_base_layer().weight
            weight = weight.T if layer.fan_in_fan_out else weight
            for name, units in layer.frod_U.items():
                layer.frod_U[name] = decompose(layer.frod_V[name], weight)[0].to(units.dtype)


def _grow(network: torch.nn.Module, effects: Sequence[Effect]) -> None:
    """Add the rows that the delta was trained with; peft leaves that to its user."""
    grown = [e.shape[0] for e in effects if isinstance(e, WeightUpdate) and e.shape]
    if not grown or not isinstance(network, PreTrainedModel):
        return
    tokens = network.get_input_embeddings()
    if isinstance(tokens, torch.nn.Embedding) and max(grown) > tokens.num_embeddings:
        network.resize_token_embeddings(max(grown), mean_resizing=False)
