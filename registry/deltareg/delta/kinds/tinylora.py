"""TinyLoRA: a few numbers, shared by groups of modules, mix fixed matrices.

W' = W + B (Σ_i v_i P_i) A, with A and B from the singular components of W and P random, all of them
stored (arXiv 2602.04118). Modules share a vector v by their place in memory, which is known for
some types of network only; a single vector serves all.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from deltareg.delta.kind import BaseView, Effect
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.layouts.peft.sides import check_rank, low_rank, sizes
from deltareg.delta.maths.formula import Array, Ops, Tensor
from deltareg.delta.maths.updates import Factor

_VECTOR = "tinylora_v."
_LLAMA = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)
# The linear layers of one layer in the order in which the network holds them.
IN_MEMORY: dict[str, tuple[str, ...]] = {
    "gpt2": ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
}


@dataclass(frozen=True, slots=True)
class Tinylora:
    """Settings of the config.

    Attributes:
        r: The rank; a layer that is smaller has as much as it can.
        u: The length of a vector.
        weight_tying: The share of modules that use one vector; at 1 all use a single one.
    """

    r: int
    u: int
    weight_tying: float

    def group(self, place: int, modules: int) -> int:
        """Return the number of the vector that the module at a place uses, out of so many modules."""
        groups = max(1, round(modules * (1.0 - self.weight_tying)))
        return min(place // max(1, modules // groups), groups - 1)


@dataclass(frozen=True, slots=True)
class MatrixMixture:
    """B (Σ_i v_i P_i).

    Attributes:
        left: B (n_out, r).
        matrices: P (u, r, r).
        vector: v (u,).
    """

    left: Factor
    matrices: Tensor
    vector: Tensor

    def whole(self, ops: Ops) -> Array:
        return self.left.whole(ops) @ self._mixture(ops)

    def rows(self, start: int, stop: int, ops: Ops) -> Array:
        return self.left.rows(start, stop, ops) @ self._mixture(ops)

    def _mixture(self, ops: Ops) -> Array:
        count, height, width = self.matrices.shape
        flat = ops.load(self.matrices).reshape(count, height * width)
        return (ops.load(self.vector).reshape(1, count) @ flat).reshape(height, width)


def read(fields: Fields) -> Tinylora:
    """Read the sizes; refuse a delta without its random matrices."""
    fields.ignore("init_v_bound", "init_weights", "projection_seed", "tinylora_dropout")
    fields.refuse_unsaved_projection()
    settings = Tinylora(fields.integer("r", 2), fields.integer("u", 64), fields.number("weight_tying", 0.0))
    if not 0 <= settings.weight_tying <= 1:
        fields.refuse("weight_tying", "is not between 0 and 1")
    return settings


def effects(site: Site, settings: Tinylora) -> Iterable[Effect]:
    """Add the mixture, between the layer's own two factors, to the weight."""
    (rank, n_in), (n_out, other) = sizes(site, "tinylora_A"), sizes(site, "tinylora_B")
    check_rank(site, (rank, other), min(settings.r, n_out, n_in))
    matrices, vector = site.tensors["tinylora_P"], _vector(site, settings)
    if matrices.shape != (settings.u, rank, rank) or vector.shape != (settings.u,):
        message = f"{list(matrices.shape)} and {list(vector.shape)} are not {settings.u} matrices"
        raise site.refuse("shape", f"{message} of rank {rank} and as many numbers", "tinylora_P")
    left = MatrixMixture(Factor(site.tensors["tinylora_B"]), matrices, vector)
    right = Factor(site.tensors["tinylora_A"])
    yield site.changes(low_rank(site, left, right, out_in=(n_out, n_in), scale=1.0))


def _vector(site: Site, settings: Tinylora) -> Tensor:
    """Find the vector of a module, and check that exactly the vectors of the config came."""
    count = len(site.modules)
    expected = {settings.group(place, count) for place in range(count)}
    present = {role for role in site.tensors if role.startswith(_VECTOR)}
    if present != {f"{_VECTOR}{number}" for number in expected}:
        message = f"{len(present)} vectors came, and the config means {len(expected)}"
        raise site.refuse("missing_tensors", f"{message} for {count} modules")
    if len(expected) == 1:
        return site.tensors[f"{_VECTOR}{expected.pop()}"]
    places = _places(site.modules, site.base)
    if places is None:
        raise site.refuse(
            "not_self_contained",
            "which vector a module uses follows from the order of modules in memory, which is not"
            " known for this network",
            fix="train it with weight_tying 1.0, or merge it with the library and push the result",
        )
    return site.tensors[f"{_VECTOR}{settings.group(places[site.module], count)}"]


def _places(modules: Iterable[str], base: BaseView) -> dict[str, int] | None:
    """Number modules in the network's order; None if the place of one of them is not known."""
    order = IN_MEMORY.get(base.names.model_type, ())
    ranks: list[tuple[int, int, str]] = []
    for module in modules:
        above, _, leaf = module.rpartition(".")
        above, _, part = above.rpartition(".")
        number = above.rpartition(".")[2]
        if f"{part}.{leaf}" not in order or not number.isdecimal():
            return None
        ranks.append((int(number), order.index(f"{part}.{leaf}"), module))
    return {module: place for place, (_, _, module) in enumerate(sorted(ranks))}


_OWN = ("tinylora_A", "tinylora_B", "tinylora_P")
TINYLORA = PeftKind(
    "lora",
    "tinylora",
    "TINYLORA",
    {(role, ""): role for role in _OWN},
    read,
    effects,
    shared={_VECTOR: _VECTOR},
    optional=frozenset({_VECTOR}),
)
