"""`python -m deltareg_verify probe`: one forward of a base with a delta, for people to compare.

The registry's command line starts this as a process and reads one JSON document from it: a summary
of the outputs, or the error.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from deltareg.client.cache.cache import Cache
from deltareg.client.disk.weights_file import TensorSlot, write_header
from deltareg.client.folders.array_file import read_arrays
from deltareg.client.folders.base_folder import open_base
from deltareg.client.folders.folder import open_folder
from deltareg.errors import InvalidInput
from deltareg.suites.suite import DEFAULT_SUITE, built_in
from deltareg_verify.child.delta_network import account_served, as_served
from deltareg_verify.engine.engine import State
from deltareg_verify.engine.include import select_effects
from deltareg_verify.messages.process_answer import answer, assess_stored
from deltareg_verify.messages.requests import ProcessRequest


@dataclass(frozen=True, slots=True)
class ProbeRequest(ProcessRequest):
    """What is to be computed.

    Attributes:
        delta: The version's files.
        base: The base's folder.
        inputs: A safetensors file with tensors by parameter of the network's forward.
        out: The file for the outputs.
        cache: The client's cache, which knows the base's fingerprint.
        convention: The convention of the version's values.
        include: Patterns of the modules to take; none takes all.
        is_folded: Whether the delta is folded into the weights, not attached.
        device: `cpu`, `cuda:N` or `auto`.
    """

    delta: Path
    base: Path
    inputs: Path
    out: Path
    cache: Path
    convention: str = ""
    include: tuple[str, ...] = field(default_factory=tuple)
    is_folded: bool = False
    device: str = "auto"


@click.command("probe", hidden=True)
@click.argument("request")
def probe(request: str) -> None:
    """Run one forward of base and delta and write what comes out."""
    answer(lambda: run(ProbeRequest.decode(request)))


def run(wanted: ProbeRequest) -> dict[str, object]:
    """Compute and write the outputs, and return a summary.

    Raises:
        InvalidInput: The network does not take the inputs, or the delta has no folded state.
        IntegrityFailure: The stored delta is refused now.
        Inconclusive: The machine could not do it.
    """
    inputs = read_arrays(wanted.inputs)
    os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported, which reads it once
    from deltareg_verify.engine.torch_engine import TorchEngine, class_with_place, environment, prepare_device, quieten

    quieten()
    device = prepare_device(wanted.device, threads=0)
    with (
        open_base(wanted.base, Cache(wanted.cache)) as base,
        open_folder(wanted.delta, convention=wanted.convention) as delta,
    ):
        assessment = assess_stored(delta, base)
        account = account_served(delta.files, delta.tensors, base.view, find_class=class_with_place)
        served_base = as_served(base, account)
        effects = select_effects(account.effects, wanted.include, served_base.view.names)
        engine = TorchEngine(served_base, effects, suite=built_in(DEFAULT_SUITE), device=device)
        if wanted.is_folded and not engine.is_foldable:
            raise InvalidInput(
                f"a {assessment.kind.name} acts on activations and cannot be folded", fix="leave --folded out"
            )
        state: State = "folded" if wanted.is_folded else "attached"
        try:
            outputs = engine.outputs_for(state, inputs)
        except (IndexError, RuntimeError, TypeError, ValueError) as error:
            raise InvalidInput(f"the network does not run on these inputs: {error}") from error
        fired = engine.fired_for(inputs)
        _write(wanted.out, outputs)
        return {
            "outputs": {name: list(value.shape) for name, value in outputs.items()},
            "state": state,
            "effects": fired.effects,
            "silent": fired.silent,
            "not_exercised": fired.not_exercised,
            "device": environment(device)["device"],
        }


def _write(out: Path, outputs: Mapping[str, NDArray[np.float32]]) -> None:
    """Write the outputs under their names; the file appears whole or not at all."""
    slots = [TensorSlot(name, "F32", value.shape) for name, value in outputs.items()]
    draft = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            file.write(write_header(slots, {}))
            file.writelines(value.astype("<f4").tobytes() for value in outputs.values())
        draft.replace(out)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise InvalidInput(f"{out} cannot be written: {error.strerror or error}") from error
