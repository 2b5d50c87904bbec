"""What is known of transformers' classes is what they say themselves."""

import pytest

from deltareg.delta.architectures import FACTS, facts
from tests.architecture import generate_architectures, generate_renames
from tests.architecture.generated import is_current

transformers = pytest.importorskip("transformers", reason="needs transformers")
SOME = [
    "AlbertForMaskedLM",
    "BartForConditionalGeneration",
    "BertForMaskedLM",
    "DebertaV2ForMaskedLM",
    "GPT2LMHeadModel",
    "LlamaForCausalLM",
    "LlavaForConditionalGeneration",
    "Mamba2ForCausalLM",
    "PegasusForConditionalGeneration",
    "RobertaForMaskedLM",
    "T5ForConditionalGeneration",
    "WhisperForConditionalGeneration",
]


@pytest.mark.parametrize("name", SOME)
def test_a_class_ties_what_the_file_says(name):
    cls = getattr(transformers, name)

    own = generate_architectures.own_ties(cls)

    assert own
    assert own.items() <= facts().ties[name].items()


def test_types_that_keep_weights_the_other_way_round_are_known():
    assert facts().conv1d["gpt2"] >= {"c_attn", "c_proj", "c_fc"}
    assert facts().experts_in_out >= {"gpt_oss"}
    assert facts().conv1d.keys() | facts().experts_in_out <= facts().types | {"clvp_decoder"}


@pytest.mark.parametrize(
    "name", ["MllamaForConditionalGeneration", "SegformerForSemanticSegmentation", "VideoMAEModel"]
)
def test_the_renames_of_a_class_tell_its_names_in_memory(name):
    cls = getattr(transformers, name)

    (group,) = generate_renames.renames_of([cls])

    assert [(old, new) for old, new in group["renames"]] == [*facts().renames[name]]


def test_a_rename_that_is_no_run_is_none():
    from transformers.core_model_loading import WeightRenaming

    assert generate_renames.as_runs(WeightRenaming(r"a\.(\d+)\.b", r"c.\1.d")) == ("a.{n}.b", "c.{n}.d")
    assert generate_renames.as_runs(WeightRenaming(r"^visual\.", "model.visual.")) == ("^visual", "model.visual")
    for pattern in (r"a(?!b)", r"(?<!x)bn\.", r"encoder\.(.+)\.q", r"(weight|bias)"):
        assert generate_renames.as_runs(WeightRenaming(pattern, "x")) is None


@pytest.mark.soak  # imports every network of the library
def test_the_file_is_what_the_installed_library_says():
    if f'"transformers": "{transformers.__version__}"' not in FACTS.read_text():
        pytest.skip(f"the file is of another release than {transformers.__version__}")

    assert is_current(FACTS, generate_architectures.generate()), "run its generator with --write"
