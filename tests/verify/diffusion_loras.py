"""LoRAs of tiny diffusion models in the layouts that people have; diffusers with them loaded."""

import inspect
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from tests.client.convert.converting import client_of
from tests.verify import original_files, tiny_diffusers

FILE = "pytorch_lora_weights.safetensors"
_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_PIPELINES = {
    "UNet2DConditionModel": "StableDiffusionPipeline",
    "UNet2DConditionModel sdxl": "StableDiffusionXLPipeline",
    "FluxTransformer2DModel": "FluxPipeline",
    "SD3Transformer2DModel": "StableDiffusion3Pipeline",
    "WanTransformer3DModel": "WanPipeline",
}
SCHEDULE = {"steps_offset": 1, "clip_sample": False}
_CONVOLUTIONS = ("conv1", "conv_shortcut", "proj_in", "conv")
_ORIGINAL_UNET = (
    "to_q",
    "to_out.0",
    "ff.net.2",
    "in_layers.2",
    "emb_layers.1",
    "0.op",
    ".conv",
    "skip_connection",
    "time_embed.0",
    "label_emb.0.2",
    "proj_in",
)
_GOLDEN = Path(__file__).parents[1] / "golden" / "lycoris-image"
_FLUX_WIDTHS = (16, 16, 16, 64)
_LAST = "final_layer"


@dataclass(frozen=True)
class Sort:
    """A LoRA that people have.

    Attributes:
        model: A name of `tiny_diffusers.TINY`.
        layout: How it is written: a function of this module.
        targets: Endings of the modules that it is on; of LyCORIS the golden files.
        options: More of its config.
    """

    model: str
    layout: str
    targets: tuple = _ATTENTION
    options: tuple = ()

    @property
    def is_converted(self):
        """Whether `convert` writes what is pushed."""
        return self.layout.startswith(("original", "comfyui", "lycoris"))

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
    "flux adapter": Sort("FluxTransformer2DModel", "adapter"),
    "flux adapter dora": Sort("FluxTransformer2DModel", "adapter", options=(("use_dora", True),)),
    "unet adapter rslora": Sort("UNet2DConditionModel", "adapter", ("to_q", "conv1"), (("use_rslora", True),)),
    "sd3 adapter": Sort("SD3Transformer2DModel", "adapter", ("to_q", "add_k_proj")),
    "wan adapter": Sort("WanTransformer3DModel", "adapter"),
    "flux alphas": Sort("FluxTransformer2DModel", "alphas"),
    "flux kohya": Sort("FluxTransformer2DModel", "kohya", ("to_q", "to_v", "proj_mlp", "ff.net.2")),
    "flux peft": Sort("FluxTransformer2DModel", "peft", ("to_q", "add_k_proj")),
    "sd3 kohya": Sort("SD3Transformer2DModel", "kohya"),
    "sd3 new": Sort("SD3Transformer2DModel", "new"),
    "pixart peft": Sort("PixArtTransformer2DModel", "peft"),
    "wan new": Sort("WanTransformer3DModel", "new"),
    "unet comfyui": Sort("UNet2DConditionModel", "comfyui", ("to_q", "to_v", "conv1")),
    "sdxl original kohya": Sort("UNet2DConditionModel sdxl", "original_kohya", _ORIGINAL_UNET),
    "sdxl original comfyui": Sort("UNet2DConditionModel sdxl", "original_comfyui", _ORIGINAL_UNET),
    "flux original kohya": Sort("FluxTransformer2DModel", "original_kohya", ("",)),
    "flux original comfyui": Sort(
        "FluxTransformer2DModel", "original_comfyui", ("qkv", "linear1", "img_mlp.0", "txt_in")
    ),
    "wan original comfyui": Sort("WanTransformer3DModel", "original_comfyui", ("q", "o", "ffn.2")),
    "unet locon": Sort("UNet2DConditionModel", "lycoris", ("unet-locon",)),
    "sdxl original loha": Sort("UNet2DConditionModel sdxl", "lycoris", ("sdxl-loha",)),
    "unet loha tucker": Sort("UNet2DConditionModel", "lycoris", ("unet-loha-tucker",)),
    "unet lokr": Sort("UNet2DConditionModel", "lycoris", ("unet-lokr",)),
    "wan lokr": Sort("WanTransformer3DModel", "lycoris", ("wan-lokr",)),
}


