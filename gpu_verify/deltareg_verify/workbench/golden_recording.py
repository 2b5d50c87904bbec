"""`python -m deltareg_verify golden`: outputs of a delta, computed by the library that wrote it.

The registry's command line starts this as a process and reads one JSON document from it. It is for
the user's own folder, on the user's own machine.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deltareg.client.cache.cache import Cache
from deltareg.client.folders.array_file import read_arrays
from deltareg.client.folders.base_folder import BaseFolder, open_base
from deltareg.client.folders.folder import Folder, open_folder
from deltareg.delta.delta_manifest import assess
from deltareg.errors import InvalidInput, Misconfigured, Refused
from deltareg.suites.golden import GoldenOrigin, GoldenOutputs, sample_of
from deltareg.suites.golden_file import GOLDEN_FILE
from deltareg.suites.golden_prompts import PROMPTS
from deltareg.suites.suite import DEFAULT_SUITE, built_in
from deltareg_verify.child.delta_network import account_served, as_served
from deltareg_verify.engine.engine import SecondOpinion
from deltareg_verify.messages.process_answer import answer
from deltareg_verify.messages.requests import ProcessRequest

if TYPE_CHECKING:
    from deltareg_verify.engine.torch_engine import StandaloneDelta

Arrays = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class GoldenRequest(ProcessRequest):
    """What is to be recorded.

    Attributes:
        delta: The delta's folder.
        base: The base's folder.
        cache: The client's cache, which knows the base's fingerprint.
        convention: The convention of its values, as the user states it.
        prompts: Texts; empty takes those that come with the package.
        inputs: A safetensors file with inputs in place of texts; None without one.
        most_tokens: How many tokens of a text are taken.
        device: `cpu`, `cuda:N` or `auto`.
        into: The file to write; None for the one in the delta's folder.
    """

    delta: Path
    base: Path
    cache: Path
    convention: str = ""
    prompts: Sequence[str] = ()
    inputs: Path | None = None
    most_tokens: int = 48
    device: str = "auto"
    into: Path | None = None


@click.command("golden", hidden=True)
@click.argument("request")
def golden(request: str) -> None:
    """Record what the library that wrote a delta computes with it."""
    answer(lambda: run(GoldenRequest.decode(request)))


def run(wanted: GoldenRequest) -> dict[str, object]:
    """Record into the file, and return a summary.

    Raises:
        Misconfigured: The library is not installed here.
        InvalidInput: No library can be asked about it, it does not load it, or does not take the
            inputs.
        Refused: The folder is no delta of this base.
        Inconclusive: The machine could not do it.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported, which reads it once
    from deltareg_verify.engine.torch_engine import quieten

    quieten()
    with (
        open_base(wanted.base, Cache(wanted.cache)) as base,
        open_folder(wanted.delta, convention=wanted.convention) as delta,
    ):
        return _record(wanted, base, delta)


def _record(wanted: GoldenRequest, base: BaseFolder, delta: Folder) -> dict[str, object]:
    from deltareg.golden.recording import origin_of, write
    from deltareg_verify.engine.torch_engine import class_with_place, load_alone, prepare_device

    assessment = assess(delta.files, delta.tensors, base.view)
    if assessment.errors:
        raise Refused(assessment.account.problems)
    account = account_served(delta.files, delta.tensors, base.view, find_class=class_with_place)
    alone = load_alone(
        as_served(base, account),
        account.effects,
        assessment.kind.source.library,
        delta.path,
        suite=built_in(DEFAULT_SUITE),
        device=prepare_device(wanted.device, threads=0),
    )
    if alone.module is None:
        raise _why_not(alone.said)
    inputs = _inputs(wanted, alone)
    try:
        samples = [sample_of(arrays, alone.outputs(arrays)) for arrays in inputs]
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        message = f"{alone.said.library} does not run on these inputs: {error}"
        raise InvalidInput(message) from error
    origin = replace(origin_of(alone.module, "by_library", delta.path), base=str(base.identity.root))
    target = wanted.into or delta.path / GOLDEN_FILE
    write(GoldenOutputs(tuple(samples), origin), target)
    return _describe_recording(target, origin, alone.said, len(samples))


def _inputs(wanted: GoldenRequest, alone: "StandaloneDelta") -> list[Arrays]:
    """Return the inputs of each forward: the requested ones, texts, or the seeded probe."""
    from deltareg.golden.recording import encode_text
    from deltareg_verify.engine.torch_engine import load_tokenizer

    if wanted.inputs is not None:
        return [read_arrays(wanted.inputs)]
    probe, module = alone.probe, alone.module
    tokenizer = load_tokenizer(wanted.delta) or load_tokenizer(wanted.base)
    is_of_words = "input_ids" in probe and not any(name.startswith("pixel") for name in probe)
    if tokenizer is None or module is None or not is_of_words:
        if wanted.prompts:
            raise InvalidInput(
                "the base has no tokenizer for texts, or takes more than texts",
                fix="give a safetensors file: --inputs FILE",
            )
        return [probe]
    texts = wanted.prompts or PROMPTS
    encoded = [encode_text(module, tokenizer, text, wanted.most_tokens) for text in texts]
    return [{name: value.numpy() for name, value in one.items() if name in probe} for one in encoded]


def _why_not(said: SecondOpinion) -> InvalidInput | Misconfigured:
    """Return the error that explains why a library loaded nothing."""
    if said.refusal:
        return InvalidInput(
            f"{said.library} {said.version} does not load it: {said.refusal}", fix="deltareg lint FOLDER"
        )
    if said.library in {"", "deltareg"}:
        return InvalidInput(
            "no library reads such a delta by itself",
            fix="record in the process that trained it: deltareg.golden.record",
        )
    return Misconfigured(
        f"{said.library} is not installed here, or does not take such a delta by itself",
        fix="pip install 'deltareg[libraries]'; or record where it was trained",
    )


def _describe_recording(path: Path, origin: GoldenOrigin, said: SecondOpinion, count: int) -> dict[str, object]:
    return {
        "file": str(path),
        "told": origin.description,
        "how": origin.how,
        "library": said.library,
        "version": said.version,
        "dtype": origin.dtype,
        "samples": count,
    }
