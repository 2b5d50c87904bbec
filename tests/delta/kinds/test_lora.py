"""LoRA: what is read from names and config, and what is refused, on tiny bases."""

import math

import numpy as np
import pytest

from deltareg.delta.accounting import account, recognise
from deltareg.delta.fold import FoldedBase
from deltareg.delta.kind import ActivationHook, BaseCopy, WeightUpdate
from deltareg.delta.names import name_map_for
from deltareg.errors import Refused
from deltareg.tensors.array import to_f32, view
from tests import tiny
from tests.folders import open_base, open_folder

Q0 = "model.layers.0.self_attn.q_proj"


@pytest.fixture
def base(tmp_path):
    return tiny.base(tmp_path / "base")


def opened(delta, base):
    view_, weights = open_base(base.path)
    folder = open_folder(delta.path)
    kind, _ = recognise(folder.files, view_)
    return account(kind.parse(folder.files, view_), folder.files, folder.tensors, view_), weights


def folded(delta, base):
    found, weights = opened(delta, base)
    assert [p for p in found.problems if p.severity == "error"] == []
    folding = FoldedBase(found.effects, weights)
    return {
        name: to_f32(view(b"".join(folding.rows(name)), "F32", folding.shape(name)), "F32") for name in folding.changed
    }


def errors(delta, base):
    """Give the codes of the errors, whether a config or an account finds them."""
    try:
        found, _ = opened(delta, base)
    except Refused as refused:
        return [p.code for p in refused.problems]
    return [p.code for p in found.problems if p.severity == "error"]


def factors(delta, module):
    key = f"{tiny.PREFIX}{module}."
    return (
        delta.tensors[f"{key}lora_A.weight"].astype(np.float64),
        delta.tensors[f"{key}lora_B.weight"].astype(np.float64),
    )


@pytest.mark.parametrize(
    ("options", "scale"),
    [
        ({}, 8 / 2),
        ({"use_rslora": True}, 8 / math.sqrt(2)),
        ({"lora_alpha": 0.5}, 0.25),
        ({"alpha_pattern": {"layers.0.self_attn.q_proj": 3}}, 1.5),
        ({"alpha_pattern": {"^model.layers.0.self_attn.q_proj": 3, "q_proj": 5}}, 1.5),
        ({"alpha_pattern": {"q_proj": 5, "^model.layers.0.self_attn.q_proj": 3}}, 2.5),
        ({"alpha_pattern": {"^layers.0.self_attn.q_proj": 3}}, 4),
        ({"alpha_pattern": {"roj": 3}}, 4),
    ],
)
def test_the_scale_is_alpha_by_rank(tmp_path, base, options, scale):
    delta = tiny.lora(tmp_path / "delta", base, **options)

    got = folded(delta, base)

    a, b = factors(delta, Q0)
    want = base.weights[f"{Q0}.weight"] + scale * (b @ a)
    assert set(got) == {f"{m}.weight" for m in base.modules("q_proj", "v_proj")}
    assert np.allclose(got[f"{Q0}.weight"], want, rtol=0, atol=1e-6)


def test_dora_keeps_each_rows_magnitude(tmp_path, base):
    delta = tiny.lora(tmp_path / "delta", base, use_dora=True)

    got = folded(delta, base)

    magnitude = delta.tensors[f"{tiny.PREFIX}{Q0}.lora_magnitude_vector"]
    a, b = factors(delta, Q0)
    turned = base.weights[f"{Q0}.weight"] + 4 * (b @ a)
    want = magnitude[:, None] * turned / np.linalg.norm(turned, axis=1, keepdims=True)
    assert np.allclose(np.linalg.norm(got[f"{Q0}.weight"], axis=1), magnitude, atol=1e-6)
    assert np.allclose(got[f"{Q0}.weight"], want, atol=1e-6)


@pytest.mark.parametrize("flag", [True, False])
def test_a_square_conv1d_is_told_by_the_type_and_not_by_the_flag(tmp_path, flag):
    base = tiny.base(tmp_path / "base", kind="gpt2")
    delta = tiny.lora(tmp_path / "delta", base, targets=("c_proj",), fan_in_fan_out=flag)
    module = "transformer.h.0.attn.c_proj"

    got = folded(delta, base)

    a, b = factors(delta, module)
    want = base.weights[f"{module}.weight"] + 4 * (b @ a).T
    assert np.allclose(got[f"{module}.weight"], want, atol=1e-6)