@dataclass(frozen=True)
class Made:
    """A LoRA beside its base.

    Attributes:
        base: The base's folder.
        delta: The LoRA's, in a layout that is pushed.
        tensors: Its factors, as peft calls them in the model.
        config: What its config says, as peft has it.
        source: What the delta was converted from, if it was.
    """

    base: Path
    delta: Path
    tensors: dict
    config: dict
    source: Path | None = None


def make(sort, folder, *, alpha=1, rank=2):
    """Train, as it were, a LoRA, and write it beside its base."""
    from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model

    model = tiny_diffusers.make(sort.model)
    model.save_pretrained(folder / "base")
    if sort.layout in _CONVERTED:
        return _converted(sort, model, folder, alpha=alpha, rank=rank)
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
    if sort.layout == "lycoris":
        return _changed(model, _GOLDEN / sort.targets[0])
    if sort.layout in _CONVERTED:
        _read_by_library(sort, made, model)
        return model.eval()
    if (sort.part, sort.layout) == ("transformer", "kohya"):
        # diffusers reads such names of the original models alone: it gets these under its own.
        named = {f"transformer.{n}": v for n, v in made.tensors.items()}
        modules = {n.rpartition(".lora_")[0] for n in named}
        alphas = {f"{module}.alpha": float(made.config["lora_alpha"]) for module in modules}
        model.load_lora_adapter(named, prefix="transformer", network_alphas=alphas)
    elif sort.layout == "adapter":
        model.load_lora_adapter(made.delta, weight_name=FILE, prefix=None)
    else:
        (name,) = (path.name for path in made.delta.iterdir())
        _pipeline(sort, model).load_lora_weights(made.delta, weight_name=name)
    return model.eval()


def fused(model):
    """Have the library fold the LoRA into the weights."""
    from peft import PeftModel

    if isinstance(model, PeftModel):
        return model.merge_and_unload()
    if not getattr(model, "peft_config", None):  # LyCORIS has changed the weights themselves
        return model
    model.fuse_lora()
    model.unload_lora()
    return model


def _pipeline(sort, model):
    """Put a model into a pipeline that has nothing else."""
    import diffusers

    named = _PIPELINES.get(sort.model) or _PIPELINES[sort.model.partition(" ")[0]]
    kind = getattr(diffusers, named)
    given = dict.fromkeys(kind._get_signature_keys(kind)[0]) | {sort.part: model}
    if "requires_safety_checker" in inspect.signature(kind.__init__).parameters:
        given["requires_safety_checker"] = False
    return kind(**given | {"scheduler": diffusers.DDIMScheduler(**SCHEDULE)})


def _new(made, sort, asked):
    told = {f"{sort.part}.{key}": value for key, value in _plain(asked).items()}
    metadata = {"format": "pt", "lora_adapter_metadata": json.dumps(told, indent=2, sort_keys=True)}
    _save(made, {f"{sort.part}.{n}": v for n, v in made.tensors.items()}, metadata)


def _adapter(made, _sort, asked):
    """Write what `save_lora_adapter` of a model writes."""
    told = json.dumps(_plain(asked), indent=2, sort_keys=True)
    _save(made, made.tensors, {"format": "pt", "lora_adapter_metadata": told})


def _alphas(made, sort, _asked):
    """Write what trainers of Flux write: an alpha beside every pair."""
    modules = sorted({name.partition(".lora_")[0] for name in made.tensors})
    alphas = {f"{sort.part}.{m}.alpha": torch.tensor(float(made.config["lora_alpha"])) for m in modules}
    _save(made, {f"{sort.part}.{n}": v for n, v in made.tensors.items()} | alphas, {"format": "pt"}, "lora.safetensors")


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


