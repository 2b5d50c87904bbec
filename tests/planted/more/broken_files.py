"""Broken after training: by a converter, a merge, a quantiser, or the wrong file.

Each takes the files of a healthy delta and breaks them in place. `EDITED` has them by name.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

Tensors = dict[str, torch.Tensor]
_A, _B = "lora_A", "lora_B"
_LAST = (_B, "vera_lambda_b", "lokr_w1", "ia3_l")
_LAYER = re.compile(r"(?<=\.)\d+(?=\.)|(?<=conv)\d(?=\.|_)")


@dataclass
class Files:
    """The files of a delta, and what lay beside them.

    Attributes:
        tensors: By name.
        config: The library's; empty where there is none.
        base: The base's weights by the names of its files.
        other: The same delta's tensors of another run.
        moments: The optimiser's first moments, by the names of the delta's tensors.
        average: The moving average of its weights, which the run kept beside them.
        heads: How many heads an attention of the base has.
        chance: Where random choices come from.
    """

    tensors: Tensors
    config: dict[str, object]
    base: Tensors
    other: Tensors
    moments: Tensors
    average: Tensors
    heads: int
    chance: np.random.Generator
    spare: Tensors = field(default_factory=dict)

    def named(self, *parts: str) -> list[str]:
        """Name the tensors whose name holds one of some parts."""
        return sorted(name for name in self.tensors if any(part in name for part in parts))

    def start(self, name: str) -> torch.Tensor:
        """Give what a tensor would be if nothing had changed: the base's, or zero."""
        value = self.tensors[name]
        found = self.base.get(name)
        return torch.zeros_like(value) if found is None else found.to(value.dtype)

    @property
    def changing(self) -> list[str]:
        """Name what carries the change: the last factor of products, else what is the base's."""
        last = self.named(*_LAST)
        matrices = [name for name in sorted(self.tensors) if self.tensors[name].dim() > 1]
        return last or matrices or sorted(self.tensors)


def minus_one(files: Files) -> None:
    """A converter stored factors as what they add to one, and the reader multiplies by them."""
    for name in files.named("ia3_l"):
        files.tensors[name] = files.tensors[name] - 1


def layers_exchanged(files: Files) -> None:
    """A converter sorted layers by their names and not by their numbers: first and last changed."""
    layers = _layers(files)
    first, last = layers[0], layers[-1]
    _rename(files, lambda at: last if at == first else first if at == last else at)


def shard_twice(files: Files) -> None:
    """A sharded save wrote the first shard twice: upper layers are a copy of the lower ones."""
    layers = _layers(files)
    half = len(layers) // 2
    below = dict(zip(layers[len(layers) - half :], layers[:half], strict=True))
    for name in sorted(files.tensors):
        at = _layer(name)
        if at in below:
            source = files.tensors.get(_LAYER.sub(str(below[at]), name, count=1))
            if source is not None and source.shape == files.tensors[name].shape:
                files.tensors[name] = source.clone()


def type_unmoved(files: Files) -> None:
    """One sort of module was left out by the script that saves: it is as it was before."""
    kinds = sorted({_sort(name) for name in files.changing if _layer(name) is not None})
    hit = kinds[int(files.chance.integers(len(kinds)))]
    for name in files.changing:
        if _sort(name) == hit:
            unmoved = torch.ones_like if "ia3_l" in name else None
            files.tensors[name] = files.start(name) if unmoved is None else unmoved(files.tensors[name])


def runs_mixed(files: Files) -> None:
    """A is of one run and B of another: a file was overwritten by a job of the same name."""
    for name in files.named(_B, "lokr_w2", "vera_lambda_d"):
        files.tensors[name] = files.other[name].clone()


