"""LoRAs of tiny diffusion models in the layouts that people have; diffusers with them loaded."""

import inspect
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.verify import tiny_diffusers

FILE = "pytorch_lora_weights.safetensors"
_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_PIPELINES = {
    "UNet2DConditionModel": "StableDiffusionPipeline",
    "FluxTransformer2DModel": "FluxPipeline",
    "SD3Transformer2DModel": "StableDiffusion3Pipeline",
    "WanTransformer3DModel": "WanPipeline",
}
_SCHEDULE = {"steps_offset": 1, "clip_sample": False}
_CONVOLUTIONS = ("conv1", "conv_shortcut", "proj_in", "conv")


@dataclass(frozen=True)
class Sort:
    """A LoRA that people have.

    Attributes:
        model: A name of `tiny_diffusers.TINY`.
        layout: How it is written: a function of this module.
        targets: Endings of the modules that it is on.
        options: More of its config.
    """

    model: str
    layout: str
    targets: tuple = _ATTENTION
    options: tuple = ()

    @property
    def part(self):
        """What the model is called in a pipeline."""
        return "unet" if self.model.startswith("UNet") else "transformer"


SORTS = {
    "unet new": Sort("UNet2DConditionModel", "new"),
    "unet new dora": Sort("UNet2DConditionModel", "new", options=(("use_dora", True),)),
    "unet new convolutions": Sort("UNet2DConditionModel", "new", _CONVOLUTIONS),
    "unet old processors": Sort("UNet2DConditionModel", "old"),
    "unet kohya": Sort("UNet2DConditionModel", "kohya"),
    "unet kohya convolutions": Sort("UNet2DConditionModel", "kohya", ("to_q", *_CONVOLUTIONS)),
    "unet peft": Sort("UNet2DConditionModel", "peft"),
    "sdxl new": Sort("UNet2DConditionModel sdxl", "new"),
    "flux new": Sort("FluxTransformer2DModel", "new"),
    "flux kohya": Sort("FluxTransformer2DModel", "kohya", ("to_q", "to_v", "proj_mlp", "ff.net.2")),
    "flux peft": Sort("FluxTransformer2DModel", "peft", ("to_q", "add_k_proj")),
    "sd3 kohya": Sort("SD3Transformer2DModel", "kohya"),
    "sd3 new": Sort("SD3Transformer2DModel", "new"),
    "pixart peft": Sort("PixArtTransformer2DModel", "peft"),
    "wan new": Sort("WanTransformer3DModel", "new"),
}  # fmt: skip


@dataclass(frozen=True)
class Made:
    """A LoRA beside its base.

    Attributes:
        base: The base's folder.
        delta: The LoRA's.
        tensors: Its factors, as peft calls them in the model.
        config: What its config says, as peft has it.
    """

    base: Path
    delta: Path
    tensors: dict
    config: dict


def make(sort, folder, *, alpha=1, rank=2):
    """Train, as it were, a LoRA, and write it beside its base."""
    from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model

    model = tiny_diffusers.make(sort.model)
    model.save_pretrained(folder / "base")
    config = {"r": rank, "lora_alpha": alpha, **dict(sort.options)}
    torch.manual_seed(1)
    asked = LoraConfig(target_modules=list(sort.targets), init_lora_weights=False, **config)
    inject_adapter_in_model(asked, model)
    tensors = {n: 0.5 * v for n, v in get_peft_model_state_dict(model).items()}
    (folder / "delta").mkdir()
    made = Made(folder / "base", folder / "delta", tensors, _plain(asked))
    _LAYOUTS[sort.layout](made, sort, asked)
    return made


def loaded(sort, made):
    """Have the library load a LoRA into its model, which then runs with it attached."""
    from peft import PeftModel

    model = tiny_diffusers.make(sort.model)
    if sort.layout == "peft":
        return PeftModel.from_pretrained(model, made.delta).eval()
    if (sort.part, sort.layout) == ("transformer", "kohya"):
        # diffusers reads such names of the original models alone: it gets these under its own.
        named = {f"transformer.{n}": v for n, v in made.tensors.items()}
        modules = {n.rpartition(".lora_")[0] for n in named}
        alphas = {f"{module}.alpha": float(made.config["lora_alpha"]) for module in modules}
        model.load_lora_adapter(named, prefix="transformer", network_alphas=alphas)
    else:
        (name,) = (path.name for path in made.delta.iterdir())
        _pipeline(sort, model).load_lora_weights(made.delta, weight_name=name)
    return model.eval()


def fused(model):
    """Have the library fold the LoRA into the weights."""
    from peft import PeftModel

    if isinstance(model, PeftModel):
        return model.merge_and_unload()
    model.fuse_lora()
    model.unload_lora()
    return model


def _pipeline(sort, model):
    """Put a model into a pipeline that has nothing else."""
    import diffusers

    kind = getattr(diffusers, _PIPELINES[sort.model.partition(" ")[0]])
    given = dict.fromkeys(kind._get_signature_keys(kind)[0]) | {sort.part: model}
    if "requires_safety_checker" in inspect.signature(kind.__init__).parameters:
        given["requires_safety_checker"] = False
    return kind(**given | {"scheduler": diffusers.DDIMScheduler(**_SCHEDULE)})


def _new(made, sort, asked):
    told = {f"{sort.part}.{key}": value for key, value in _plain(asked).items()}
    metadata = {"format": "pt", "lora_adapter_metadata": json.dumps(told, indent=2, sort_keys=True)}
    _save(made, {f"{sort.part}.{n}": v for n, v in made.tensors.items()}, metadata)


def _old(made, sort, _asked):
    found = {}
    for name, value in made.tensors.items():
        path, _, end = name.rpartition(".lora_")
        side, (above, _, module) = end[0], path.removesuffix(".0").rpartition(".")
        # This layout has no alpha: the scale is in a factor.
        scale = made.config["lora_alpha"] / made.config["r"] if side == "B" else 1
        ends = {"A": "down", "B": "up"}
        found[f"{sort.part}.{above}.processor.{module}_lora.{ends[side]}.weight"] = scale * value
    _save(made, found, {"format": "pt"})


def _kohya(made, _sort, _asked):
    found = {}
    for name, value in made.tensors.items():
        module, _, end = name.rpartition(".lora_")
        side = end[0]
        spelled = f"lora_unet_{module.replace('.', '_')}"
        found[f"{spelled}.lora_{'down' if side == 'A' else 'up'}.weight"] = value
        found[f"{spelled}.alpha"] = torch.tensor(float(made.config["lora_alpha"]))
    _save(made, found, {"ss_network_module": "networks.lora"}, "lora.safetensors")


def _peft(made, _sort, asked):
    config = {**_plain(asked), "peft_type": "LORA"}
    (made.delta / "adapter_config.json").write_text(json.dumps(config))
    tensors = {f"base_model.model.{n}": v for n, v in made.tensors.items()}
    _save(made, tensors, {"format": "pt"}, "adapter_model.safetensors")


_LAYOUTS = {"new": _new, "old": _old, "kohya": _kohya, "peft": _peft}


def _save(made, tensors, metadata, name=FILE):
    save_file({n: v.contiguous() for n, v in tensors.items()}, made.delta / name, metadata=metadata)


def _plain(asked):
    told = asked.to_dict()
    told["target_modules"] = sorted(told["target_modules"])
    return {key: value for key, value in told.items() if value is not None}
