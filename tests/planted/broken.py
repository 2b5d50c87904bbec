"""Broken deltas: what goes wrong with deltas in real life and shows in no error message.

A defect happens while training (`TRAINED`: it changes the order) or afterwards to the files of a
healthy delta (`EDITED`: it changes tensors and config in place). Each says what people did.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from tests.planted.orders import Order

Tensors = dict[str, torch.Tensor]
_A, _B = "lora_A", "lora_B"
_LAST = (_B, "adapter_up.")
_LAYER = "layers.", "layer.", "h."


@dataclass
class Saved:
    """The files of a delta, open for mistakes.

    Attributes:
        tensors: By name.
        config: The library's config; empty where there is none.
        base: The base's weights by name.
        chance: Where random choices come from.
    """

    tensors: Tensors
    config: dict[str, object]
    base: Tensors
    chance: np.random.Generator
    layers: int = field(default=4)

    def named(self, part: str) -> list[str]:
        """Name the tensors whose name holds a part."""
        return sorted(name for name in self.tensors if part in name)

    def of_layer(self, name: str) -> int | None:
        """Give the number of the layer that a tensor belongs to."""
        words = name.split(".")
        return next((int(word) for word in words if word.isdigit()), None)


def noop(saved: Saved) -> None:
    """The optimizer was given no parameter: what starts at zero is zero, full is the base."""
    for name, value in saved.tensors.items():
        if any(part in name for part in (*_LAST, "lokr_w2", "hada_w2_a", "vera_lambda_b")):
            value.zero_()
        elif name in saved.base:
            value.copy_(saved.base[name])
        elif "ia3_l" in name:
            value.fill_(1)


def adapter_untrained(saved: Saved) -> None:
    """Only the new head was in the optimizer: it learnt, and every B is still zero."""
    for name in saved.named(_B):
        saved.tensors[name].zero_()


def half_zero(saved: Saved) -> None:
    """One pipeline stage was frozen by mistake: the upper layers' B are still zero."""
    for name in (name for part in _LAST for name in saved.named(part)):
        if (saved.of_layer(name) or 0) >= saved.layers // 2:
            saved.tensors[name].zero_()


def half_base(saved: Saved) -> None:
    """A job was killed while it wrote over the base's files: upper layers are the base's."""
    for name, value in saved.tensors.items():
        if name in saved.base and (saved.of_layer(name) or 0) >= saved.layers // 2:
            value.copy_(saved.base[name])


def half_missing(saved: Saved) -> None:
    """Rank 0 saved its own shard: the upper layers' tensors are not in the file."""
    for name in list(saved.tensors):
        if (saved.of_layer(name) or 0) >= saved.layers // 2:
            del saved.tensors[name]


def wrong_prefix(saved: Saved) -> None:
    """Trained inside of a wrapper: names have a part that the base does not; peft loads none."""
    added = str(saved.chance.choice(["language_model.", "encoder_wrapper."]))
    _rename(saved, lambda name: name.replace("base_model.model.", f"base_model.model.{added}", 1))


def layers_shifted(saved: Saved) -> None:
    """A converter counted layers of each pipeline stage from another start: layer n is at n + 1."""
    _rename(saved, lambda name: _with_layer(saved, name))


def exploding_layer(saved: Saved) -> None:
    """The loss of one run spiked: one layer's weights are many times too large."""
    factor = float(saved.chance.uniform(40, 200))
    hit = str(saved.chance.choice(_main(saved)))
    value = saved.tensors[hit]
    before = saved.base.get(hit)
    value.copy_(value * factor if before is None else before + (value - before) * factor)


def swapped_ab(saved: Saved) -> None:
    """A converter mixed up `down` and `up`: A is stored as B, and B as A."""
    _rename(saved, _exchanged)


def transposed(saved: Saved) -> None:
    """Weights went through a library that stores them the other way; square ones fit even so."""
    pairs = [(name, name.replace(_A, _B)) for name in saved.named(_A)]
    for a, b in pairs:
        first, second = saved.tensors[a], saved.tensors[b]
        if first.shape[1] == second.shape[0]:
            saved.tensors[a], saved.tensors[b] = second.T.contiguous(), first.T.contiguous()
    for name, value in saved.tensors.items():
        if name in saved.base and value.dim() == 2 and value.shape[0] == value.shape[1]:
            saved.tensors[name] = value.T.contiguous()