@pytest.mark.parametrize("flag", [True, False])
def test_a_square_weight_of_an_unknown_type_is_told_by_the_flag(tmp_path, base, flag):
    view_, weights = open_base(base.path)
    unknown = {**base.config, "model_type": "novel"}
    object.__setattr__(view_, "names", name_map_for(unknown, weights))
    delta = tiny.lora(tmp_path / "delta", base, fan_in_fan_out=flag)
    folder = open_folder(delta.path)
    kind, _ = recognise(folder.files, view_)

    found = account(kind.parse(folder.files, view_), folder.files, folder.tensors, view_)

    folding = FoldedBase(found.effects, weights)
    got = to_f32(view(b"".join(folding.rows(f"{Q0}.weight")), "F32", (8, 8)), "F32")
    a, b = factors(delta, Q0)
    change = 4 * (b @ a)
    want = base.weights[f"{Q0}.weight"] + (change.T if flag else change)
    assert np.allclose(got, want, atol=1e-6)


def test_half_precision_factors_are_widened_before_they_are_multiplied(tmp_path, base):
    delta = tiny.lora(tmp_path / "delta", base, dtype=np.float16)

    got = folded(delta, base)

    a, b = factors(delta, Q0)
    assert np.allclose(got[f"{Q0}.weight"], base.weights[f"{Q0}.weight"] + 4 * (b @ a), atol=1e-6)


def test_an_adapter_name_in_the_keys_is_taken_out(tmp_path, base):
    plain = tiny.lora(tmp_path / "plain", base)
    named = {name.replace(".weight", ".tuned.weight"): value for name, value in plain.tensors.items()}
    delta = tiny.write(tmp_path / "named", named, adapter_config=plain.config)

    got, want = folded(delta, base), folded(plain, base)

    assert all(np.array_equal(got[name], want[name]) for name in want)


def test_the_variant_and_the_source_are_named(tmp_path, base):
    for options, variant in (
        ({}, ""),
        ({"use_dora": True}, "dora"),
        ({"use_rslora": True}, "rslora"),
        ({"init_lora_weights": "pissa"}, "pissa"),
    ):
        delta = tiny.lora(tmp_path / (variant or "plain"), base, **options)

        found, _ = opened(delta, base)

        assert found.delta.variant == variant
        assert (found.delta.source.library, found.delta.source.version) == ("peft", "0.21.2")


def test_the_config_of_the_manifest_holds_no_float(tmp_path, base):
    delta = tiny.lora(tmp_path / "delta", base, lora_alpha=2.5, alpha_pattern={"q_proj": 0.1}, lora_dropout=0.05)

    found, _ = opened(delta, base)

    config = found.delta.config()
    assert (config["r"], config["lora_alpha"]) == (2, "2.5")
    assert config["alpha_pattern"] == [["q_proj", "0.1"]]


def test_a_bias_of_b_on_a_layer_without_one_can_only_be_attached(tmp_path, base):
    delta = tiny.lora(tmp_path / "delta", base, lora_bias=True)
    biased = dict(delta.tensors)
    for module in base.modules("q_proj", "v_proj"):
        biased[f"{tiny.PREFIX}{module}.lora_B.bias"] = np.full(8, 0.5, np.float32)
    delta = tiny.write(tmp_path / "biased", biased, adapter_config=delta.config)

    found, _ = opened(delta, base)

    assert found.is_accepted
    assert not found.delta.foldable
    hooks = [e for e in found.effects if isinstance(e, ActivationHook)]
    assert [hook.module for hook in hooks[:1]] == [Q0]


def test_a_copy_of_the_base_is_evidence_and_no_change(tmp_path, base):
    delta = tiny.lora(tmp_path / "delta", base, targets=("lm_head",))
    copied = {**delta.tensors, f"{tiny.PREFIX}lm_head.base_layer.weight": base.weights["lm_head.weight"]}
    delta = tiny.write(tmp_path / "copied", copied, adapter_config=delta.config)

    found, _ = opened(delta, base)

    copies = [e for e in found.effects if isinstance(e, BaseCopy)]
    assert [copy.target for copy in copies] == ["lm_head.weight"]
    assert found.has_base_evidence


def test_a_tied_embedding_is_untied_when_only_one_use_is_adapted(tmp_path):
    base = tiny.base(tmp_path / "base", kind="gpt2")
    delta = tiny.lora(tmp_path / "delta", base, targets=("wte",))
    embedding = {
        f"{tiny.PREFIX}transformer.wte.lora_embedding_A": np.ones((2, 20), np.float32),
        f"{tiny.PREFIX}transformer.wte.lora_embedding_B": np.ones((8, 2), np.float32),
    }
    delta = tiny.write(tmp_path / "delta", embedding, adapter_config=delta.config)

    got = folded(delta, base)

    own = base.weights["transformer.wte.weight"]
    assert np.array_equal(got["lm_head.weight"], own)
    assert np.allclose(got["transformer.wte.weight"], own + 8, atol=1e-6)


