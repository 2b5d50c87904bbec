"""Bottleneck adapters of the adapters library: what is read, what is refused and why."""

import pytest

from deltareg.delta.kind import ActivationHook
from tests.delta.adapterhub_layout.opened import (
    accounted,
    base,
    codes,
    sample,
    with_document,
    with_method,
    with_shape,
    with_tensors,
)

UP = "bert.encoder.layer.1.output.adapters.task.adapter_up.weight"


@pytest.mark.parametrize(
    ("name", "variant", "word", "hooks"),
    [
        ("bert", "seq_inv", "invertible", 3),
        ("distilbert", "double", "double", 4),
        ("llama", "parallel", "parallel", 2),
        ("llama", "by_layer", "double", 2),
        ("gpt2", "compacter", "compacter", 4),
        ("clip", "double_inv", "invertible", 9),
        ("t5", "cross", "double", 10),
    ],
)
def test_a_variant_and_its_places_are_told(name, variant, word, hooks):
    found = accounted(sample(name, variant), base(name)[0])

    assert found.problems == []
    assert (found.delta.name, found.delta.variant, found.delta.foldable) == ("bottleneck", word, False)
    assert sum("adapter" in role or "." in role for role, _ in found.roles.values()) > 0
    assert found.modules - sum(role == "head" for role, _ in found.roles.values()) == hooks


def test_a_missing_tensor_is_found():
    folder = with_tensors(sample("bert", "gated"), lambda name: None if name == UP else name)

    assert codes(folder, base("bert")[0]) == ["missing_tensors"]


def test_a_whole_missing_adapter_is_found():
    folder = with_tensors(sample("bert", "gated"), lambda name: None if ".layer.1.output." in name else name)

    assert codes(folder, base("bert")[0]) == ["missing_tensors"]


def test_a_layer_that_the_base_lacks_is_found():
    folder = with_tensors(sample("bert", "gated"), lambda name: name.replace(".layer.1.output.", ".layer.7.output."))

    assert codes(folder, base("bert")[0]) == ["partial_application", "missing_tensors"]


def test_layers_of_another_network_are_found():
    folder = with_tensors(sample("bert", "gated"), lambda name: name.replace("bert.encoder", "other.blocks"))

    assert codes(folder, base("bert")[0]) == ["no_tensor_applied", "missing_tensors"]


def test_another_type_of_base_is_refused():
    assert codes(sample("bert", "gated"), base("gpt2")[0]) == ["base_mismatch"]


def test_a_shape_that_does_not_fit_is_found():
    folder = with_shape(sample("bert", "gated"), UP, (16, 5))

    assert codes(folder, base("bert")[0]) == ["shape"]


def test_a_leftover_tensor_is_found():
    folder = with_tensors(sample("clip", "double_inv"), lambda name: name.replace(".G.2.bias", ".H.2.bias"))

    assert codes(folder, base("clip")[0]) == ["shape", "missing_tensors", "unexpected_tensors"]


def test_a_head_that_came_in_part_is_found():
    folder = with_tensors(sample("bert", "gated"), lambda name: None if name == "classifier.bias" else name)

    assert codes(folder, base("bert")[0]) == ["missing_tensors"]


def test_a_tensor_that_the_bases_own_head_lacks_is_found():
    folder = with_tensors(
        sample("bert", "gated"), lambda name: name.replace("classifier.bias", "classifier.out_proj.bias")
    )

    assert codes(folder, base("bert")[0]) == ["missing_tensors", "unexpected_tensors"]


def test_a_tensor_that_the_config_does_not_know_is_found():
    folder = with_method(sample("bert", "gated"), use_gating=False)

    assert codes(folder, base("bert")[0]) == ["unexpected_tensors"]


def test_an_adapter_that_the_config_leaves_out_is_found():
    folder = with_method(sample("bert", "gated"), leave_out=[1])

    assert codes(folder, base("bert")[0]) == ["unexpected_tensors"]