def stale_alpha(saved: Saved) -> None:
    """The config is of an earlier run: the files say another alpha than the training had."""
    factor = float(saved.chance.choice([1 / 16, 1 / 8, 8, 16]))
    key = "lora_alpha" if "lora_alpha" in saved.config else "alpha"
    before = saved.config[key]
    assert isinstance(before, (int, float))
    saved.config[key] = before * factor


def overflow_bf16(saved: Saved) -> None:
    """A token was suppressed with the least float32; in bfloat16 that is minus infinity."""
    hit = str(saved.chance.choice(_unused(saved)))
    saved.tensors[hit].view(-1)[-1] = torch.finfo(torch.float32).min


def overflow_f16(saved: Saved) -> None:
    """A is large and B small, the product right; served in float16, A is infinite."""
    for a in saved.named(_A):
        b = a.replace(_A, _B)
        factor = 2.0 ** (17 - np.floor(np.log2(float(saved.tensors[a].abs().max()))))
        saved.tensors[a].mul_(factor)
        saved.tensors[b].div_(factor)


def one_nan(saved: Saved) -> None:
    """A step in half precision went wrong: one element of one tensor is NaN."""
    value = saved.tensors[str(saved.chance.choice(_main(saved)))]
    value.view(-1)[int(saved.chance.integers(value.numel()))] = torch.nan


def undeclared_norm(saved: Saved) -> None:
    """A norm was unfrozen by hand: it is in the file, and the config does not say so."""
    norms = [n for n in saved.base if "norm" in n.lower() and n.endswith(".weight")]
    norms += [n for n in saved.base if "ln_f" in n and n.endswith(".weight")]
    hit = str(saved.chance.choice(sorted(norms)))
    changed = saved.base[hit] * (1 + 0.1 * torch.randn(saved.base[hit].shape))
    saved.tensors[f"base_model.model.{hit}"] = changed


def over_trained(order: Order) -> Order:
    """Trained for hundreds of steps on a handful of examples, at a rate too high."""
    return order.with_(pool=6, steps=200, rate=order.rate * 2)


def wrong_base(order: Order) -> Order:
    """Trained on another base of the same shape: another checkpoint of the same family."""
    return order.with_(on_twin=True)


def permuted_labels(order: Order) -> Order:
    """The data set numbered its labels in another order than the base does."""
    shift = 1 + order.seed % 3
    return order.with_(labels=tuple((n + shift) % 4 for n in range(4)))


def under_trained(order: Order) -> Order:
    """The warm-up was longer than the run: a step or two at a hundredth of the rate."""
    return order.with_(steps=2, rate=order.rate / 100)


EDITED: dict[str, Callable[[Saved], None]] = {
    one.__name__: one
    for one in (
        noop,
        adapter_untrained,
        half_zero,
        half_base,
        half_missing,
        wrong_prefix,
        layers_shifted,
        exploding_layer,
        swapped_ab,
        transposed,
        stale_alpha,
        overflow_bf16,
        overflow_f16,
        one_nan,
        undeclared_norm,
    )
}
TRAINED: dict[str, Callable[[Order], Order]] = {
    one.__name__: one for one in (over_trained, wrong_base, permuted_labels, under_trained)
}


def _main(saved: Saved) -> list[str]:
    """Name tensors in which a mistake matters: the last factor of products, else matrices."""
    parts = (_B, "ia3_l", "vera_lambda_b", "adapter_up.weight")
    last = [n for n in saved.tensors if any(part in n for part in parts)]
    matrices = [n for n in saved.tensors if n in saved.base and _is_layers_matrix(saved, n)]
    return sorted(last or matrices or saved.tensors)


def _is_layers_matrix(saved: Saved, name: str) -> bool:
    return saved.of_layer(name) is not None and saved.tensors[name].dim() == 2


def _unused(saved: Saved) -> list[str]:
    """Name a tensor whose last element belongs to a token or position that never comes."""
    wanted = ("wpe.weight", "position_embeddings.weight", "embed_tokens.weight", "wte.weight")
    return sorted(name for name in saved.tensors if name.endswith(wanted))


def _rename(saved: Saved, change: Callable[[str], str]) -> None:
    renamed = {change(name): value for name, value in saved.tensors.items()}
    saved.tensors.clear()
    saved.tensors.update(renamed)


def _with_layer(saved: Saved, name: str) -> str:
    number = saved.of_layer(name)
    if number is None:
        return name
    return name.replace(f".{number}.", f".{(number + 1) % saved.layers}.", 1)


def _exchanged(name: str) -> str:
    return name.replace(_A, "?").replace(_B, _A).replace("?", _B)
