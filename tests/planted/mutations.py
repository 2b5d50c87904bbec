"""Twenty ways to change a saved delta so that its files still look like a delta's.

Half of them change what the config says, half what the tensors hold. Each is made on every healthy
delta that it can be made on; one that leaves the files as they are was not made.
"""

from collections.abc import Callable

import torch

from tests.planted.broken import Saved

_FIRST, _LAST = ("lora_A", "lokr_w1", "ia3_l"), ("lora_B", "lokr_w2", "ia3_l", "oft_R")
Way = Callable[[Saved], None]


def alpha_doubled(saved: Saved) -> None:
    """The config says twice the alpha."""
    _scale_alpha(saved, 2)


def alpha_halved(saved: Saved) -> None:
    """The config says half the alpha."""
    _scale_alpha(saved, 0.5)


def rslora_flipped(saved: Saved) -> None:
    """The config says the other way to scale by the rank."""
    if "use_rslora" in saved.config:
        saved.config["use_rslora"] = not saved.config["use_rslora"]


def orientation_flipped(saved: Saved) -> None:
    """The config says the other orientation of the base's weights."""
    if "fan_in_fan_out" in saved.config:
        saved.config["fan_in_fan_out"] = not saved.config["fan_in_fan_out"]


def fewer_targets(saved: Saved) -> None:
    """The config asks for one module less than was trained."""
    targets = saved.config.get("target_modules")
    if isinstance(targets, list) and len(targets) > 1:
        saved.config["target_modules"] = sorted(targets)[1:]


def fewer_layers(saved: Saved) -> None:
    """The config asks for the lower half of the layers."""
    if "layers_to_transform" in saved.config:
        saved.config["layers_to_transform"] = list(range(saved.layers // 2))


def excluded(saved: Saved) -> None:
    """The config excludes a module that was trained."""
    targets = saved.config.get("target_modules")
    if isinstance(targets, list) and "exclude_modules" in saved.config:
        saved.config["exclude_modules"] = sorted(targets)[:1]


def pattern_of_alpha(saved: Saved) -> None:
    """The config gives the first layer an alpha of its own."""
    if "alpha_pattern" in saved.config and "lora_alpha" in saved.config:
        name = _layers_first(saved)
        saved.config["alpha_pattern"] = {name: 1} if name else {}


def head_undeclared(saved: Saved) -> None:
    """The config forgets the head that was trained."""
    if saved.config.get("modules_to_save"):
        saved.config["modules_to_save"] = None


def no_class_prefix(saved: Saved) -> None:
    """Names lack the part that the class puts before the plain network."""
    tops = sorted({n.split(".")[2] for n in saved.tensors if n.startswith("base_model.model.")})
    for top in (t for t in tops if t in {"model", "transformer", "bert", "vit"}):
        _replace(saved, f"base_model.model.{top}.", "base_model.model.")


def twice_prefixed(saved: Saved) -> None:
    """Names have the library's prefix twice."""
    _rename(saved, lambda name: f"base_model.model.{name}")


def one_dropped(saved: Saved) -> None:
    """One tensor of one layer is not in the file."""
    names = _of(saved, _LAST)
    if names:
        del saved.tensors[names[0]]


def layers_swapped(saved: Saved) -> None:
    """The first layer's tensors are the second's, and the other way round."""
    _swap(saved, ".0.", ".1.")


def modules_swapped(saved: Saved) -> None:
    """What was trained on one module stands under another of the same shape."""
    pairs = (("q_proj", "v_proj"), ("query", "value"), ("fc1", "fc2"), ("k_proj", "v_proj"))
    for one, other in pairs:
        if any(f".{one}." in n for n in saved.tensors) and any(f".{other}." in n for n in saved.tensors):
            _swap(saved, f".{one}.", f".{other}.")
            return


def sign_turned(saved: Saved) -> None:
    """One layer's last factor has the other sign."""
    _change_first(saved, lambda value: -value)


def rows_reversed(saved: Saved) -> None:
    """The rows of one layer's last factor are in the other order."""
    _change_first(saved, lambda value: value.flip(0).contiguous())


def one_zero(saved: Saved) -> None:
    """One layer's last factor is zero."""
    _change_first(saved, torch.zeros_like)


def one_tripled(saved: Saved) -> None:
    """One layer's last factor is three times as large."""
    _change_first(saved, lambda value: 3 * value)


def one_of_noise(saved: Saved) -> None:
    """One layer's last factor is noise of the same size."""
    made = torch.Generator().manual_seed(1)
    _change_first(saved, lambda v: torch.randn(v.shape, generator=made) * v.std())


def head_shuffled(saved: Saved) -> None:
    """The rows of the trained head are in the other order."""
    for name in saved.tensors:
        if name.endswith(("classifier.weight", "classifier.bias")):
            saved.tensors[name] = saved.tensors[name].flip(0).contiguous()


WAYS: dict[str, Way] = {
    one.__name__: one
    for one in (
        alpha_doubled,
        alpha_halved,
        rslora_flipped,
        orientation_flipped,
        fewer_targets,
        fewer_layers,
        excluded,
        pattern_of_alpha,
        head_undeclared,
        no_class_prefix,
        twice_prefixed,
        one_dropped,
        layers_swapped,
        modules_swapped,
        sign_turned,
        rows_reversed,
        one_zero,
        one_tripled,
        one_of_noise,
        head_shuffled,
    )
}


def _scale_alpha(saved: Saved, factor: float) -> None:
    for key in ("lora_alpha", "alpha"):
        before = saved.config.get(key)
        if isinstance(before, (int, float)):
            saved.config[key] = before * factor


def _of(saved: Saved, parts: tuple[str, ...]) -> list[str]:
    return sorted(name for name in saved.tensors if any(part in name for part in parts))


def _layers_first(saved: Saved) -> str:
    names = [n for n in _of(saved, _FIRST) if saved.of_layer(n) == 0]
    return names[0].partition(".lora_")[0].removeprefix("base_model.model.") if names else ""


def _change_first(saved: Saved, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    for name in _of(saved, _LAST)[:1]:
        saved.tensors[name] = change(saved.tensors[name])


def _rename(saved: Saved, change: Callable[[str], str]) -> None:
    renamed = {change(name): value for name, value in saved.tensors.items()}
    saved.tensors.clear()
    saved.tensors.update(renamed)


def _replace(saved: Saved, old: str, new: str) -> None:
    _rename(saved, lambda name: name.replace(old, new))


def _swap(saved: Saved, one: str, other: str) -> None:
    _rename(saved, lambda name: name.replace(one, "?").replace(other, one).replace("?", other))
