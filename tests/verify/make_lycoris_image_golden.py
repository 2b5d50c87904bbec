"""Files that LyCORIS makes for models of diffusers, and what its layers change the weights by.

    pip install --target DIR --no-deps lycoris-lora einops toml
    PYTHONPATH=DIR python -m tests.verify.make_lycoris_image_golden

Made by lycoris-lora 4.1.3 on torch: its own wrapper puts its layers on the tiny models, and what a
wrapped layer does to impulses, less what the layer itself does, is its change of the weight. For
SDXL the modules then get the names of the model's original code, on which kohya's scripts train.
"""

import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from deltareg.delta.layouts.originals import by_path
from tests.verify import tiny_diffusers
from tests.verify.original_files import view_of

GOLDEN = Path(__file__).parents[1] / "golden" / "lycoris-image"
_UNET = [
    r"(down_blocks\.1|mid_block)\..*\.(to_q|to_out\.0|conv1|conv_shortcut|proj_in)",
    r"down_blocks\.0\.downsamplers\.0\.conv",
]
_WAN = [r"blocks\..*\.(to_q|to_out\.0|net\.2)"]
CASES = {
    "unet-locon": (
        "UNet2DConditionModel",
        _UNET,
        "lora_unet",
        "lora",
        {"linear_dim": 2, "linear_alpha": 1.0, "conv_dim": 3, "conv_alpha": 2.0},
    ),
    "sdxl-loha": ("UNet2DConditionModel sdxl", _UNET, "lora_unet", "loha", {"linear_dim": 2, "linear_alpha": 3.0}),
    "unet-loha-tucker": (
        "UNet2DConditionModel",
        _UNET,
        "lycoris",
        "loha",
        {"linear_dim": 2, "linear_alpha": 1.0, "use_tucker": True},
    ),
    "unet-lokr": (
        "UNet2DConditionModel",
        _UNET,
        "lora_unet",
        "lokr",
        {"linear_dim": 1, "linear_alpha": 0.5, "factor": 4},
    ),
    "wan-lokr": ("WanTransformer3DModel", _WAN, "lycoris", "lokr", {"linear_dim": 1, "linear_alpha": 2.0}),
}


def main():
    """Write all cases."""
    shutil.rmtree(GOLDEN, ignore_errors=True)
    for name, case in CASES.items():
        _write(GOLDEN / name, *case)


def _write(folder, model_name, targets, prefix, method, settings):
    torch, lycoris = import_module("torch"), import_module("lycoris")
    model = tiny_diffusers.make(model_name)
    layers = {name: module for name, module in model.named_modules() if hasattr(module, "weight")}
    with torch.no_grad():
        before = {name: _acting(torch, layers[name]) for name in _hit(layers, targets)}
        lycoris.LycorisNetwork.apply_preset({"target_name": targets, "target_module": [], "lora_prefix": prefix})
        torch.manual_seed(3)
        wrapped = lycoris.create_lycoris(model, 1.0, algo=method, **settings)
        wrapped.apply_to()
        for parameter in wrapped.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
        after = {name: _acting(torch, layers[name]) for name in before}
    changes = {f"{n}.weight": (after[n] - before[n]).contiguous().numpy() for n in before}
    stored = {n: np.array(v.detach().numpy(), order="C") for n, v in wrapped.state_dict().items()}
    if model_name.endswith("sdxl"):
        stored = _original(stored, view_of(model))
    folder.mkdir(parents=True)
    save_file(stored, folder / "lycoris.safetensors")
    save_file(changes, folder / "change.safetensors")


def _hit(layers, targets):
    matches = import_module("re").compile("|".join(targets)).fullmatch
    return [name for name in layers if matches(name)]


def _acting(torch, layer):
    """Give the weight that a layer acts with: what it makes of impulses, without its bias."""
    if isinstance(layer, torch.nn.Linear):
        inputs = torch.eye(layer.in_features, dtype=torch.float32)
        return (layer(inputs) - layer(torch.zeros_like(inputs))).T
    size, stride, padding = layer.kernel_size[0], layer.stride[0], layer.padding[0]
    at = -(-padding // stride)
    first = at * stride - padding
    kernel = torch.empty_like(layer.weight)
    for channel in range(layer.in_channels):
        for row in range(size):
            for column in range(size):
                image = torch.zeros(1, layer.in_channels, first + size, first + size)
                none = layer(image)
                image[0, channel, first + row, first + column] = 1
                kernel[:, channel, row, column] = (layer(image) - none)[0, :, at, at]
    return kernel


def _original(stored, view):
    """Name modules as the model's original code does."""
    paths = {o.modules[0].replace(".", "_"): p.replace(".", "_") for p, o in by_path(view).items()}
    named = {}
    for name, value in stored.items():
        module, _, role = name.partition(".")
        named[f"lora_unet_{paths[module.removeprefix('lora_unet_')]}.{role}"] = value
    return named


if __name__ == "__main__":
    main()