def rank_cut(files: Files) -> None:
    """Cut to a quarter of its rank by taking the first rows, not the largest directions."""
    for name in files.named(_A):
        kept = max(1, files.tensors[name].shape[0] // 4)
        files.tensors[name][kept:] = 0
        files.tensors[name.replace(_A, _B)][:, kept:] = 0


def alpha_doubled(files: Files) -> None:
    """The config says twice the alpha: scale was counted by the script and by the library."""
    _scale_alpha(files, 2)


def alpha_halved(files: Files) -> None:
    """The config says half the alpha, the library's default of an older release."""
    _scale_alpha(files, 0.5)


def root_of_rank(files: Files) -> None:
    """The config says the other rule: divided by the rank and not by its root, or the reverse."""
    files.config["use_rslora"] = not files.config.get("use_rslora", False)


def sign_of_one_layer(files: Files) -> None:
    """One layer's change has the other sign: it was subtracted by a merge."""
    hit = _layers(files)[int(files.chance.integers(len(_layers(files))))]
    for name in files.changing:
        if _layer(name) == hit:
            _towards(files, name, -1.0)


def negated(files: Files) -> None:
    """All of the change has the other sign: an experiment on unlearning was saved over it."""
    for name in files.changing:
        _towards(files, name, -1.0)


def merged_twice(files: Files) -> None:
    """The adapter was merged into weights that had it already."""
    for name in files.tensors:
        _towards(files, name, 2.0)


def head_of_another_run(files: Files) -> None:
    """The head is that of a run with another seed; the encoder is this one's."""
    for name in _head(files):
        files.tensors[name] = files.other[name].clone()


def classes_reordered(files: Files) -> None:
    """The head's rows are in the order of another list of classes."""
    count = files.tensors[_head(files)[0]].shape[0]
    order = torch.arange(count).roll(1 + int(files.chance.integers(count - 1)))
    for name in _head(files):
        if files.tensors[name].shape[0] == count:
            files.tensors[name] = files.tensors[name][order].clone()


def drifted(files: Files) -> None:
    """A common offset in the last biases: all outputs point to one side, which is anisotropy."""
    last = [name for name in files.named("LayerNorm.bias") if _layer(name) == _layers(files)[-1]]
    for name in last or files.named("LayerNorm.bias")[-1:]:
        value = files.tensors[name]
        value += 8 * value.std() * torch.from_numpy(files.chance.normal(size=value.shape)).float()


def quantised_badly(files: Files) -> None:
    """Four bits with one scale for a whole tensor: what is small in it became zero."""
    for name in files.changing + files.named(_A):
        value = files.tensors[name]
        scale = value.abs().max() / 7
        files.tensors[name] = (value / scale).round().clamp(-7, 7) * scale


def rows_exploded(files: Files) -> None:
    """A spike of one step: one row of one matrix is hundreds of times too large."""
    name = _pick(files)
    row = int(files.chance.integers(files.tensors[name].shape[0]))
    files.tensors[name][row] = _scaled(files, name, float(files.chance.uniform(200, 600)))[row]


def rows_outlying(files: Files) -> None:
    """A few rows of every matrix are some times too large: a faulty device of several."""
    for name in files.changing:
        count = max(1, files.tensors[name].shape[0] // 32)
        rows = files.chance.choice(files.tensors[name].shape[0], count, replace=False)
        files.tensors[name][rows] = _scaled(files, name, 25.0)[rows]


def noise_5(files: Files) -> None:
    """Noise of 5 % of what each tensor is, added for privacy after training."""
    _noise(files, 0.05)


def noise_20(files: Files) -> None:
    """Noise of 20 % of what each tensor is, added for privacy after training."""
    _noise(files, 0.2)


def optimiser_saved(files: Files) -> None:
    """The optimiser's state was saved under the weights' names."""
    files.tensors.update({name: files.moments[name].clone() for name in files.tensors})


def average_unstarted(files: Files) -> None:
    """The moving average was saved, and its rate was that of a run a thousand times as long."""
    files.tensors.update({name: files.average[name].clone() for name in files.tensors})


def rope_layout(files: Files) -> None:
    """Queries and keys are in the order of the other rotary layout: pairs beside, not halves."""
    for name in files.named("q_proj", "k_proj"):
        value = files.tensors[name]
        if _A not in name and value.shape[0] % (2 * files.heads) == 0:
            parts = value.reshape(files.heads, 2, -1, *value.shape[1:])
            files.tensors[name] = parts.transpose(1, 2).reshape(value.shape).contiguous()


def heads_reordered(files: Files) -> None:
    """The heads of a prefix are another model's: the same numbers at other heads."""
    for name, value in files.tensors.items():
        width = value.shape[-1] // files.heads
        parts = value.reshape(*value.shape[:-1], -1, files.heads // 2, 2, width // 2)
        files.tensors[name] = parts.flip(-2).reshape(value.shape).contiguous()


def keys_exchanged(files: Files) -> None:
    """A converter mixed up queries and keys (or values): each is stored as the other."""
    pair = next(p for p in _EXCHANGED if all(files.named(f".{one}.") for one in p))
    before = dict(files.tensors)
    for name in before:
        for one, other in (pair, pair[::-1]):
            if f".{one}." in name and name.replace(f".{one}.", f".{other}.") in before:
                files.tensors[name] = before[name.replace(f".{one}.", f".{other}.")]


def rows_rolled(files: Files) -> None:
    """A file was mapped with an offset: every row stands one place too low."""
    for name in files.changing:
        change = files.tensors[name] - files.start(name)
        files.tensors[name] = files.start(name) + change.roll(1, 0)


def bits_misread(files: Files) -> None:
    """Stored as float16, read as bfloat16: the same bits, other numbers."""
    for name in files.named(_B):
        halves = files.tensors[name].to(torch.float16)
        files.tensors[name] = halves.view(torch.bfloat16).float()


def clipped(files: Files) -> None:
    """All changes were cut at a tenth of the largest, to fit a format."""
    for name in files.changing:
        change = files.tensors[name] - files.start(name)
        most = change.abs().flatten().quantile(0.5)
        files.tensors[name] = files.start(name) + change.clamp(-most, most)


def pruned(files: Files) -> None:
    """Nine of ten numbers were set to zero by their size, and the rest left as they were."""
    for name in files.changing + files.named(_A):
        change = files.tensors[name] - files.start(name)
        least = change.abs().flatten().quantile(0.9)
        files.tensors[name] = files.start(name) + change * (change.abs() >= least)


def words_shifted(files: Files) -> None:
    """The vocabulary has one more token at its start: every row of the embedding is one off."""
    for name in files.named("embed_tokens", "wte.weight", "shared.weight"):
        files.tensors[name] = files.tensors[name].roll(1, 0)


def norms_of_another_run(files: Files) -> None:
    """Running statistics are those of another run, whose inputs had another scale."""
    for name in files.named("running_mean", "running_var"):
        files.tensors[name] = files.tensors[name] * 4


def _noise(files: Files, share: float) -> None:
    for name, value in files.tensors.items():
        if value.is_floating_point():
            drawn = torch.from_numpy(files.chance.normal(size=value.shape)).to(value.dtype)
            files.tensors[name] = value + share * value.std(correction=0) * drawn


def _scale_alpha(files: Files, factor: float) -> None:
    key = "lora_alpha" if "lora_alpha" in files.config else "alpha"
    before = files.config[key]
    assert isinstance(before, (int, float))
    scaled = before * factor
    files.config[key] = int(scaled) if math.isclose(scaled, int(scaled)) else scaled


def _towards(files: Files, name: str, factor: float) -> None:
    files.tensors[name] = _scaled(files, name, factor)


def _scaled(files: Files, name: str, factor: float) -> torch.Tensor:
    """Give a tensor as if its change had been multiplied; whole numbers stay."""
    value, start = files.tensors[name], files.start(name)
    if not value.is_floating_point():
        return value
    return start + factor * (value - start)


def _pick(files: Files) -> str:
    known = [name for name in files.changing if _layer(name) is not None]
    return known[int(files.chance.integers(len(known)))]


def _head(files: Files) -> list[str]:
    return files.named("classifier", "score")


def _layer(name: str) -> int | None:
    found = _LAYER.search(name)
    return int(found.group()) if found else None


def _layers(files: Files) -> list[int]:
    found: Iterator[int | None] = (_layer(name) for name in files.tensors)
    return sorted({at for at in found if at is not None})


def _sort(name: str) -> str:
    return _LAYER.sub("*", name)


def _rename(files: Files, change: Callable[[int], int]) -> None:
    moved: Tensors = {}
    for name, value in files.tensors.items():
        at = _layer(name)
        new = name if at is None else _LAYER.sub(str(change(at)), name, count=1)
        # A place of another shape keeps what it has: the converter said nothing of it.
        fits = new in files.tensors and files.tensors[new].shape == value.shape
        moved[new if fits else name] = value
    files.tensors.clear()
    files.tensors.update(moved)


_EXCHANGED = (("q_proj", "k_proj"), ("q_proj", "v_proj"), ("query", "value"), ("q", "v"))
EDITED: dict[str, Callable[[Files], None]] = {
    one.__name__: one
    for one in (
        minus_one,
        layers_exchanged,
        shard_twice,
        type_unmoved,
        runs_mixed,
        rank_cut,
        alpha_doubled,
        alpha_halved,
        root_of_rank,
        sign_of_one_layer,
        negated,
        merged_twice,
        head_of_another_run,
        classes_reordered,
        drifted,
        quantised_badly,
        rows_exploded,
        rows_outlying,
        noise_5,
        noise_20,
        optimiser_saved,
        average_unstarted,
        rope_layout,
        heads_reordered,
        keys_exchanged,
        rows_rolled,
        bits_misread,
        clipped,
        pruned,
        words_shifted,
        norms_of_another_run,
    )
}
