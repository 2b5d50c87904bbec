"""The engine: what a delta is, what it does to a base, and how it is folded, compared, merged.

What a kind of another distribution is written on can be had from here by name; docs/howto/
add-a-kind.md shows one whole, and `deltareg.testing` has the tests that it must pass.
"""

from typing import TYPE_CHECKING

from deltareg.on_demand import load_name

if TYPE_CHECKING:
    from deltareg.delta.kind import (
        Account,
        ActivationHook,
        Addition,
        BaseCopy,
        BaseView,
        DeltaFiles,
        DeltaKind,
        Effect,
        KindReader,
        Match,
        PrefixInsert,
        Tensors,
        WeightUpdate,
    )
    from deltareg.delta.layouts.peft.config import Fields
    from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
    from deltareg.delta.maths.formula import Array, Examined, Ops, Tensor, Update

_HOMES = {
    "kind": (
        "Account",
        "ActivationHook",
        "Addition",
        "BaseCopy",
        "BaseView",
        "DeltaFiles",
        "DeltaKind",
        "Effect",
        "KindReader",
        "Match",
        "PrefixInsert",
        "Tensors",
        "WeightUpdate",
    ),
    "layouts.peft.config": ("Fields",),
    "layouts.peft.peft_kind": ("PeftKind", "Site"),
    "maths.formula": ("Array", "Examined", "Ops", "Tensor", "Update"),
}

__all__ = [
    "Account",
    "ActivationHook",
    "Addition",
    "Array",
    "BaseCopy",
    "BaseView",
    "DeltaFiles",
    "DeltaKind",
    "Effect",
    "Examined",
    "Fields",
    "KindReader",
    "Match",
    "Ops",
    "PeftKind",
    "PrefixInsert",
    "Site",
    "Tensor",
    "Tensors",
    "Update",
    "WeightUpdate",
]


def __getattr__(name: str) -> object:
    """Load a name's module on first use: most who import a part of the engine need no kinds."""
    return load_name(__name__, _HOMES, name)


def __dir__() -> list[str]:
    """Name what there is."""
    return [*__all__]
