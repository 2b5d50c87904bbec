"""A delta as the library that wrote it runs it, without an engine: for recording."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from deltareg.delta.kind import Effect
from deltareg.suites.suite import Suite
from deltareg_verify.engine.case import BaseFiles
from deltareg_verify.engine.engine import Outputs, SecondOpinion
from deltareg_verify.engine.torch_engine import device as devices
from deltareg_verify.engine.torch_engine.forward import forward
from deltareg_verify.engine.torch_engine.from_files import dtype_of
from deltareg_verify.engine.torch_engine.invocations import with_invocations
from deltareg_verify.engine.torch_engine.load import load
from deltareg_verify.engine.torch_engine.networks.pipeline import run_part
from deltareg_verify.engine.torch_engine.ops import TorchOps
from deltareg_verify.engine.torch_engine.plan import make_plan
from deltareg_verify.engine.torch_engine.probe import floating_outputs, given_inputs, known_tokens, probe_inputs
from deltareg_verify.engine.torch_engine.second_opinion import load_with_library, stored_places

Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class StandaloneDelta:
    """A library's opinion of a delta, and its network where it has loaded the delta.

    Attributes:
        said: The opinion.
        module: The network with the delta on it; None where the library has not loaded it.
        probe: A seeded probe for it, real numbers in float32.
    """

    said: SecondOpinion
    module: torch.nn.Module | None
    probe: Arrays

    def outputs(self, arrays: Arrays) -> Outputs:
        """Run it once, on inputs by parameter of its forward.

        Raises:
            InvalidInput: It does not take them.
        """
        assert self.module is not None
        return floating_outputs(forward(self.module, given_inputs(self.module, arrays)))


def load_alone(
    base: BaseFiles, effects: Sequence[Effect], library: str, folder: Path, *, suite: Suite, device: torch.device
) -> StandaloneDelta:
    """Load a delta from its folder onto its base by a library.

    Args:
        base: The base.
        effects: The delta's effects, as read here.
        library: The library that wrote the delta, as its files name it.
        folder: The delta's folder.
        suite: The suite, which sets the size of the probe.
        device: The device to run on.

    Raises:
        Inconclusive: The machine could not do it.
    """
    own = run_part(base, effects)
    with devices.memory_seam(f"loading the delta by {library}"):
        dtype = dtype_of(own.path, own.view, own.tensors)
        network = load(own.path, own.view, own.tensors, device, dtype=dtype, placing=None)
        sequences, tokens = suite.probes["sequences"], suite.probes["tokens"]
        seeded = probe_inputs(network.module, seed=suite.seed, sequences=sequences, tokens=tokens)
        probe = {
            name: (value.float() if value.is_floating_point() else value).cpu().numpy()
            for name, value in with_invocations(seeded, effects, known=known_tokens(network.module)).items()
        }
        plan = make_plan(network, effects, tensors=own.tensors, names=own.view.names, ops=TorchOps(device))
        parameters = stored_places(effects, network, plan)
        return StandaloneDelta(*load_with_library(library, network, folder, effects, written=parameters), probe)
