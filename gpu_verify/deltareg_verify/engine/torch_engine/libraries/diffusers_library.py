"""A LoRA as diffusers itself loads it: by a pipeline of only the models that the LoRA is for."""

# diffusers and safetensors have no types that checkers see; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import inspect
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from safetensors import safe_open
from torch import nn

from deltareg.delta.kind import Effect
from deltareg_verify.engine.torch_engine.libraries.files import tensors_file
from deltareg_verify.engine.torch_engine.networks.calling import ComponentNetworks

_PIPELINES: Mapping[str, str] = {
    "AuraFlowTransformer2DModel": "AuraFlowPipeline",
    "CogVideoXTransformer3DModel": "CogVideoXPipeline",
    "FluxTransformer2DModel": "FluxPipeline",
    "HunyuanVideoTransformer3DModel": "HunyuanVideoPipeline",
    "LTXVideoTransformer3DModel": "LTXPipeline",
    "Lumina2Transformer2DModel": "Lumina2Pipeline",
    "MochiTransformer3DModel": "MochiPipeline",
    "QwenImageTransformer2DModel": "QwenImagePipeline",
    "SD3Transformer2DModel": "StableDiffusion3Pipeline",
    "SanaTransformer2DModel": "SanaPipeline",
    "UNet2DConditionModel": "StableDiffusionPipeline",
    "WanTransformer3DModel": "WanPipeline",
}
"""The model that a pipeline is about -> the pipeline."""

_WEIGHTS = "pytorch_lora_weights.safetensors"
_XL = "StableDiffusionXLPipeline"
_UNET, _TRANSFORMER = "unet", "transformer"
_STARTS = ("unet.", "transformer.", "text_encoder", "lora_", "diffusion_model.")
"""How names begin in files of whole pipelines."""
_SCHEDULE = {"steps_offset": 1, "clip_sample": False}  # as its pipelines want it, without a note


class _Pipeline(Protocol):
    def load_lora_weights(self, folder: str, *, weight_name: str, local_files_only: bool) -> None:
        """Load a LoRA into the models."""
        ...


def load_by_diffusers(network: nn.Module, folder: Path, _effects: Sequence[Effect]) -> nn.Module | None:
    """Load a LoRA by `load_lora_weights`, into the network itself."""
    parts = _parts(network)
    pipeline = None if parts is None else _pipeline(parts)
    if pipeline is None:
        return None
    file = tensors_file(folder, "diffusers", _WEIGHTS)
    is_of_model = not any(name.startswith(_STARTS) for name in _names(file))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if is_of_model and parts is not None:  # as `save_lora_adapter` of the model writes it
            main = cast("Any", parts.get(_UNET) or parts.get(_TRANSFORMER))
            main.load_lora_adapter(str(file.parent), weight_name=file.name, prefix=None, local_files_only=True)
        else:
            pipeline.load_lora_weights(str(file.parent), weight_name=file.name, local_files_only=True)
    return network.eval()


def load_kohyas_by_diffusers(network: nn.Module, folder: Path, effects: Sequence[Effect]) -> nn.Module | None:
    """Load a LoRA of kohya's scripts; diffusers reads those of UNets by names of its own.

    It reads original names of a Flux too, but only of one with the published widths.
    """
    parts = _parts(network)
    is_unet = parts is not None and set(parts) == {_UNET}
    return load_by_diffusers(network, folder, effects) if is_unet else None


def _names(file: Path) -> Sequence[str]:
    with safe_open(file, framework="pt") as tensors:
        return list(tensors.keys())


def _parts(network: nn.Module) -> Mapping[str, nn.Module] | None:
    """Return the models by their names in pipelines; None where no known pipeline has them."""
    if isinstance(network, ComponentNetworks):
        return network.parts
    kind = type(network).__name__
    if kind not in _PIPELINES:
        return None
    return {_UNET if kind.startswith("UNet") else _TRANSFORMER: network}


def _pipeline(parts: Mapping[str, nn.Module]) -> _Pipeline | None:
    """Put models into the pipeline that they are for, without its other parts."""
    import diffusers  # dear and optional

    main = parts.get(_UNET) or parts.get(_TRANSFORMER)
    name = _PIPELINES.get(type(main).__name__, "")
    if main is None or not name:
        return None
    config = cast("Mapping[str, object]", main.config)
    is_xl = "text_encoder_2" in parts or config.get("addition_embed_type") == "text_time"
    name = _XL if _UNET in parts and is_xl else name
    library = cast("Any", diffusers)
    kind = getattr(library, name)
    made_of = kind._get_signature_keys(kind)[0]  # noqa: SLF001  # diffusers has no other way to ask
    components: dict[str, object] = {str(key): None for key in made_of}
    components.update(parts)
    if "requires_safety_checker" in inspect.signature(kind.__init__).parameters:
        components["requires_safety_checker"] = False
    components["scheduler"] = library.DDIMScheduler(**_SCHEDULE)
    return cast("_Pipeline", kind(**components))
