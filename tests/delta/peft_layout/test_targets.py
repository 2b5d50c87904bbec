"""Module names against configs: as the library means them, and never by a pattern of a user."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.saved import is_of
from deltareg.delta.layouts.peft.suffixes import Suffix, Suffixes, is_within, suffix
from deltareg.delta.layouts.peft.targets import read_targets
from deltareg.errors import Refused

PARTS = st.sampled_from(["model", "layers", "0", "1", "12", "self_attn", "q_proj", "k_proj", "h"])
MODULES = st.lists(PARTS, min_size=1, max_size=6).map(".".join)


def targets(**config):
    fields = Fields(config)
    found = read_targets(fields, saved=())
    fields.finish()
    return found


@given(MODULES, st.lists(MODULES, min_size=1, max_size=4), st.booleans())
def test_the_first_entry_counts_as_the_library_counts_it(module, texts, anchor):
    entries = [f"^{text}" if anchor and n % 2 else text for n, text in enumerate(texts)]
    literal = [re.escape(e).replace(r"\^", "^") for e in entries]
    want = next((n for n, e in enumerate(literal) if re.match(rf"(.*\.)?({e})$", module)), None)

    found = Suffixes.of(entry for text in entries if (entry := suffix(text)))

    assert found.first(module) == want


@given(MODULES, MODULES)
def test_below_a_saved_module_is_within_it(module, name):
    assert is_within(module, name) == bool(re.match(rf"(^|.*\.){re.escape(name)}($|\..*)", module))


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("q_proj", Suffix("q_proj")),
        ("^model.layers.0.q_proj$", Suffix("model.layers.0.q_proj", anchored=True)),
        (r"layers\.0\.q_proj", Suffix("layers.0.q_proj")),
        ("q_proj|k_proj", None),
        (".*q_proj", None),
        ("", None),
    ],
)
def test_a_pattern_key_is_a_name_or_nothing(text, want):
    assert suffix(text) == want


@pytest.mark.parametrize(
    ("config", "module", "asked"),
    [
        ({"target_modules": ["q_proj"]}, "model.layers.0.q_proj", True),
        ({"target_modules": ["proj"]}, "model.layers.0.q_proj", False),
        ({"target_modules": ["q_proj"], "exclude_modules": ["0.q_proj"]}, "layers.0.q_proj", False),
        ({"target_modules": ["q_proj"], "layers_to_transform": 1}, "model.layers.1.q_proj", True),
        ({"target_modules": ["q_proj"], "layers_to_transform": 1}, "model.layers.0.q_proj", False),
        # The first number is the layer's; a later one is that of an expert.
        ({"target_modules": ["w"], "layers_to_transform": [1]}, "m.layers.1.experts.0.w", True),
        ({"target_modules": ["w"], "layers_to_transform": [0]}, "m.layers.1.experts.0.w", False),
        ({"target_modules": ["w"], "layers_to_transform": [0]}, "0.w", False),
        (
            {"target_modules": ["w"], "layers_to_transform": [0], "layers_pattern": ["experts"]},
            "m.layers.1.experts.0.w",
            True,
        ),
        ({"target_modules": "model.q_proj"}, "model.q_proj", True),
        ({"target_modules": "q_proj"}, "model.q_proj", False),
        ({"target_modules": "all-linear"}, "model.q_proj", False),
    ],
)
def test_a_module_is_asked_for_as_the_library_asks(config, module, asked):
    assert (targets(**config).entry(module) is not None) is asked


@pytest.mark.parametrize(
    "pattern",
    [
        ".*decoder.*(SelfAttention|EncDecAttention).*(q|v)$",
        r"model\.layers\.\d+\.self_attn\.(q|v)_proj",
        "^(?:q_proj|v_proj)$",
    ],
)
def test_a_tame_pattern_is_accepted_and_not_used(pattern):
    found = targets(target_modules=pattern)

    assert found.entry("model.layers.0.self_attn.q_proj") is None


@pytest.mark.parametrize(
    "pattern",
    [
        "((model|layers)*)*X",
        "(a+)+$",
        "(.*)*",
        "a{1,99}",
        "(a|b)*",
        ".*.*.*.*",
        "(?=a)b",
        r"(\w+\s?)*",
        "[a-z]*",
        "x" * 600,
        "q" + chr(0),
    ],
)
def test_a_wild_pattern_is_refused_at_once(pattern):
    started = time.monotonic()

    with pytest.raises(Refused) as caught:
        targets(target_modules=pattern)

    assert caught.value.problem_code == "bad_config"
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    ("module", "name", "saved"),
    [
        ("model.layers.0.input_layernorm", "norm", True),
        ("classifier.dense", "classifier", True),
        ("model.norm", "lm_head", False),
        ("model.lm_head_2", "lm_head", False),
    ],
)
def test_a_saved_module_is_meant_by_its_last_letters(module, name, saved):
    assert is_of(module, name) is saved
