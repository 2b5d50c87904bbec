"""Runs a trained model on a few inputs and records its outputs.

The model is left as it was: its mode, its device, the state of every random generator. It runs in
the dtype of its weights, without dropout, without a cache, outside of autocast, and in full
precision on a GPU, so that another machine can compute the same again.
"""

# torch is typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import os
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from deltareg.errors import InvalidInput, NotFound
from deltareg.host.weights_files import weights_digests
from deltareg.suites.golden import GoldenOrigin, GoldenOutputs, GoldenSample, How, sample_of
from deltareg.suites.golden_file import GOLDEN_FILE, INPUT_DTYPES, encode
from deltareg.suites.golden_prompts import PROMPTS
from deltareg.suites.training_progress import TrainingProgress
from deltareg.suites.training_start import TrainingStart

if TYPE_CHECKING:
    import torch
    from torch import nn

Arrays = Mapping[str, Any]
"""Inputs of a forward by parameter: tensors, arrays, or lists of numbers."""
Processor = Callable[..., Mapping[str, Any]]
"""A tokenizer or processor of transformers, or any function that makes inputs of a text."""

_PACKAGES = ("accelerate", "adapters", "bitsandbytes", "diffusers", "peft", "torch", "transformers")
_OF_TOKENS = frozenset({"attention_mask", "input_ids", "token_type_ids"})
_DECODER_IDS = 8


def record(
    model: "nn.Module",
    processor: Processor | None,
    inputs: Sequence[str] | Arrays | Sequence[Arrays] | None,
    into: Path | str,
    *,
    most_tokens: int = 48,
    how: How = "in_training",
    training: TrainingStart | None = None,
    progress: TrainingProgress | None = None,
) -> Path:
    """Run a model and write its outputs to `deltareg-golden.json`; return the file.

    Args:
        model: The trained model, with the delta on it.
        processor: Its tokenizer or processor; None if inputs are arrays.
        inputs: Texts, or arguments of the model's forward: one mapping, or several, each for one
            forward pass. None for short texts that come with this package.
        into: The folder that the delta was saved to, or a file.
        most_tokens: How many tokens of a text to use.
        how: Which process computes them.
        training: How the training began, as `FirstBatches.start` returns it.
        progress: How far the training has come.

    Raises:
        InvalidInput: The model returns nothing that can be recorded, or there are no inputs.
        NotFound: There is no such folder.
    """
    target = _target(Path(into))
    import torch  # not before somebody records

    network = cast("nn.Module", getattr(model, "module", model))  # as wrappers for several GPUs say
    place = _place(network)
    samples: list[GoldenSample] = []
    with _as_evaluated(network, place):
        for arrays in _inputs_of(network, processor, inputs, most_tokens):
            tensors = _place_inputs(network, arrays, place)
            torch.manual_seed(0)
            outputs = _floating(network(**tensors))
            recorded = {name: _array(value) for name, value in tensors.items() if _is_kept(value)}
            samples.append(sample_of(recorded, outputs))
    if not samples or not all(sample.outputs for sample in samples):
        raise InvalidInput(
            f"{type(network).__name__} gives no output of real numbers",
            fix="give inputs that it answers by logits or hidden states",
        )
    origin = origin_of(network, how, target.parent)
    write(GoldenOutputs(tuple(samples), origin, training, progress), target)
    return target


def origin_of(network: "nn.Module", how: How, folder: Path) -> GoldenOrigin:
    """Return what a network's outputs are computed with, and beside which weights they lie.

    Args:
        network: The model.
        how: Which process computes them.
        folder: The delta's folder.
    """
    return GoldenOrigin(
        how, _dtype(network), _place(network).type, _packing(network), _software(), weights_digests(folder)
    )


def write(golden: GoldenOutputs, target: Path) -> None:
    """Write the file, whole or not at all.

    Raises:
        InvalidInput: The file would be too large, or cannot be written there.
    """
    raw = encode(golden)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        draft.write_bytes(raw)
        draft.replace(target)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise InvalidInput(f"{target} cannot be written: {error.strerror or error}") from error


def _target(into: Path) -> Path:
    if into.is_dir():
        return into / GOLDEN_FILE
    if not into.parent.is_dir() or into.suffix != ".json":
        raise NotFound(f"there is no folder {into}", fix="save the delta first, then record into its folder")
    return into


def _inputs_of(
    network: "nn.Module",
    processor: Processor | None,
    inputs: Sequence[str] | Arrays | Sequence[Arrays] | None,
    most_tokens: int,
) -> Generator[Arrays]:
    """Yield the inputs of one forward pass after another."""
    if isinstance(inputs, str):
        inputs = [inputs]
    if isinstance(inputs, Mapping):
        yield inputs
        return
    for one in PROMPTS if inputs is None else inputs:
        if not isinstance(one, str):
            yield one
        elif processor is None:
            raise InvalidInput("texts need a tokenizer", fix="give the model's tokenizer, or inputs as arrays")
        else:
            yield encode_text(network, processor, one, most_tokens)


