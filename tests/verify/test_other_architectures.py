"""Deltas on architectures that the corpus does not have: the library's own results are the oracle.

Every one is made by peft on a small network, saved to files, and goes the registry's way: names,
kind, account, fold, attach, and for some the whole verdict.
"""

import numpy as np
import pytest

from tests.verify.library_deltas import LibraryDelta, largest_error, peft, verdict_of

pytestmark = pytest.mark.filterwarnings("ignore")  # what the libraries say to each other
QV = ["q_proj", "v_proj"]
GATE_UP, DOWN = "experts.gate_up_proj", "experts.down_proj"


def lora(*modules, **more):
    return peft.LoraConfig(r=2, lora_alpha=5, target_modules=list(modules), **more)


def linear(task):
    return peft.LoraConfig(r=2, target_modules="all-linear", task_type=task)


def ia3(*modules):
    return peft.IA3Config(target_modules=list(modules), feedforward_modules=[modules[-1]])


def prefix(task="CAUSAL_LM"):
    return peft.PrefixTuningConfig(task_type=task, num_virtual_tokens=3)


def prompt(task="CAUSAL_LM"):
    return peft.PromptTuningConfig(task_type=task, num_virtual_tokens=3)


FUSED = {
    "gemma": ["q_proj", "down_proj"],
    "phi3": ["qkv_proj", "gate_up_proj"],
    "falcon": ["query_key_value", "dense_h_to_4h"],
    "falcon, many heads": ["query_key_value"],
    "gpt_neox": ["query_key_value", "dense"],
}
DECODERS = {
    f"{kind} on {name}": (name, make, kind)
    for name, modules in FUSED.items()
    for kind, make in {
        "lora": lambda modules=modules: lora(*modules),
        "dora": lambda modules=modules: lora(*modules, use_dora=True),
        "oft": lambda modules=modules: peft.OFTConfig(oft_block_size=4, target_modules=modules),
        "vera": lambda modules=modules: peft.VeraConfig(r=4, target_modules=modules[:1]),
    }.items()
}
FOLDED = {
    **DECODERS,
    "lora on bloom": ("bloom", lambda: lora("query_key_value"), "lora"),
    "lora on cohere": ("cohere", lambda: lora(*QV), "lora"),
    "lora on gemma2": ("gemma2", lambda: lora(*QV), "lora"),
    "lora on gemma3": ("gemma3", lambda: lora(*QV), "lora"),
    "lora on glm4": ("glm4", lambda: lora("gate_up_proj"), "lora"),
    "lora on gptj": ("gptj", lambda: lora("q_proj", "fc_in"), "lora"),
    "lora on olmo2": ("olmo2", lambda: lora(*QV), "lora"),
    "lora on phi": ("phi", lambda: lora("q_proj", "dense"), "lora"),
    "lora on starcoder2": ("starcoder2", lambda: lora("q_proj", "c_fc"), "lora"),
    "lora on t5": ("t5", lambda: lora("q", "v", "wo", task_type="SEQ_2_SEQ_LM"), "lora"),
    "ia3 on t5": ("t5", lambda: ia3("k", "v", "wo"), "ia3"),
    "all of t5": ("t5", lambda: None, "full"),
    "lora on all of a t5": ("t5, gated", lambda: linear("SEQ_2_SEQ_LM"), "lora"),
    "norms of a t5": ("t5, gated", lambda: peft.LNTuningConfig(target_modules=["layer_norm"]), "layernorm"),
    "lora on a t5 with a head": ("t5 classifying", lambda: lora("q", modules_to_save=["classification_head"]), "lora"),
    "lora on longt5": ("longt5", lambda: lora("q", "v"), "lora"),
    "lora on mt5": ("mt5", lambda: lora("q", "v"), "lora"),
    "lora on umt5": ("umt5", lambda: lora("q", "v"), "lora"),
    "lora on both parts of blip": ("blip", lambda: lora("qkv", "text_projection"), "lora"),
    "lora on a blip that captions": ("blip captioning", lambda: lora("query", "value", "qkv"), "lora"),
    "ia3 on a blip that captions": ("blip captioning", lambda: ia3("query", "qkv", "fc2"), "ia3"),
    "lora on a blip that answers": ("blip answering", lambda: lora("query", "value", "qkv"), "lora"),
    "ia3 on a blip that answers": ("blip answering", lambda: ia3("query", "qkv", "fc2"), "ia3"),
    "lora on a blip that matches": ("blip matching", lambda: lora("query", "qkv"), "lora"),
    "lora and norms of a resnet": (
        "resnet",
        lambda: lora("convolution", modules_to_save=["normalization", "classifier"]),
        "lora",
    ),
    "dora on a resnet": ("resnet", lambda: lora("convolution", use_dora=True), "dora"),
    "loha on a resnet": ("resnet", lambda: peft.LoHaConfig(r=2, target_modules=["convolution"]), "loha"),
    "lokr on a resnet": ("resnet", lambda: peft.LoKrConfig(r=2, target_modules=["convolution"]), "lokr"),
    "all of a resnet": ("resnet", lambda: None, "full"),
    "lora on segformer": ("segformer", lambda: lora("q_proj", "sequence_reduction.sequence_reduction"), "lora"),
    "lora on convnext": ("convnext", lambda: lora("pwconv1"), "lora"),
    "lora on mixtral": ("mixtral", lambda: lora(*QV), "lora"),
    "lora on the experts of mixtral": ("mixtral", lambda: lora("q_proj", target_parameters=[GATE_UP, DOWN]), "lora"),
    "lora on modules that mixtral had": ("mixtral", lambda: lora("w1", "w2", "w3"), "lora"),
    "all of mixtral": ("mixtral", lambda: None, "full"),
    "lora on the experts of qwen3": ("qwen3_moe", lambda: lora("q_proj", target_parameters=[GATE_UP, DOWN]), "lora"),
    "lora on a shared expert": ("qwen2_moe", lambda: lora("shared_expert.up_proj"), "lora"),
    "lora on the experts of olmoe": ("olmoe", lambda: lora("q_proj", target_parameters=[GATE_UP]), "lora"),
    "lora on the experts of phi": ("phimoe", lambda: lora("q_proj", target_parameters=[GATE_UP, DOWN]), "lora"),
    "lora on deepseek": ("deepseek_v3", lambda: lora("q_a_proj", "kv_b_proj"), "lora"),
    "lora on the experts of deepseek": ("deepseek_v3", lambda: lora("o_proj", target_parameters=[DOWN]), "lora"),
    "lora on the stacked experts of gpt_oss": (
        "gpt_oss",
        lambda: lora("q_proj", target_parameters=[GATE_UP, DOWN]),
        "lora",
    ),
    "lora on the renamed experts of granite": (
        "granitemoe",
        lambda: lora("q_proj", target_parameters=[GATE_UP, DOWN]),
        "lora",
    ),
    "lora on whisper": ("whisper", lambda: linear(None), "lora"),
    "loha on whisper": ("whisper", lambda: peft.LoHaConfig(r=2, target_modules=["q_proj", "fc1"]), "loha"),
    "ia3 on whisper": ("whisper", lambda: ia3("k_proj", "v_proj", "fc2"), "ia3"),
    "lora on a whisper with a head": ("whisper classifying", lambda: lora(*QV, modules_to_save=["projector"]), "lora"),
    "lora on wav2vec2": ("wav2vec2", lambda: lora(*QV), "lora"),
    "lora on a spectrogram": ("ast", lambda: lora(*QV), "lora"),
    "lora on words and images": ("qwen2_vl", lambda: lora(*QV, "qkv", "fc1"), "lora"),
    "dora on words and images": ("qwen2_vl", lambda: lora("q_proj", "attn.proj", use_dora=True), "dora"),
    "lora on patches of three dimensions": ("qwen2_vl", lambda: lora("patch_embed.proj"), "lora"),
    "lora on all words of qwen2_vl": ("qwen2_vl", lambda: linear("CAUSAL_LM"), "lora"),
    "a merger that was trained": ("qwen2_vl", lambda: lora("q_proj", modules_to_save=["merger"]), "lora"),
    "all of qwen2_vl": ("qwen2_vl", lambda: None, "full"),
    "lora on qwen2_5_vl": ("qwen2_5_vl", lambda: lora(*QV, "qkv", "down_proj"), "lora"),
    "lora on qwen3_vl": ("qwen3_vl", lambda: lora(*QV, "qkv", "linear_fc1"), "lora"),
    "lora on llava": ("llava", lambda: lora(*QV, "linear_1", "lm_head"), "lora"),
    "lora on paligemma": ("paligemma", lambda: lora(*QV, "linear"), "lora"),
    "lora on a gemma3 that sees": ("gemma3 vision", lambda: lora(*QV), "lora"),
    "lora on siglip": ("siglip", lambda: lora(*QV), "lora"),
}
ATTACHED = {
    "prompt on t5": ("t5", lambda: prompt("SEQ_2_SEQ_LM"), "prompt"),
    "prefix on t5": ("t5", lambda: prefix("SEQ_2_SEQ_LM"), "prefix"),
    "prefix on umt5": ("umt5", lambda: prefix("SEQ_2_SEQ_LM"), "prefix"),
    "prefix on mixtral": ("mixtral", prefix, "prefix"),
    "prefix on phi3": ("phi3", prefix, "prefix"),
    "prefix on gemma3": ("gemma3", prefix, "prefix"),
    "prompt on gpt_neox": ("gpt_neox", prompt, "prompt"),
    "prompt on words and images": ("qwen2_vl", prompt, "prompt"),
    "prompt on paligemma": ("paligemma", prompt, "prompt"),
}
JUDGED = (
    "ia3 on t5",
    "prefix on t5",
    "lora on both parts of blip",
    "lora on a blip that answers",
    "lora and norms of a resnet",
    "lora on the experts of mixtral",
    "all of mixtral",
    "loha on whisper",
    "lora on words and images",
    "prompt on paligemma",
    "oft on falcon",
)
# Of the fused networks each has a lora, and each other kind is on one of them; the soak has all.
TRIED = {"dora on gemma", "vera on phi3", "oft on falcon"}
SOAKED = {case for case in DECODERS if not case.startswith("lora ")} - TRIED
VARIANTS = {"dora": "lora", "loha": "lora", "lokr": "lora", "vera": "lora", "oft": "multiplicative"}


