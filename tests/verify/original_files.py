"""LoRA files that name modules as a model's original code does, and diffusers' reading of them."""

import inspect

import numpy as np

from deltareg.delta.kind import BaseView
from deltareg.delta.layouts.originals import by_path
from deltareg.delta.names import name_map_for
from deltareg.digest import sha256_of
from deltareg.identity.fingerprint import TensorRecord

WIDTHS = [3072, 3072, 3072, 12288]  # of Flux, whose loader knows no others


def view_of(model, component=""):
    """Show a model to a kind as a base."""
    before = f"{component}." if component else ""
    records = {
        before + name: TensorRecord(before + name, "F32", tuple(value.shape), sha256_of(b""))
        for name, value in model.state_dict().items()
    }
    config = {key: list(value) if isinstance(value, tuple) else value for key, value in model.config.items()} | {
        "_class_name": type(model).__name__
    }
    parts = {component: config} if component else {}
    own = {} if component else config
    return BaseView(sha256_of(b""), records, own, name_map_for(own, records), parts)


def on_modules(view, *, rank, alpha, ends=("",)):
    """Make factors, unlike on each, for modules by their original paths.

    Args:
        view: The base.
        rank: Of the factors.
        alpha: Gives alpha by path.
        ends: Endings of the paths that are wanted.
    """
    found, rng = {}, np.random.default_rng(0)
    for path, original in sorted(by_path(view).items()):
        if not path.endswith(tuple(ends)):
            continue
        shapes = [view.tensors[f"{module}.weight"].shape for module in original.modules]
        rows, inner = sum(shape[0] for shape in shapes), shapes[0][1:]
        down = rng.normal(size=(rank, *inner)) / np.sqrt(np.prod(inner))
        up = 0.3 * rng.normal(size=(rows, rank, *(1 for _ in inner[1:])))
        found[path] = (down.astype("f4"), up.astype("f4"), np.array(alpha(path), "f4"))
    return found


def as_kohya(found):
    """Spell them as kohya's scripts do."""
    return {
        f"lora_unet_{path.replace('.', '_')}.{role}": value
        for path, values in found.items()
        for role, value in zip(("lora_down.weight", "lora_up.weight", "alpha"), values, strict=True)
    }


def as_comfyui(found, roles=("lora_A.weight", "lora_B.weight", "alpha")):
    """Spell them as ComfyUI does."""
    return {
        f"diffusion_model.{path}.{role}": value
        for path, values in found.items()
        for role, value in zip(roles, values, strict=True)
    }


def of_flux(found, *, widths):
    """Have diffusers read kohya's spelling of a Flux with first weights of other widths."""
    import torch
    from diffusers.loaders import lora_conversion_utils as library

    source = inspect.getsource(library._convert_kohya_flux_lora_to_diffusers)
    assert str(WIDTHS) in source
    known = dict(vars(library))
    exec(source.replace(str(WIDTHS), str(list(widths))), known)
    given = {name: torch.tensor(value) for name, value in found.items()}
    return known["_convert_kohya_flux_lora_to_diffusers"](given)