def encode_text(network: "nn.Module", processor: Processor, text: str, most: int) -> Arrays:
    """Return the inputs for a text, unpadded; a decoder, if there is one, gets the first tokens."""
    arrays = dict(processor(text=text, return_tensors="pt"))
    arrays = {name: value[..., :most] if name in _OF_TOKENS else value for name, value in arrays.items()}
    config = getattr(network, "config", None)
    if getattr(config, "is_encoder_decoder", False) and "decoder_input_ids" not in arrays:
        arrays["decoder_input_ids"] = arrays["input_ids"][..., :_DECODER_IDS]
    return arrays


def _place_inputs(network: "nn.Module", given: Arrays, place: "torch.device") -> dict[str, "torch.Tensor | bool"]:
    """Move inputs to the model's device, floats in its dtype, and turn its cache off."""
    import inspect

    import torch

    takes = inspect.signature(_innermost(network).forward).parameters
    dtype = next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)
    tensors: dict[str, torch.Tensor | bool] = {}
    for name, value in given.items():
        if name not in takes and "kwargs" not in takes and name == "token_type_ids":
            continue  # a tokenizer gives them to networks that have none
        tensor = torch.as_tensor(value)
        is_real = tensor.is_floating_point()
        tensors[name] = tensor.to(place, dtype if is_real else None)
    if "use_cache" in takes:
        tensors["use_cache"] = False
    return tensors


def _innermost(network: "nn.Module") -> "nn.Module":
    """Return the network inside peft's wrapper, whose forward takes any argument."""
    inner = getattr(network, "get_base_model", None)
    return cast("nn.Module", inner()) if callable(inner) else network


@contextmanager
def _as_evaluated(network: "nn.Module", place: "torch.device") -> Generator[None]:
    """Put a network into the state in which it serves, and restore its own state at the end."""
    import torch

    modes = [(module, module.training) for module in network.modules()]
    devices = [place] if place.type == "cuda" else []
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(torch.random.fork_rng(devices))
        stack.enter_context(torch.autocast(place.type, enabled=False))
        if place.type == "cuda":
            stack.enter_context(_full_precision())
        network.eval()
        try:
            yield
        finally:
            for module, is_training in modes:
                module.training = is_training


@contextmanager
def _full_precision() -> Generator[None]:
    """Compute float32 in full precision on a GPU; TF32 rounds to ten bits, as nothing else does."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _place(network: "nn.Module") -> "torch.device":
    import torch

    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    if device.type == "meta":
        raise InvalidInput("the model's weights are on no device", fix="record before it is taken apart")
    return device


def _floating(answer: object) -> dict[str, NDArray[np.float32]]:
    """Return the floating-point tensors of a network's answer, by name."""
    import torch

    if isinstance(answer, torch.Tensor):
        answer = {"sample": answer}  # as diffusers calls the only one
    if not isinstance(answer, Mapping):
        raise InvalidInput(
            f"the model answers with a {type(answer).__name__}, which names nothing",
            fix="let it answer as transformers does, with return_dict=True",
        )
    tensors = cast("Mapping[str, object]", answer).items()
    return {
        name: np.atleast_1d(value.float().cpu().numpy())
        for name, value in tensors
        if isinstance(value, torch.Tensor) and value.is_floating_point()
    }


def _is_kept(value: "torch.Tensor | bool") -> bool:
    return not isinstance(value, bool)


def _array(value: "torch.Tensor | bool") -> NDArray[Any]:
    """Return an input as it is recorded; rounding to the model's dtype is exact in float32."""
    tensor = cast("torch.Tensor", value).cpu()
    array = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    return array if array.dtype.name in INPUT_DTYPES else array.astype(np.int64)


def _dtype(network: "nn.Module") -> str:
    """Return the dtype of most of a network's weights; empty if unknown."""
    import torch

    counts: dict[torch.dtype, int] = {}
    for parameter in network.parameters():
        if parameter.is_floating_point():
            counts[parameter.dtype] = counts.get(parameter.dtype, 0) + parameter.numel()
    names = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
    return names.get(max(counts, key=lambda one: counts[one]), "") if counts else ""


def _packing(network: "nn.Module") -> str:
    """Return the library that has packed a network's weights into few bits; empty if none."""
    config = getattr(_innermost(network), "config", None)
    quantisation = getattr(config, "quantization_config", None)
    if quantisation is None:
        return ""
    fields = cast("Mapping[str, object]", quantisation if isinstance(quantisation, Mapping) else vars(quantisation))
    method = fields.get("quant_method", "packed")
    return str(getattr(method, "value", method))


def _software() -> dict[str, str]:
    """Return the versions of the libraries that this process has imported."""
    versions: dict[str, str] = {}
    for package in _PACKAGES:
        if package in sys.modules:
            try:
                versions[package] = version(package)
            except PackageNotFoundError:
                continue
    return versions
