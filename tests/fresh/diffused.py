"""LoRAs of diffusion transformers as diffusers itself writes them: one model alone, or a pipeline's."""

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from deltareg_verify.engine.torch_engine.networks.calling import call
from deltareg_verify.engine.torch_engine.probe import floating_outputs, probe_inputs
from tests.fresh.kept import write_case
from tests.fresh.recipes import Random, peft, quiet
from tests.small_networks import torch
from tests.verify import tiny_diffusers

diffusers = pytest.importorskip("diffusers", reason="needs diffusers: pip install 'deltareg[diffusion]'")
FILE = "pytorch_lora_weights.safetensors"
SEED = 150
_ROWS, _LENGTH, _PROBE, _STEP = 2, 8, 7, 0.1


@dataclass(frozen=True, slots=True)
class Way:
    """How a LoRA is made and saved.

    Attributes:
        options: More of its config.
        is_pipelines: Whether a pipeline saves it, under the name of its part.
        has_alphas: Whether an alpha stands beside each pair, as trainers of Flux write it.
    """

    options: tuple[tuple[str, Any], ...] = ()
    is_pipelines: bool = False
    has_alphas: bool = False


WAYS = {
    "the model's lora": Way(),
    "the model's lora, rank-stabilised": Way((("use_rslora", True),)),
    "the model's dora": Way((("use_dora", True),)),
    "the model's lora with biases": Way((("lora_bias", True),)),
    "the pipeline's lora": Way(is_pipelines=True),
    "the pipeline's lora, patterns": Way((("patterns", True),), is_pipelines=True),
    "the pipeline's lora, alphas": Way(is_pipelines=True, has_alphas=True),
}
PIPELINES = {
    "AuraFlowTransformer2DModel": "AuraFlowPipeline",
    "ChromaTransformer2DModel": "ChromaPipeline",
    "CogVideoXTransformer3DModel": "CogVideoXPipeline",
    "CogView4Transformer2DModel": "CogView4Pipeline",
    "Flux2Transformer2DModel": "Flux2Pipeline",
    "FluxTransformer2DModel": "FluxPipeline",
    "HunyuanVideoTransformer3DModel": "HunyuanVideoPipeline",
    "LTXVideoTransformer3DModel": "LTXPipeline",
    "Lumina2Transformer2DModel": "Lumina2Pipeline",
    "MochiTransformer3DModel": "MochiPipeline",
    "QwenImageTransformer2DModel": "QwenImagePipeline",
    "SD3Transformer2DModel": "StableDiffusion3Pipeline",
    "SanaTransformer2DModel": "SanaPipeline",
    "WanTransformer3DModel": "WanPipeline",
    "ZImageTransformer2DModel": "ZImagePipeline",
}
"""Model -> the pipeline that saves and loads LoRAs for it."""

_EACH = 3  # one way in so many is tried on a model, and all on Flux


def planned() -> list[tuple[str, str]]:
    """Give what is tried: a model and a way."""
    return [
        (model, title)
        for model in PIPELINES
        for at, title in enumerate(WAYS)
        if model.startswith("FluxT") or ((zlib.crc32(model.encode()) + at) % _EACH == 0 and not WAYS[title].has_alphas)
    ]


def cases(folder: Path, *, seed: int = SEED) -> Iterator[Path | str]:
    """Make all of them, one at a time: a folder each, or why the library cannot."""
    for at, (model, title) in enumerate(planned()):
        try:
            yield make(folder / str(at), model, title, seed=seed)
        except (ValueError, RuntimeError, NotImplementedError, AttributeError, TypeError) as error:
            yield f"{title} on {model}: {type(error).__name__}: {str(error)[:200]}"


def make(folder: Path, model: str, title: str, *, seed: int = SEED) -> Path:
    """Write a base, a LoRA of it and what diffusers computes with both loaded from there."""
    random = np.random.default_rng([seed, *f"{model}/{title}".encode()])
    way, made = WAYS[title], tiny_diffusers.make(model)
    with quiet():
        made.save_pretrained(folder / "base")
        made.add_adapter(_config(made, random, way))
        _train(made, random)
        (folder / "delta").mkdir()
        _save(folder / "delta", made, model, way)
        ready = _loaded(folder, model, way)
        inputs = probe_inputs(tiny_diffusers.read(model, folder / "base"), seed=_PROBE, sequences=_ROWS, tokens=_LENGTH)
        with torch.no_grad():
            outputs = floating_outputs(call(ready, inputs))
            plain = floating_outputs(call(tiny_diffusers.read(model, folder / "base"), inputs))
    if all(np.allclose(outputs[name], plain[name], atol=1e-5) for name in outputs):
        raise ValueError("it has no effect")
    given = {name: value.numpy() for name, value in inputs.items()}
    write_case(folder, given, outputs, **{"class": model, "base": model, "recipe": title}, by=diffusers.__version__)
    return folder


def _config(model: Any, random: Random, way: Way) -> Any:
    """Adapt some of its linear layers, with a rank and an alpha that are drawn."""
    names = sorted({_end(path) for path, module in model.named_modules() if type(module) is torch.nn.Linear})
    chosen = [names[n] for n in sorted(random.choice(len(names), size=min(4, len(names)), replace=False))]
    more = dict(way.options)
    if more.pop("patterns", False):
        more |= {"rank_pattern": {chosen[0]: 3}, "alpha_pattern": {chosen[-1]: 5}}
    rank, alpha = int(random.integers(1, 5)), int(random.integers(1, 9))
    return peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=chosen, **more)


def _end(path: str) -> str:
    """Give the end of a name; a number is no end of its own."""
    parts = path.split(".")
    return ".".join(parts[-2:]) if parts[-1].isdecimal() else parts[-1]


def _train(model: Any, random: Random) -> None:
    torch.manual_seed(int(random.integers(1 << 30)))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.add_(_STEP * torch.randn_like(parameter))


def _save(folder: Path, model: Any, name: str, way: Way) -> None:
    if not way.is_pipelines:
        model.save_lora_adapter(folder)
        return
    kind, config = _kind(name), model.peft_config["default"]
    told = {} if way.has_alphas else {"transformer_lora_adapter_metadata": _plain(config)}
    layers = peft.get_peft_model_state_dict(model)
    kind.save_lora_weights(folder, transformer_lora_layers=layers, **told)
    if way.has_alphas:
        tensors = load_file(folder / FILE)
        modules = sorted({key.partition(".lora_")[0] for key in tensors})
        alphas = {f"{module}.alpha": torch.tensor(float(config.lora_alpha)) for module in modules}
        save_file(tensors | alphas, folder / FILE, metadata={"format": "pt"})


def _plain(config: Any) -> dict[str, Any]:
    told = json.loads(json.dumps(config.to_dict(), default=sorted))
    return {key: value for key, value in told.items() if value is not None}


def _loaded(folder: Path, name: str, way: Way) -> Any:
    """Have diffusers load base and LoRA from their folders."""
    model = tiny_diffusers.read(name, folder / "base")
    if way.is_pipelines:
        kind = _kind(name)
        given = dict.fromkeys(kind._get_signature_keys(kind)[0]) | {"transformer": model}
        given["scheduler"] = diffusers.FlowMatchEulerDiscreteScheduler()
        kind(**given).load_lora_weights(folder / "delta", weight_name=FILE)
    else:
        model.load_lora_adapter(folder / "delta", weight_name=FILE, prefix=None)
    return model.eval()


def _kind(name: str) -> Any:
    return getattr(diffusers, PIPELINES[name])
