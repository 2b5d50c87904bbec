"""How peft cuts a weight into the two matrices of LoKr, and settings that cut it like a file.

Peft creates the matrices before it loads them. Their sizes come from one `decompose_factor` for all
modules; rank and `decompose_both` decide whether each is whole or a product. LyCORIS has the same
rule (its `factorization`), with a factor for each module where its preset says so.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from deltareg.delta.maths.formula import Tensor


@dataclass(frozen=True, slots=True)
class LokrCut:
    """The two matrices of a module.

    Attributes:
        outputs: Rows of the first and of the second matrix.
        inputs: Columns of the first and of the second matrix.
        has_first: Whether the first is stored whole.
        has_second: Whether the second is stored whole.
    """

    outputs: tuple[int, int]
    inputs: tuple[int, int]
    has_first: bool
    has_second: bool

    @property
    def whole_rank(self) -> int:
        """The lowest rank at which the library stores the second matrix whole."""
        return max(1, -(-max(self.outputs[1], self.inputs[1]) // 2))


def cut_of(roles: Mapping[str, Tensor], shape: tuple[int, ...]) -> LokrCut | None:
    """Return a module's cut, read from its tensors; None if they do not make its weight.

    Args:
        roles: Its tensors by role.
        shape: Its weight's shape.
    """
    first = _sides(roles, "lokr_w1")
    if first is None or 0 in first or len(shape) < 2 or shape[0] % first[0] or shape[1] % first[1]:
        return None
    outputs, inputs = (first[0], shape[0] // first[0]), (first[1], shape[1] // first[1])
    return LokrCut(outputs, inputs, "lokr_w1" in roles, "lokr_w2" in roles)


def settings_for(cuts: Iterable[tuple[LokrCut, int]]) -> dict[str, object] | None:
    """Return settings by which the library makes all these cuts; None if there are none.

    Args:
        cuts: Each with the rank of its module.
    """
    distinct = list(cuts)
    for factor in (-1, *_factors(cut for cut, _ in distinct)):
        for both in (False, True):
            if all(_is_made(cut, rank, factor, is_both=both) for cut, rank in distinct):
                return {"decompose_factor": factor, "decompose_both": both}
    return None


def _factors(cuts: Iterable[LokrCut]) -> list[int]:
    return sorted({size for cut in cuts for size in (*cut.outputs, *cut.inputs)})


def _is_made(cut: LokrCut, rank: int, factor: int, *, is_both: bool) -> bool:
    sizes = [factor_size(first * second, factor) for first, second in (cut.outputs, cut.inputs)]
    is_first_cut = is_both and rank < max(cut.outputs[0], cut.inputs[0]) / 2
    is_second_cut = rank < max(cut.outputs[1], cut.inputs[1]) / 2
    return sizes == [cut.outputs, cut.inputs] and (is_first_cut, is_second_cut) == (
        not cut.has_first,
        not cut.has_second,
    )


def factor_size(size: int, factor: int) -> tuple[int, int]:
    """Return the two factors of a number, the smaller first, as both libraries do."""
    if factor > 0 and size % factor == 0:
        return factor, size // factor
    most = math.isqrt(size) if factor == -1 else min(factor, math.isqrt(size))
    first = max(n for n in range(1, most + 1) if size % n == 0)
    return first, size // first


def _sides(roles: Mapping[str, Tensor], name: str) -> tuple[int, int] | None:
    whole = roles.get(name)
    if whole is not None:
        return (whole.shape[0], whole.shape[1]) if len(whole.shape) == 2 else None
    first, second = (roles.get(f"{name}_{side}") for side in "ab")
    if first is None or second is None or len(first.shape) != 2 or len(second.shape) != 2:
        return None
    return first.shape[0], second.shape[1]
