"""Asks the library that wrote a delta, on a copy of the network."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from deltareg.delta.kind import BaseCopy, Effect, WeightUpdate
from deltareg.errors import Inconclusive
from deltareg_verify.engine.engine import SecondOpinion
from deltareg_verify.engine.torch_engine.forward import forward
from deltareg_verify.engine.torch_engine.libraries import LIBRARIES
from deltareg_verify.engine.torch_engine.load import LoadedNetwork
from deltareg_verify.engine.torch_engine.network_copy import copy_network
from deltareg_verify.engine.torch_engine.plan import NetworkPlan
from deltareg_verify.engine.torch_engine.probe import floating_outputs


def ask(
    name: str,
    network: LoadedNetwork,
    folder: Path,
    effects: Sequence[Effect],
    inputs: Mapping[str, torch.Tensor],
    *,
    written: Collection[str],
) -> SecondOpinion:
    """Have a library load a delta and run it.

    Args:
        name: As the delta's files name the library.
        network: The base; it stays unchanged.
        folder: The delta's folder.
        effects: The delta's effects, as read here.
        inputs: By parameter of the network's forward.
        written: Parameters that the library will write to.
    """
    opinion, module = load_with_library(name, network, folder, effects, written=written)
    if module is None:
        return opinion
    try:
        return replace(opinion, outputs=floating_outputs(forward(module, inputs)))
    except (Inconclusive, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  # whatever a library says, it is told
        return replace(opinion, fault=_describe_error(error))


def load_with_library(
    name: str, network: LoadedNetwork, folder: Path, effects: Sequence[Effect], *, written: Collection[str]
) -> tuple[SecondOpinion, torch.nn.Module | None]:
    """Have a library load a delta; returns its opinion, and the network where it loaded the delta.

    Args:
        name: As the delta's files name the library.
        network: The base; it stays unchanged.
        folder: The delta's folder.
        effects: The delta's effects, as read here.
        written: Parameters that the library will write to.
    """
    library = LIBRARIES.get(name)
    if library is None or library.load is None or not library.version:
        return SecondOpinion(library.package if library else name), None
    package, version = library.package, library.version
    try:
        module = library.load(copy_network(network.module, written=written), folder, effects)
    except (Inconclusive, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  # the same
        return SecondOpinion(package, version, refusal=_describe_error(error)), None
    return SecondOpinion(package, "" if module is None else version), module


def stored_places(effects: Sequence[Effect], network: LoadedNetwork, plan: NetworkPlan) -> frozenset[str]:
    """Return the parameters that a delta stores as they are, or as copies of the base's."""
    targets = {
        effect.target
        for effect in effects
        if isinstance(effect, BaseCopy) or (isinstance(effect, WeightUpdate) and effect.update.replaces)
    }
    parameters = {place for target in targets for place in network.places.get(target, ())}
    return frozenset(parameters | {place for place, target in plan.targets.items() if target in targets})


def _describe_error(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