def _converted(sort, model, folder, *, alpha, rank):
    """Write what people have, and have it converted."""
    people, metadata = folder / "people", {"format": "pt"}
    people.mkdir()
    tensors = _CONVERTED[sort.layout](sort, model, alpha, rank)
    save_file(tensors, people / "lora.safetensors", metadata=metadata)
    with client_of(folder) as client:
        client.folders.convert(people, folder / "delta", base=folder / "base")
    return Made(folder / "base", folder / "delta", tensors, {}, people)


def _factors(sort, model, alpha, rank):
    view = original_files.view_of(model)

    def alpha_of(path):
        # diffusers leaves out the alpha of Flux's last layers.
        return rank if path.startswith(_LAST) else alpha

    return original_files.on_modules(view, rank=rank, alpha=alpha_of, ends=sort.targets)


def _original_kohya(sort, model, alpha, rank):
    return _as_torch(original_files.as_kohya(_factors(sort, model, alpha, rank)))


def _original_comfyui(sort, model, alpha, rank):
    return _as_torch(original_files.as_comfyui(_factors(sort, model, alpha, rank)))


def _comfyui(sort, model, alpha, rank):
    """Name modules as diffusers does, without alpha."""
    from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model

    torch.manual_seed(1)
    asked = LoraConfig(target_modules=list(sort.targets), init_lora_weights=False, r=rank)
    inject_adapter_in_model(asked, model)
    found = get_peft_model_state_dict(model)
    return {f"diffusion_model.{n}": (0.5 * v).contiguous() for n, v in found.items()}


def _lycoris(sort, *_):
    return load_file(_GOLDEN / sort.targets[0] / "lycoris.safetensors")


_CONVERTED = {
    "original_kohya": _original_kohya,
    "original_comfyui": _original_comfyui,
    "comfyui": _comfyui,
    "lycoris": _lycoris,
}


def _read_by_library(sort, made, model):
    """Have the library read what people have; in its spelling, where it reads but one."""
    tensors = {name: value.clone() for name, value in made.tensors.items()}  # it may write to them
    if sort.layout == "comfyui":
        named = {n.replace("diffusion_model.", ""): v for n, v in tensors.items()}
        model.load_lora_adapter(named, prefix=None)
    elif sort.model.startswith("Flux"):
        state = original_files.of_flux(_underscored(tensors), widths=_FLUX_WIDTHS)
        # diffusers gives some modules without the part, and then passes over them.
        named = {f"transformer.{n.removeprefix('transformer.')}": v for n, v in state.items()}
        model.load_lora_adapter(named, prefix="transformer")
    elif sort.model.startswith("UNet"):
        _pipeline(sort, model).load_lora_weights(_underscored(tensors))
    else:
        _pipeline(sort, model).load_lora_weights(tensors)


def _underscored(tensors):
    """Spell names of ComfyUI as kohya does."""
    found = {}
    for name, value in tensors.items():
        if name.startswith("diffusion_model."):
            end = next(end for end in (".lora_A.weight", ".lora_B.weight", ".alpha") if end in name)
            module = name.removeprefix("diffusion_model.").removesuffix(end).replace(".", "_")
            role = {".lora_A.weight": ".lora_down.weight", ".lora_B.weight": ".lora_up.weight"}
            found[f"lora_unet_{module}{role.get(end, end)}"] = value
        else:
            found[name] = value
    return found


def _changed(model, golden):
    """Give a model whose weights are what LyCORIS's layers act with."""
    state = model.state_dict()
    for name, change in load_file(golden / "change.safetensors").items():
        state[name] += change
    return model.eval()


def _as_torch(found):
    return {name: torch.tensor(np.asarray(value)).contiguous() for name, value in found.items()}


_LAYOUTS = {"new": _new, "adapter": _adapter, "alphas": _alphas, "old": _old, "kohya": _kohya, "peft": _peft}


def _save(made, tensors, metadata, name=FILE):
    save_file({n: v.contiguous() for n, v in tensors.items()}, made.delta / name, metadata=metadata)


def _plain(asked):
    told = asked.to_dict()
    told["target_modules"] = sorted(told["target_modules"])
    return {key: value for key, value in told.items() if value is not None}