def test_a_shared_rule_that_did_not_come_is_not_made_up():
    folder = with_tensors(sample("gpt2", "compacter"), lambda name: None if name.endswith("phm_rule") else name)

    assert codes(folder, base("gpt2")[0]) == ["not_self_contained"]


@pytest.mark.parametrize(
    "fields",
    [
        {"ln_before": True},
        {"ln_after": True},
        {"adapter_residual_before_ln": True},
        {"original_ln_after": False},
        {"inv_adapter": "glow"},
        {"non_linearity": "mish"},
        {"residual_before_ln": "sometimes"},
        {"scaling": "wide"},
        {"leave_out": "all"},
        {"a_field_of_tomorrow": 1},
        {"phm_layer": True, "shared_W_phm": True},
        {"dtype": "float16"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_is_not_supported_is_refused_by_name(fields):
    folder = with_method(sample("bert", "gated"), **fields)

    assert codes(folder, base("bert")[0]) == ["bad_config"]


def test_a_residual_after_the_addition_needs_a_norm_after_it():
    folder = with_method(sample("llama", "by_layer"), residual_before_ln="post_add", original_ln_before=True)

    assert codes(folder, base("llama")[0]) == ["bad_config"]


def test_an_interface_says_where_it_goes():
    found = accounted(sample("qwen2", "double"), base("qwen2")[0])

    assert found.problems == []
    assert {e.module for e in found.effects if isinstance(e, ActivationHook)} == {
        f"model.layers.{n}.{path}" for n in (0, 1) for path in ("self_attn.o_proj", "mlp.down_proj")
    }
    assert found.delta.config()["interface"]["layer_output_proj"] == "mlp.down_proj"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (None, "unknown_kind"),
        ({"layer_ln_1": "input_layernorm"}, "bad_config"),
        ({"layer_pre_ffn": None}, "bad_config"),
        ({"layer_output_proj": "(a+)+"}, "bad_config"),
        ({"layer_output_proj": "mlp.other_proj"}, "no_tensor_applied"),
    ],
    ids=["absent", "norms", "no residual", "pattern", "other module"],
)
def test_an_interface_that_is_not_understood_is_refused(change, code):
    folder = with_document(
        sample("qwen2", "double"),
        "adapter_interface.json",
        change and (lambda document: document["interface"].update(change)),
    )

    assert codes(folder, base("qwen2")[0]) == [code]


def test_a_name_that_is_not_the_tensors_is_found():
    folder = with_document(sample("bert", "gated"), "adapter_config.json", lambda config: config.update(name="other"))

    assert codes(folder, base("bert")[0]) == ["no_tensor_applied"]


def test_an_unknown_field_around_the_method_is_refused():
    folder = with_document(sample("bert", "gated"), "adapter_config.json", lambda config: config.update(fusion="yes"))

    assert codes(folder, base("bert")[0]) == ["bad_config"]


def test_tensors_without_their_config_are_told_what_is_missing():
    folder = with_document(sample("bert", "gated"), "adapter_config.json", None)

    assert codes(folder, base("bert")[0]) == ["missing_config"]


def test_a_head_counts():
    found = accounted(sample("bert", "gated"), base("bert")[0])

    assert found.roles["classifier.weight"] == ("head", "classifier.weight")


def test_a_tied_head_is_evidence_of_the_base():
    found = accounted(sample("gpt2", "compacter"), base("gpt2")[0])

    assert found.has_base_evidence


def test_a_head_that_nothing_declares_is_refused():
    folder = with_document(sample("bert", "gated"), "head_config.json", None)

    assert codes(folder, base("bert")[0]) == ["unexpected_tensors"]


def test_a_head_of_the_librarys_own_is_refused():
    folder = with_document(
        sample("bert", "gated"),
        "head_config.json",
        lambda config: config.update(config={"head_type": "classification"}, name="task"),
    )

    assert codes(folder, base("bert")[0]) == ["bad_config"]


def test_a_declared_head_that_did_not_come_is_found():
    folder = with_tensors(sample("bert", "gated"), lambda name: None if name.startswith("classifier") else name)

    assert codes(folder, base("bert")[0]) == ["missing_tensors"]
