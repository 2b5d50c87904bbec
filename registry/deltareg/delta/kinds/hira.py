"""HiRA: the weight times a low-rank product, element by element.

W' = W + W ∘ (B A) (Huang et al. 2025, "HiRA: Parameter-Efficient Hadamard High-Rank Adaptation for
Large Language Models", ICLR 2025), over linear layers, convolutions and embeddings.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from deltareg.delta.kind import Effect
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.layouts.peft.sides import check_rank, check_size, is_flipped, require
from deltareg.delta.layouts.peft.suffixes import ModuleNumbers
from deltareg.delta.layouts.peft.targets import read_numbers
from deltareg.delta.maths.formula import Array, Ops
from deltareg.delta.maths.updates import Factor

_ROLES = ("hira_A", "hira_B", "hira_embedding_A", "hira_embedding_B")


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the config; there is no scale, so ranks only serve to check shapes.

    Attributes:
        r: The rank.
        ranks: Ranks of some modules, which the library reads and then does not use.
    """

    r: int
    ranks: ModuleNumbers = field(default_factory=ModuleNumbers)


@dataclass(frozen=True, slots=True)
class HadamardModulation:
    """W + W ∘ (left @ right).

    Attributes:
        left: (n_out, r) in the orientation of W.
        right: (r, n_in).
    """

    left: Factor
    right: Factor
    needs_whole = False
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        product = self.left.rows(start, stop, ops) @ self.right.whole(ops)
        return weight + weight * product.reshape(*weight.shape)


def read(fields: Fields) -> Settings:
    """Read the ranks."""
    fields.ignore("hira_dropout", "init_weights")
    return Settings(fields.integer("r", 32), read_numbers(fields, "rank_pattern", whole=True))


def effects(site: Site, settings: Settings) -> Iterable[Effect]:
    """Multiply the weight by one plus the product, element by element."""
    is_embedding = "hira_embedding_A" in site.tensors or "hira_embedding_B" in site.tensors
    roles = _ROLES[2:] if is_embedding else _ROLES[:2]
    require(site, *roles)
    a, b = (site.tensors[role] for role in roles)
    if not len(a.shape) == len(b.shape) >= 2 or math.prod(b.shape[2:]) != 1:
        raise site.refuse("shape", f"A {list(a.shape)} and B {list(b.shape)} are no factors")
    check_size(site, a.shape[0], settings.r, settings.ranks)
    check_rank(site, (b.shape[1],), a.shape[0])
    n_out, n_in = b.shape[0], math.prod(a.shape[1:])
    if is_embedding:
        _check_table(site, n_in, n_out)
    if is_embedding or is_flipped(site, n_out, n_in):
        a, b = b, a
        yield site.changes(HadamardModulation(Factor(b, flipped=True), Factor(a, flipped=True)))
    else:
        yield site.changes(HadamardModulation(Factor(b), Factor(a)))


def _check_table(site: Site, height: int, width: int) -> None:
    if site.shape != (height, width):
        message = f"its tensors are for {height} rows of {width}, and {site.target} is"
        raise site.refuse("shape", f"{message} {list(site.shape)}")


HIRA = PeftKind(
    "lora", "hira", "HIRA", {(role, ""): role for role in _ROLES}, read, effects, optional=frozenset(_ROLES)
)
