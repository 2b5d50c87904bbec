"""The engine: what a delta is, what it does to a base, and how it is folded, compared, merged.

The names that a kind in another distribution needs can be imported from here.
docs/howto/add-a-kind.md shows a whole one, and `deltareg.testing` has the tests that it must pass.
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
    """Load the module of a name on first use: most importers of the engine need no kinds."""
    return load_name(__name__, _HOMES, name)


def __dir__() -> list[str]:
    """Return the public names."""
    return [*__all__]
