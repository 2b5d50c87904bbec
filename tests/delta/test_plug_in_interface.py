"""What kinds of other distributions are written on: added to with care, and never taken from."""

import deltareg.delta
import deltareg.testing


def test_the_engine_offers_these_names_and_no_others():
    assert deltareg.delta.__all__ == [
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


def test_every_name_is_what_it_says():
    found = {name: getattr(deltareg.delta, name) for name in deltareg.delta.__all__}

    classes = {name: value.__name__ for name, value in found.items() if isinstance(value, type)}
    assert classes == {name: name for name in found.keys() - {"Effect", "Tensors"}}


def test_what_plug_ins_must_pass_ships_with_the_registry():
    assert deltareg.testing.__all__ == ["FormTests", "KindTests", "OpenedStore", "Sample", "StoreTests"]
