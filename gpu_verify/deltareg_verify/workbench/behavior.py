"""`python -m deltareg_verify behavior`: two versions on the same inputs, for people to compare.

The registry's command line starts this as a process and reads one JSON document from it: how far
the two are apart on every prompt, how each continues, how measures change.
"""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from deltareg.client.cache.cache import Cache
from deltareg.client.folders.base_folder import BaseFolder, open_base
from deltareg.client.folders.folder import open_folder
from deltareg.delta.kind import Effect
from deltareg.errors import InvalidInput
from deltareg.suites.suite import DEFAULT_SUITE, Suite, built_in, parse_suite
from deltareg_verify.engine.changes import EngineSide
from deltareg_verify.engine.continuing import continue_text
from deltareg_verify.engine.engine import State
from deltareg_verify.judging.behavior_rows import RunningSide
from deltareg_verify.judging.inputs import gather_inputs
from deltareg_verify.messages.process_answer import answer, assess_stored
from deltareg_verify.messages.requests import ProcessRequest
from deltareg_verify.workbench.behavior_report import compare


@dataclass(frozen=True, slots=True)
class BehaviorSide:
    """One of the two versions.

    Attributes:
        base: The base's folder.
        delta: The version's files; None for the base alone.
        convention: The convention of the version's values.
    """

    base: Path
    delta: Path | None = None
    convention: str = ""


@dataclass(frozen=True, slots=True)
class BehaviorRequest(ProcessRequest):
    """What is to be compared.

    Attributes:
        a: The version before.
        b: The version after.
        cache: The client's cache, which knows the fingerprints of bases.
        suite: The document of the suite whose probe sets are the inputs; None without.
        probes: The folder with the files of its probe sets.
        prompts: A file of prompts; None without. With neither, a seeded probe is the input.
        tokens: How far the prompts that differ most are continued.
        top: How many prompts to report and to continue.
        device: `cpu`, `cuda:N` or `auto`.
    """

    a: BehaviorSide
    b: BehaviorSide
    cache: Path
    suite: Path | None = None
    probes: Path | None = None
    prompts: Path | None = None
    tokens: int = 32
    top: int = 10
    device: str = "auto"


@click.command("behavior", hidden=True)
@click.argument("request")
def behavior(request: str) -> None:
    """Run two versions on the same inputs and say how they differ."""
    answer(lambda: run(BehaviorRequest.decode(request)))


def run(wanted: BehaviorRequest) -> Mapping[str, object]:
    """Compare the two versions and return the document.

    Raises:
        InvalidInput: The network does not take the inputs.
        IntegrityFailure: A stored delta is refused now.
        Inconclusive: The machine could not do it.
    """
    suite = _suite(wanted.suite)
    inputs = gather_inputs(suite, wanted.probes, wanted.prompts)
    os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported, which reads it once
    from deltareg_verify.engine.torch_engine import TorchEngine, environment, prepare_device, quieten

    quieten()
    device = prepare_device(wanted.device, threads=0)
    with ExitStack() as stack:
        a_base = _open(wanted.a, wanted.cache, stack)
        b_base = _open(wanted.b, wanted.cache, stack)
        is_same_base = a_base.identity.whole == b_base.identity.whole
        if inputs.source == "probe" and not is_same_base:  # it is drawn by the sizes of a network
            raise InvalidInput(
                "the two are for different bases, which have no seeded probe in common",
                fix="bring inputs of your own: --prompts FILE, or --suite NAME with probe sets",
            )
        effects = _effects(wanted.a, a_base, stack)
        a = TorchEngine(a_base, effects, suite=suite, device=device)
        effects = _effects(wanted.b, b_base, stack)
        b = a.beside(effects) if is_same_base else TorchEngine(b_base, effects, suite=suite, device=device)
        document = compare(
            RunningSide(EngineSide(a, _state(wanted.a)), partial(continue_text, a)),
            RunningSide(EngineSide(b, _state(wanted.b)), partial(continue_text, b)),
            inputs,
            tokens=wanted.tokens,
            top=wanted.top,
            seed=suite.seed,
        )
        facts = {"same_base": is_same_base, "device": environment(device)["device"]}
        return {**document, **facts, "dtype": a.dtype}


def _suite(path: Path | None) -> Suite:
    return built_in(DEFAULT_SUITE) if path is None else parse_suite(path.read_bytes())


def _state(side: BehaviorSide) -> State:
    return "base" if side.delta is None else "attached"


def _open(side: BehaviorSide, cache: Path, stack: ExitStack) -> BaseFolder:
    return stack.enter_context(open_base(side.base, Cache(cache)))


def _effects(side: BehaviorSide, base: BaseFolder, stack: ExitStack) -> tuple[Effect, ...]:
    if side.delta is None:
        return ()
    delta = stack.enter_context(open_folder(side.delta, convention=side.convention))
    return tuple(assess_stored(delta, base).account.effects)
