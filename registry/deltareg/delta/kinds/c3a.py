"""C3A: the layer cut into square blocks, each of which is circulant, given by its first row.

W' = W + C(kernel) / n_in, where each row of a block is the one above, moved on by one (Chen et al.
2024, arXiv 2407.19342).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from deltareg.delta.kind import Effect
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.layouts.peft.sides import check_size, plain_layer, sizes
from deltareg.delta.layouts.peft.suffixes import ModuleNumbers
from deltareg.delta.layouts.peft.targets import read_numbers
from deltareg.delta.maths.formula import Array, Ops, Tensor


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the config.

    Attributes:
        block_size: The size of blocks unless `sizes` has another.
        sizes: The sizes of some modules' blocks.
    """

    block_size: int
    sizes: ModuleNumbers = field(default_factory=ModuleNumbers)


@dataclass(frozen=True, slots=True)
class Circulant:
    """W + blocks / n_in, element (p, q) of a block being its kernel's at q - p.

    Attributes:
        kernels: (n_out / size, n_in / size, size).
    """

    kernels: Tensor
    needs_whole = False
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        _, across, size = self.kernels.shape
        rows = np.arange(start, stop)[:, None]
        columns = np.arange(across * size)[None]
        block = rows // size * across + columns // size
        places = block * size + (columns - rows) % size
        blocks = ops.take(ops.load(self.kernels).reshape(-1), places.reshape(-1), 0)
        return weight + blocks.reshape(stop - start, across * size) / float(across * size)


def read(fields: Fields) -> Settings:
    """Read the sizes of blocks."""
    fields.ignore("init_weights")
    sizes_ = read_numbers(fields, "block_size_pattern", whole=True)
    return Settings(fields.integer("block_size", 256), sizes_)


def effects(site: Site, settings: Settings) -> Iterable[Effect]:
    """Add the circulant blocks to the weight."""
    down, across, size = sizes(site, "kernel", 3)
    check_size(site, size, settings.block_size, settings.sizes)
    plain_layer(site, down * size, across * size)
    yield site.changes(Circulant(site.tensors["kernel"]))


C3A = PeftKind("lora", "c3a", "C3A", {("c3a_kernel", ""): "kernel"}, read, effects)
