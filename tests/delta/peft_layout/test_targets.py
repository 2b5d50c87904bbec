"""Module names against configs: as the library means them."""

import re
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.saved import is_of
from deltareg.delta.layouts.peft.suffixes import Suffix, Suffixes, is_within, suffix
from deltareg.delta.layouts.peft.targets import read_targets

PARTS = st.sampled_from(["model", "layers", "0", "1", "12", "self_attn", "q_proj", "k_proj", "h"])
MODULES = st.lists(PARTS, min_size=1, max_size=6).map(".".join)


def targets(*, saved=(), **config):
    fields = Fields(config)
    found = read_targets(fields, saved=saved)
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


@st.composite
def configs(draw):
    some = st.lists(MODULES, min_size=1, max_size=3)
    text = st.sampled_from([".*q_proj", r"model\..*\.\d+\..*", "q_proj", "(?!model).*proj", ".*"])
    return {
        "target_modules": draw(some | text),
        "exclude_modules": draw(st.none() | some | text),
        "layers_to_transform": draw(st.none() | st.integers(0, 2) | st.just([1, 12])),
        "layers_pattern": draw(st.none() | st.sampled_from(["layers", ["h", "layers"]])),
    }


@given(MODULES, configs(), st.lists(PARTS, max_size=2))
def test_what_is_asked_for_is_what_the_library_itself_asks_for(module, config, saved):
    tuners = pytest.importorskip("peft.tuners.tuners_utils")
    layers = config["layers_to_transform"] if isinstance(config["target_modules"], list) else None
    asked = SimpleNamespace(**config | {"layers_to_transform": layers}, modules_to_save=saved, target_parameters=None)

    found = targets(saved=tuple(saved), **config)

    want = tuners.check_target_module_exists(asked, module)
    assert (found.entry(module) is not None) is bool(want)


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