def of(*names):
    """Give cases by their names, as parameters."""
    soak = pytest.mark.soak
    return [pytest.param(case, marks=soak if case in SOAKED else ()) for case in names]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Give a function that makes a delta by its name, once."""
    known = {}

    def make(case):
        if case not in known:
            name, config, _ = {**FOLDED, **ATTACHED}[case]
            known[case] = LibraryDelta(tmp_path_factory.mktemp("made"), name, config())
        return known[case]

    return make


@pytest.mark.parametrize("case", of(*FOLDED, *ATTACHED))
def test_a_delta_is_recognised_and_accounted_for(made, case):
    word = {**FOLDED, **ATTACHED}[case][2]

    assessment = made(case).bench.assessment

    assert assessment.errors == []
    assert (assessment.kind.name, assessment.kind.foldable) == (VARIANTS.get(word, word), case in FOLDED)
    assert assessment.kind.variant == (word if word in VARIANTS else "")
    assert assessment.account.roles.keys() == made(case).bench.folder.files.names


@pytest.mark.parametrize("case", of(*FOLDED, *ATTACHED))
def test_outputs_with_a_delta_attached_are_the_librarys(made, case):
    delta = made(case)
    want = delta.outputs()

    got = delta.bench.engine().outputs_for("attached", delta.arrays)

    assert {name: value.shape for name, value in got.items()} == {name: value.shape for name, value in want.items()}
    assert max(np.max(np.abs(got[name] - want[name])) for name in want) <= 1e-4


@pytest.mark.parametrize("case", of(*FOLDED))
def test_folded_weights_are_what_the_library_merges(made, case):
    delta = made(case)

    assert largest_error(delta.folded(), delta.merged()) <= 1e-6


@pytest.mark.parametrize("case", JUDGED)
def test_the_verdict_is_that_it_does_what_it_says(made, case):
    outcome, results = verdict_of(made(case))

    assert outcome == "pass", results
