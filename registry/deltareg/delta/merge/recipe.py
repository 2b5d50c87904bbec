"""The recipe of a merge, `merge.json`: the parents, their weights and the method.

It is a file of the version like any other, so it is part of the version's identity: the same
parents merged in another way are another version, and the same merge again is the same one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from deltareg.delta.merge.method import MergeMethod, MergeSettings, ValueMethod

RECIPE_FILE = "merge.json"
SCHEMA = "deltareg.merge/1"
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class RecipeParent:
    """A version that is a parent of a merge.

    Attributes:
        ref: With its number.
        digest: Its manifest digest.
        weight: Its weight.
    """

    ref: str
    digest: str
    weight: float


@dataclass(frozen=True, slots=True)
class MergeRecipe:
    """The record of a merge.

    Attributes:
        method: The method's name.
        base: The root of the base that all parents have.
        parents: In order; a parent that was named twice occurs twice.
        parameters: The parameters that the method uses.
        dtype: `keep`, or the dtype of the result.
        relative_error: Module -> the share of the change that a LoRA of limited rank lost; the
            empty name has it over all modules. Empty for methods that lose nothing.
    """

    method: str
    base: str
    parents: Sequence[RecipeParent]
    parameters: Mapping[str, object]
    dtype: str = "keep"
    relative_error: Mapping[str, float] = field(default_factory=dict[str, float])

    def encode(self) -> bytes:
        """Encode the file; equal recipes give equal bytes."""
        document: dict[str, object] = {
            "schema": SCHEMA,
            "method": self.method,
            "parents": [
                {"ref": parent.ref, "digest": parent.digest, "weight": parent.weight} for parent in self.parents
            ],
            "parameters": dict(sorted(self.parameters.items())),
            "base": self.base,
            "dtype": self.dtype,
        }
        if self.relative_error:
            modules = {name: _short(e) for name, e in self.relative_error.items() if name}
            document["relative_error"] = _short(self.relative_error[""])
            document["modules"] = dict(sorted(modules.items()))
        return (json.dumps(document, indent=2) + "\n").encode()


def parameters_of(method: MergeMethod, settings: MergeSettings) -> dict[str, object]:
    """Return the parameters that a method uses, with their values."""
    normalizes = isinstance(method, ValueMethod) and method.normalizes
    values: dict[str, object] = {
        "density": settings.density,
        "seed": settings.seed,
        "scale": settings.scale,
        "rank": settings.rank,
        "gamma": settings.gamma,
        "epsilon": settings.epsilon,
        "normalize": normalizes if settings.normalize is None else settings.normalize,
    }
    return {name: value for name, value in values.items() if name in method.takes}


def _short(value: float) -> float:
    """Round to a few digits, so that the result does not depend on the linear algebra kernels."""
    return float(f"{value:.{_DIGITS}g}")
