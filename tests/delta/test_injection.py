"""Where a delta acts, in the words that people use for it."""

import pytest

from deltareg.delta.injection import InjectionPoint, describe_points, injection_points
from deltareg.delta.kind import ActivationHook, Addition, BaseCopy, PrefixInsert, WeightUpdate
from deltareg.delta.maths.updates import IdentityUpdate


def weights(*targets):
    return [WeightUpdate(target, IdentityUpdate(), {}) for target in targets]


def point(module, *layers, within="model.layers"):
    return InjectionPoint(within if layers else "", module, layers)


def test_layers_of_one_module_are_one_point():
    found = injection_points(
        weights(
            "model.layers.1.self_attn.q_proj.weight",
            "model.layers.0.self_attn.q_proj.weight",
            "model.layers.0.self_attn.q_proj.bias",
            "model.norm.weight",
            "cls_token",
        )
    )

    assert found == [point("cls_token"), point("model.norm"), point("self_attn.q_proj", 0, 1)]


def test_experts_are_one_module():
    found = injection_points(weights("model.layers.3.mlp.experts.7.w1.weight"))

    assert found == [point("mlp.experts.*.w1", 3)]


def test_what_is_attached_acts_somewhere_too():
    hook = ActivationHook("model.layers.0.mlp", "after", {}, {}, hook=None)  # type: ignore[arg-type]  # never applied
    whole = PrefixInsert("tokens", "", 2, vectors=None, consumes={})  # type: ignore[arg-type]  # never made
    copy = BaseCopy("model.norm.weight", tensor=None, consumes={})  # type: ignore[arg-type]  # never read
    head = Addition("score.weight", tensor=None, consumes={})  # type: ignore[arg-type]  # never read

    found = injection_points([hook, whole, copy, head])

    assert found == [point("score"), point("tokens"), point("mlp", 0)]


@pytest.mark.parametrize(
    ("points", "lines"),
    [
        ([point("self_attn.q_proj", 0, 1), point("self_attn.v_proj", 0, 1)], ["layers 0-1: q_proj, v_proj"]),
        ([point("a.out", 0, 1, 2, 5), point("b.out", 0, 1, 2, 5)], ["layers 0-2,5: a.out, b.out"]),
        ([point("lm_head"), point("q", 1)], ["lm_head", "layers 1: q"]),
        (
            [point("q", 0, within="encoder.layers"), point("q", 1, within="decoder.layers")],
            ["encoder.layers 0: q", "decoder.layers 1: q"],
        ),
        ([], []),
    ],
)
def test_points_are_told_in_few_words(points, lines):
    assert describe_points(points) == lines