def test_a_new_head_is_an_addition(tmp_path, base):
    delta = tiny.lora(tmp_path / "delta", base, task_type="SEQ_CLS", modules_to_save=["score"])
    head = {**delta.tensors, f"{tiny.PREFIX}score.weight": np.ones((3, 8), np.float32)}
    delta = tiny.write(tmp_path / "headed", head, adapter_config=delta.config)

    found, weights = opened(delta, base)

    assert found.is_accepted
    assert list(FoldedBase(found.effects, weights).additions) == ["score.weight"]


def test_every_tensor_has_a_role_and_a_target(tmp_path, base):
    delta = tiny.lora(tmp_path / "delta", base)

    found, _ = opened(delta, base)

    assert found.roles[f"{tiny.PREFIX}{Q0}.lora_A.weight"] == ("lora_A", f"{Q0}.weight")
    assert found.roles.keys() == delta.tensors.keys()
    assert found.modules == 4
    assert all(isinstance(effect, WeightUpdate) for effect in found.effects)


@pytest.mark.parametrize(
    "options",
    [
        {"use_dora": None, "rank_pattern": None, "modules_to_save": None},
        {"loftq_config": {}, "megatron_core": "megatron.core", "qalora_group_size": 16},
        {"a_flag_of_tomorrow": None, "another": False, "third": [], "fourth": {}},
        {"init_lora_weights": "gaussian"},
        {"init_lora_weights": "eva", "eva_config": {"rho": 2.0}},
        {"target_modules": "all-linear", "layers_to_transform": None},
        {"base_model_name_or_path": "../../etc/passwd"},
        {
            "auto_mapping": {
                "base_model_class": "LlamaForCausalLM",
                "parent_library": "transformers.models.llama.modeling_llama",
            }
        },
    ],
)
def test_a_harmless_config_is_accepted(tmp_path, base, options):
    targets = {} if "target_modules" not in options else {"targets": ALL_LINEAR}
    delta = tiny.lora(tmp_path / "delta", base, **targets, **options)

    assert errors(delta, base) == []


ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj", "gate_proj")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"a_flag_of_tomorrow": True}, "bad_config"),
        ({"use_qalora": True}, "bad_config"),
        ({"use_bdlora": {"nblocks": 2}}, "bad_config"),
        ({"target_parameters": ["experts.gate_up_proj"]}, "bad_config"),
        ({"layer_replication": [[0, 2], [1, 2]]}, "bad_config"),
        ({"kasa_config": {"beta": 1}}, "bad_config"),
        ({"megatron_config": {"x": 1}}, "bad_config"),
        ({"r": 0}, "bad_config"),
        ({"r": True}, "bad_config"),
        ({"r": "2"}, "bad_config"),
        ({"lora_alpha": 1e300}, "bad_config"),
        ({"lora_alpha": "8"}, "bad_config"),
        ({"use_dora": "yes"}, "bad_config"),
        ({"bias": "some"}, "bad_config"),
        ({"target_modules": ["(a|b)+"]}, "bad_config"),
        ({"target_modules": "(.*)*(a+)+$"}, "bad_config"),
        ({"target_modules": "((a|b)*)*"}, "bad_config"),
        ({"target_modules": ".*.*.*.*x"}, "bad_config"),
        ({"target_modules": "(?=x)y"}, "bad_config"),
        ({"target_modules": "(q_proj"}, "bad_config"),
        ({"exclude_modules": "(q_proj"}, "bad_config"),
        ({"modules_to_save": ["(a+)+$"]}, "bad_config"),
        ({"modules_to_save": [f"m{n}" for n in range(99)]}, "bad_config"),
        ({"rank_pattern": {"(a+": 2}}, "bad_config"),
        ({"rank_pattern": {"q_proj": 1.5}}, "bad_config"),
        ({"alpha_pattern": {"q_proj": "2"}}, "bad_config"),
        ({"layers_to_transform": [-1]}, "bad_config"),
        ({"trainable_token_indices": [1, 1]}, "bad_config"),
        ({"init_lora_weights": "tomorrow"}, "bad_config"),
        ({"init_lora_weights": "pissa_niter_4"}, "not_self_contained"),
        ({"init_lora_weights": "loftq"}, "not_self_contained"),
        ({"init_lora_weights": "corda"}, "not_self_contained"),
        ({"auto_mapping": {"base_model_class": "X", "parent_library": "os"}}, "custom_code"),
        ({"auto_mapping": {"base_model_class": "X", "parent_library": "transformers_modules.x"}}, "custom_code"),
        ({"auto_mapping": {"base_model_class": "X", "parent_library": "../x"}}, "custom_code"),
        ({"auto_mapping": "x"}, "custom_code"),
        ({"peft_type": "TOTALLY_NEW"}, "unknown_kind"),
        ({"peft_type": None}, "bad_config"),
        ({"r": 4, "rank_pattern": {"q_proj": 2}}, "rank"),
        ({"rank_pattern": {"q_proj": 3}}, "rank"),
        ({"use_dora": True, "modules_to_save": ["norm"]}, "missing_tensors"),
        ({"modules_to_save": ["lm_head"]}, "missing_tensors"),
        ({"task_type": "SEQ_CLS"}, "missing_tensors"),
        ({"lora_bias": True}, "missing_tensors"),
        ({"trainable_token_indices": [1]}, "missing_tensors"),
        ({"target_modules": ["q_proj", "v_proj", "o_proj"]}, "missing_tensors"),
        ({"target_modules": ["q_proj", "v_proj"], "layers_to_transform": [0]}, "not_selected"),
        ({"target_modules": ["q_proj"]}, "not_selected"),
        ({"target_modules": r".*\.q_proj"}, "not_selected"),
        ({"exclude_modules": ["v_proj"]}, "not_selected"),
        ({"exclude_modules": r".*\.1\..*"}, "not_selected"),
        ({"target_modules": ["k_proj"]}, "bad_config"),
    ],
)
def test_a_config_that_says_something_else_is_refused(tmp_path, base, options, code):
    plain = tiny.lora(tmp_path / "plain", base)
    config = {**plain.config, **options}
    delta = tiny.write(tmp_path / "delta", plain.tensors, adapter_config=config)

    found = errors(delta, base)

    assert set(found) == ({code} if code else set())


