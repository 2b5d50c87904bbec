"""An activated LoRA is read as the library reads it, and refused where it would do nothing."""

import json
from typing import Any

import numpy as np
import pytest

from deltareg.delta.kind import ActivationHook, HookInputs, WeightUpdate
from deltareg.delta.layouts.peft.activated import ActivatedLowRank
from deltareg.delta.maths.numpy_ops import NumPyOps
from deltareg.delta.maths.updates import Factor, LowRank
from deltareg.errors import InvalidInput
from tests.delta.kinds import peft_oracle as oracle
from tests.delta.kinds.peft_oracle import QV, bart, gpt2, llama, peft

PHRASE = [5, 6]
TOLD = {"target_modules": QV, "task_type": "CAUSAL_LM", "alora_invocation_tokens": PHRASE, "r": 2}


def accounted(tmp_path, make=llama, **more):
    with oracle.quiet():
        oracle.saved(tmp_path, make(), peft.LoraConfig(**{**TOLD, **more}))
    return oracle.accounted(tmp_path)[2]


def codes(tmp_path, make=llama, **more):
    """Give the codes of a config that the library itself would not train, or not apply."""
    with oracle.quiet():
        oracle.saved(tmp_path, make(), peft.LoraConfig(**TOLD))
    path = tmp_path / "delta" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **more}))
    return oracle.codes(tmp_path)


def test_it_is_a_kind_of_its_own_that_acts_beside_its_layers(tmp_path):
    found = accounted(tmp_path)

    assert found.delta.name == "alora"
    assert not found.delta.foldable
    assert found.delta.config()["alora_invocation_tokens"] == PHRASE
    assert {type(effect) for effect in found.effects} == {ActivationHook}
    assert {effect.invoked_by for effect in found.effects} == {tuple(PHRASE)}
    assert "model.layers.1.self_attn.v_proj" in {effect.module for effect in found.effects}


def test_rank_stabilised_factors_are_scaled_so(tmp_path):
    found = accounted(tmp_path, use_rslora=True, lora_alpha=6)

    assert found.delta.variant == "rslora"
    assert {round(e.hook.change.scale, 6) for e in found.effects} == {round(6 / 2**0.5, 6)}


def test_what_is_saved_whole_is_a_weight_as_ever(tmp_path):
    found = accounted(tmp_path, modules_to_save=["lm_head"])

    weights = [effect.target for effect in found.effects if isinstance(effect, WeightUpdate)]
    assert weights == ["lm_head.weight"]


def test_a_tied_head_stays_tied(tmp_path):
    found = accounted(tmp_path, gpt2, target_modules=["lm_head"])

    assert [e.module for e in found.effects if isinstance(e, ActivationHook)] == ["lm_head"]
    assert not any(isinstance(effect, WeightUpdate) for effect in found.effects)


def test_a_list_without_tokens_is_a_plain_lora(tmp_path):
    assert accounted(tmp_path, alora_invocation_tokens=[]).delta.name == "lora"


@pytest.mark.parametrize(
    "more",
    [
        {"task_type": None},
        {"task_type": "SEQ_CLS"},
        {"use_dora": True},
        {"lora_bias": True},
        {"init_lora_weights": "pissa"},
        {"target_parameters": ["q_proj.weight"]},
        {"alora_invocation_tokens": [5, -1]},
        {"alora_invocation_tokens": [True]},
        {"alora_invocation_tokens": [1 << 24]},
        {"alora_invocation_tokens": "5 6"},
        {"alora_invocation_tokens": [1] * 1025},
        {"layer_replication": [[0, 2], [1, 2]]},
        {"some_new_field": 1},
    ],
)
def test_what_the_library_does_not_activate_is_refused(tmp_path, more):
    assert codes(tmp_path, **more) == {"bad_config"}


def test_a_config_that_asks_for_less_is_refused_as_of_any_lora(tmp_path):
    assert codes(tmp_path, target_modules=["q_proj"]) == {"not_selected"}


class Values:
    """A tensor that is at hand."""

    dtype = "F32"

    def __init__(self, values):
        self.values: Any = np.asarray(values, np.float32)
        self.name, self.shape = "values", self.values.shape

    def read(self, start=0, stop=None):
        return memoryview(self.values[start:stop].tobytes())


def active(prompt, phrase, length=None):
    """Give for each token of what passes whether the change acts on it."""
    prompt = np.asarray(prompt, np.float32)
    one = Factor(Values([[1.0]]))
    hook = ActivatedLowRank(LowRank(one, one, 1.0), is_in_out=False, phrase=tuple(phrase))
    value: Any = np.zeros((prompt.shape[0], length or prompt.shape[1], 1), np.float32)
    made = hook.apply(value, HookInputs({"inputs": value + 1, "prompt": prompt}), NumPyOps())
    return np.asarray(made)[..., 0].astype(int).tolist()


@pytest.mark.parametrize(
    ("prompt", "phrase", "want"),
    [
        ([1, 5, 6, 2], [5, 6], [0, 1, 1, 1]),
        ([5, 6, 5, 6, 1], [5, 6], [0, 0, 1, 1, 1]),
        ([5, 6, 5, 5, 1], [5, 6], [1, 1, 1, 1, 1]),
        ([1, 2, 5, 6], [5, 6], [0, 0, 1, 1]),
        ([1, 2, 6, 5], [5, 6], [0, 0, 0, 0]),
        ([1, 2, 3, 5], [5, 6], [0, 0, 0, 0]),
        ([7, 7, 7], [7, 7], [0, 1, 1]),
        ([5], [5, 6], [0]),
        ([5], [5], [1]),
        ([1, 5, 6, 7, 5, 6], [5, 6, 7], [0, 1, 1, 1, 1, 1]),
    ],
)
def test_it_acts_from_the_last_whole_occurrence_on(prompt, phrase, want):
    assert active([prompt], phrase) == [want]


def test_each_row_has_its_own_start():
    assert active([[5, 6, 1], [1, 5, 6], [1, 1, 5]], [5, 6]) == [[1, 1, 1], [0, 1, 1], [0, 0, 0]]


def test_ends_belong_together_where_more_or_less_passes_than_the_prompt():
    assert active([[1, 5, 6]], [5, 6], length=1) == [[1]]
    assert active([[1, 2, 3]], [5, 6], length=1) == [[0]]
    assert active([[1, 5, 6]], [5, 6], length=5) == [[0, 0, 0, 1, 1]]


def test_a_layer_that_sees_no_rows_of_the_prompt_is_refused():
    one = Factor(Values([[1.0]]))
    hook = ActivatedLowRank(LowRank(one, one, 1.0), is_in_out=False, phrase=(5,))
    value: Any = np.zeros((4, 1), np.float32)

    with pytest.raises(InvalidInput, match="rows of a prompt"):
        hook.apply(value, HookInputs({"inputs": value, "prompt": value[:2]}), NumPyOps())


def test_an_encoder_and_decoder_is_none(tmp_path):
    assert codes(tmp_path, bart, task_type="SEQ_2_SEQ_LM") == {"bad_config"}
