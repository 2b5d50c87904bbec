"""Broken after training: by a converter, a merge, a quantiser, or the wrong file.

Each takes the files of a healthy delta and breaks them in place. `EDITED` has them by name. Nothing
here is taken from the registry's own faults.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

Tensors = dict[str, torch.Tensor]
_LAYER = re.compile(r"(?<=layers\.)\d+")
_CARRIES = ("lora_B", "oft_R", "ia3_l")


@dataclass
class Files:
    """The files of a delta, and what lay beside them.

    Attributes:
        tensors: By name.
        config: The library's; empty where there is none.
        base: The base's weights by the names of its files.
        other: The tensors of another run of the same recipe.
        wrong: The tensors of another task's delta of the same recipe; empty where there is none.
        chance: Where random choices come from.
    """

    tensors: Tensors
    config: dict[str, object]
    base: Tensors
    other: Tensors
    wrong: Tensors
    chance: np.random.Generator

    @property
    def carrying(self) -> list[str]:
        """Name what carries the change: the last factor of products, else what is the base's."""
        own = [name for name in self.tensors if any(part in name for part in _CARRIES)]
        return sorted(own or (name for name in self.tensors if self.tensors[name].is_floating_point()))

    def start(self, name: str) -> torch.Tensor:
        """Give what a tensor would be if nothing had changed: the base's, or zero."""
        found = self.base.get(name)
        return torch.zeros_like(self.tensors[name]) if found is None else found.to(self.tensors[name].dtype)

    def scale(self, names: Iterable[str], factor: float) -> None:
        """Multiply the change of some tensors."""
        for name in names:
            start = self.start(name)
            self.tensors[name] = start + factor * (self.tensors[name] - start)


def stale_alpha(files: Files) -> None:
    """The config is of an earlier run: it says a quarter of the alpha, or four times as much."""
    factor = 4 if files.chance.random() < 0.5 else 0.25
    files.config["lora_alpha"] = float(files.config["lora_alpha"]) * factor  # type: ignore[arg-type]  # a number


def sign_turned(files: Files) -> None:
    """Half of the layers have the other sign: a merge subtracted them."""
    hit = files.chance.permutation(_layers(files))[: (len(_layers(files)) + 1) // 2]
    files.scale([name for name in files.carrying if _layer(name) in hit], -1.0)


def layers_exchanged(files: Files) -> None:
    """A converter sorted layers by name in the other direction: the last is the first."""
    before, layers = dict(files.tensors), _layers(files)
    for name in before:
        at = _layer(name)
        if at is not None:
            source = _LAYER.sub(str(layers[-1] - at), name)
            if source in before and before[source].shape == before[name].shape:
                files.tensors[name] = before[source]


def half_zero(files: Files) -> None:
    """One pipeline stage was not saved: the upper layers are as they were before training."""
    layers = _layers(files)
    files.scale([name for name in files.carrying if (_layer(name) or 0) >= layers[len(layers) // 2]], 0.0)


def noise_added(files: Files) -> None:
    """Noise as large as the change lies on it, added for privacy after training."""
    for name in files.carrying:
        value = files.tensors[name]
        size = (value - files.start(name)).std(correction=0)
        drawn = torch.from_numpy(files.chance.normal(size=tuple(value.shape))).to(value.dtype)
        files.tensors[name] = value + 1.2 * size * drawn


def eight_bits(files: Files) -> None:
    """Changes were stored in fixed point, by steps of 1/64: made for weights, too coarse for changes."""
    for name in files.carrying:
        start = files.start(name)
        files.tensors[name] = start + ((files.tensors[name] - start) * 64).round() / 64


def overflowed(files: Files) -> None:
    """A loss scale was never taken out again: stored as float16, some of it is infinite."""
    for name in files.carrying:
        value = files.tensors[name]
        files.tensors[name] = (value * (2e5 / value.abs().max())).to(torch.float16)


def modules_exchanged(files: Files) -> None:
    """A converter mixed up keys and values: each is stored as the other."""
    before = dict(files.tensors)
    for name in before:
        for one, other in (("k_proj", "v_proj"), ("v_proj", "k_proj")):
            if f".{one}." in name:
                files.tensors[name] = before[name.replace(f".{one}.", f".{other}.")]


def runs_mixed(files: Files) -> None:
    """A is of one run and B of another: a file was overwritten by a job of the same name."""
    for name in files.carrying:
        files.tensors[name] = files.other[name].clone()


def soup(files: Files) -> None:
    """Factors of two runs were averaged, as if they were weights."""
    for name, value in files.tensors.items():
        files.tensors[name] = (value + files.other[name]) / 2


def wrong_file(files: Files) -> None:
    """The file of another task's run was uploaded: the right shape, the wrong job."""
    files.tensors.update({name: value.clone() for name, value in files.wrong.items()})


def rows_rolled(files: Files) -> None:
    """A file was mapped with an offset: every row of a change stands one place too low."""
    for name in files.carrying:
        start = files.start(name)
        files.tensors[name] = start + (files.tensors[name] - start).roll(1, 0)


def applied_twice(files: Files) -> None:
    """The change was merged into weights that had it already, and again by the next release."""
    files.scale(list(files.tensors), 3.0)


def two_bits(files: Files) -> None:
    """Three values for a whole tensor: a scale too coarse."""
    for name in files.carrying:
        start = files.start(name)
        change = files.tensors[name] - start
        step = change.abs().max() / 1.5
        files.tensors[name] = start + (change / step).round().clamp(-1, 1) * step


def transposed(files: Files) -> None:
    """Weights went through a library that stores them the other way; square ones fit even so."""
    for name in files.carrying:
        value = files.tensors[name]
        if value.dim() == 2 and value.shape[0] == value.shape[1]:
            files.tensors[name] = value.T.contiguous()


def negated(files: Files) -> None:
    """All of the change has the other sign: an experiment on unlearning was saved over it."""
    files.scale(files.carrying, -1.0)


EDITED: Mapping[str, Callable[[Files], None]] = {
    one.__name__: one
    for one in (
        stale_alpha,
        sign_turned,
        layers_exchanged,
        half_zero,
        noise_added,
        eight_bits,
        overflowed,
        modules_exchanged,
        runs_mixed,
        soup,
        wrong_file,
        rows_rolled,
        applied_twice,
        two_bits,
        transposed,
        negated,
    )
}


def _layer(name: str) -> int | None:
    found = _LAYER.search(name)
    return int(found.group()) if found else None


def _layers(files: Files) -> list[int]:
    return sorted({at for at in map(_layer, files.tensors) if at is not None})
