"""The recipe of a merge, `merge.json`: what was merged, how and with which weights.

It is a file of the version like any other, so it is part of the version's identity: the same
parents merged in another way are another version, and the same merge again is the same one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from deltareg.delta.merge.method import MergeMethod, MergeSettings

RECIPE_FILE = "merge.json"
SCHEMA = "deltareg.merge/1"
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class RecipeParent:
    """A version that was merged.

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
    """A merge as it is recorded.

    Attributes:
        method: The method's name.
        base: The root of the base that all parents have.
        parents: In order, one that was named twice twice.
        parameters: Those that the method heeds.
        dtype: `keep`, or what the result was written as.
        relative_error: Module -> what a LoRA of limited rank lost of the change, as a share of it;
            under the empty name over all modules. Empty for methods that lose nothing.
    """

    method: str
    base: str
    parents: Sequence[RecipeParent]
    parameters: Mapping[str, object]
    dtype: str = "keep"
    relative_error: Mapping[str, float] = field(default_factory=dict[str, float])

    def encode(self) -> bytes:
        """Write the file: the same recipe gives the same bytes."""
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
    """Give the parameters that a method heeds, with the values that they have."""
    values: dict[str, object] = {
        "density": settings.density,
        "seed": settings.seed,
        "scale": settings.scale,
        "rank": settings.rank,
        "normalize": method.name == "ties" if settings.normalize is None else settings.normalize,
    }
    return {name: value for name, value in values.items() if name in method.takes}


def _short(value: float) -> float:
    """Round to a few digits, so that other kernels of linear algebra write the same."""
    return float(f"{value:.{_DIGITS}g}")