def without(tensors, *parts):
    return {name: t for name, t in tensors.items() if not any(part in name for part in parts)}


def renamed(tensors, old, new):
    return {name.replace(old, new): value for name, value in tensors.items()}


def added(tensors, name, shape):
    return tensors | {f"{tiny.PREFIX}{name}": np.ones(shape, np.float32)}


def both_names(tensors):
    """Say the same module twice, with the network's prefix and without."""
    again = {name.replace("model.layers.0", "layers.0"): t for name, t in tensors.items()}
    return {**tensors, **{name: t for name, t in again.items() if name not in tensors}}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda t: without(t, "layers.1."), "missing_tensors"),
        (lambda t: without(t, "v_proj"), "missing_tensors"),
        (lambda t: without(t, "0.self_attn.q_proj.lora_B"), "missing_tensors"),
        (lambda t: renamed(t, "model.layers.", "model.language_model.layers."), "no_tensor_applied"),
        (lambda t: renamed(t, "base_model.model.", ""), "no_tensor_applied"),
        (lambda t: renamed(t, "layers.1.", "layers.9."), "partial_application"),
        (lambda t: renamed(t, "lora_A", "ia3_l"), "missing_tensors"),
        (lambda t: added(without(t, "lora"), f"{Q0}.ia3_l", (8, 1)), "kind_mismatch"),
        (lambda t: added(t, "model.norm.weight", (8,)), "undeclared_base_override"),
        (lambda t: added(t, "model.evil.weight", (8,)), "unexpected_tensors"),
        (lambda t: added(t, f"{Q0}.lora_A.other.weight", (2, 8)), "unexpected_tensors"),
        (lambda t: added(t, f"{Q0}.lora_magnitude_vector", (8,)), "unexpected_tensors"),
        (lambda t: added(t, f"{Q0}.lora_B.bias", (8,)), "unexpected_tensors"),
        (lambda t: added(t, f"{Q0}.lora_C.weight", (8, 8)), "unexpected_tensors"),
        (lambda t: added(t, "lm_head.weight", (19, 8)), "shape"),
        (lambda t: added(t, f"{Q0}.base_layer.weight", (8, 7)), "shape"),
        (lambda t: t | {f"{tiny.PREFIX}{Q0}.lora_B.weight": np.ones((9, 2), np.float32)}, "shape"),
        (lambda t: t | {f"{tiny.PREFIX}{Q0}.lora_A.weight": np.ones((2,), np.float32)}, "shape"),
        (lambda t: t | {f"{tiny.PREFIX}{Q0}.lora_A.weight": np.ones((3, 8), np.float32)}, "rank"),
        (both_names, "unexpected_tensors"),
    ],
)
def test_tensors_that_do_not_add_up_are_refused(tmp_path, base, change, code):
    plain = tiny.lora(tmp_path / "plain", base)
    delta = tiny.write(tmp_path / "delta", change(plain.tensors), adapter_config=plain.config)

    found = errors(delta, base)

    assert code in found
    assert found[0] == code or code == "missing_tensors"


def test_a_missing_config_is_asked_for(tmp_path, base):
    plain = tiny.lora(tmp_path / "plain", base)
    delta = tiny.write(tmp_path / "delta", plain.tensors)

    assert errors(delta, base) == ["missing_config"]


def test_every_problem_of_a_config_is_told_at_once(tmp_path, base):
    delta = tiny.lora(tmp_path / "delta", base, use_qalora=True, bias="some", new_flag=1)

    with pytest.raises(Refused) as caught:
        opened(delta, base)

    assert len(caught.value.problems) == 3
