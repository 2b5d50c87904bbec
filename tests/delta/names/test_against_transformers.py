"""Names in memory are those of the transformers library, for tiny networks of many types."""

import json
import warnings

import pytest
from safetensors.torch import load_file

from deltareg.delta.names import name_map_for
from tests import small_networks

transformers = pytest.importorskip("transformers", reason="needs transformers")
torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
IMAGE = {"image_size": 8, "patch_size": 4}
WORDS = {"vocab_size": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
PAIR = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "decoder_start_token_id": 1,
    **WORDS,
}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2, "vocab_size": 64}
GPT2 = {"n_embd": 16, "n_layer": 1, "n_head": 2, **WORDS}
TOWERS = {"text_config": {**SMALL, **WORDS}, "vision_config": {**SMALL, **IMAGE}}
DISTILLED = {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 24, "vocab_size": 64}
MASKED = {
    "decoder_hidden_size": 16,
    "decoder_num_hidden_layers": 1,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 24,
}
NETWORKS: dict[str, dict] = {
    "ASTForAudioClassification": {**SMALL, "patch_size": 4, "max_length": 16, "num_mel_bins": 16},
    "AlbertForMaskedLM": {**SMALL, **WORDS, "embedding_size": 16},
    "BartForConditionalGeneration": PAIR,
    "BeitForImageClassification": {**SMALL, **IMAGE},
    "BertForMaskedLM": {**SMALL, **WORDS},
    "BertForSequenceClassification": {**SMALL, **WORDS},
    "BertModel": {**SMALL, **WORDS},
    "BloomForCausalLM": {"hidden_size": 16, "n_layer": 1, "n_head": 2, **WORDS},
    "CLIPModel": TOWERS,
    "CLIPTextModel": {**SMALL, **WORDS},
    "CLIPTextModelWithProjection": {**SMALL, **WORDS},
    "CLIPVisionModel": {**SMALL, **IMAGE},
    "DeiTForImageClassification": {**SMALL, **IMAGE},
    "Dinov2ForImageClassification": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, **IMAGE},
    "DistilBertForMaskedLM": DISTILLED,
    "DistilBertForSequenceClassification": DISTILLED,
    "ElectraForSequenceClassification": {**SMALL, **WORDS, "embedding_size": 16},
    "FalconForCausalLM": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, **WORDS},
    "GPT2LMHeadModel": GPT2,
    "GPT2Model": GPT2,
    "GPTNeoXForCausalLM": {**SMALL, **WORDS},
    "GemmaForCausalLM": {**SMALL, **WORDS, "head_dim": 8, "num_key_value_heads": 1},
    "LlamaForCausalLM": {**SMALL, **WORDS},
    "LlamaForSequenceClassification": {**SMALL, **WORDS},
    "LlamaModel": {**SMALL, **WORDS},
    "MPNetForMaskedLM": {**SMALL, **WORDS},
    "MambaForCausalLM": {"hidden_size": 16, "num_hidden_layers": 1, "state_size": 4, **WORDS},
    "MistralForCausalLM": {**SMALL, **WORDS, "num_key_value_heads": 1},
    "ModernBertForMaskedLM": {**SMALL, **WORDS, "cls_token_id": 1, "sep_token_id": 2},
    "OPTForCausalLM": {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "ffn_dim": 24,
        "word_embed_proj_dim": 16,
        **WORDS,
    },
    "Qwen2ForCausalLM": {**SMALL, **WORDS, "num_key_value_heads": 1},
    "Qwen3ForCausalLM": {**SMALL, **WORDS, "num_key_value_heads": 1, "head_dim": 8},
    "ResNetForImageClassification": {"embedding_size": 4, "hidden_sizes": [8, 16], "depths": [1, 1]},
    "RobertaForMaskedLM": {**SMALL, **WORDS},
    "SwinForImageClassification": {
        "embed_dim": 8,
        "depths": [1],
        "num_heads": [2],
        "image_size": 8,
        "patch_size": 2,
        "window_size": 2,
    },
    "T5EncoderModel": T5,
    "T5ForConditionalGeneration": T5,
    "ViTForImageClassification": {**SMALL, **IMAGE},
    "ViTMAEForPreTraining": {**SMALL, **IMAGE, **MASKED},
    "ViTMSNForImageClassification": {**SMALL, **IMAGE},
    "WhisperForConditionalGeneration": {
        **PAIR,
        "num_mel_bins": 8,
        "max_source_positions": 8,
        "max_target_positions": 8,
    },
    "XLMRobertaForMaskedLM": {**SMALL, **WORDS},
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Give a function that makes a network and saves it."""

    def write(name):
        cls = getattr(transformers, name)
        network = cls(cls.config_class(**NETWORKS[name]))
        path = tmp_path_factory.mktemp(name)
        network.save_pretrained(path)
        return network, path

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers.logging.set_verbosity_error()
        yield write


@pytest.mark.parametrize("name", NETWORKS)
def test_names_in_memory_are_those_of_the_network(written, name):
    network, path = written(name)

    found = name_map(path)

    assert_names(found, network, names_in(path))
    assert found.rules.is_known


@pytest.mark.parametrize("name", sorted(small_networks.NETWORKS))
def test_names_of_other_architectures_are_those_of_the_network(tmp_path, name):
    with small_networks.quiet():
        network = small_networks.made(name)
        network.save_pretrained(tmp_path)

    found = name_map(tmp_path)

    assert_names(found, network, names_in(tmp_path))


def test_a_type_without_a_file_of_its_own_goes_by_what_the_library_renames_in_its_class(tmp_path):
    with small_networks.quiet():
        network = small_networks.made("segformer")
        network.save_pretrained(tmp_path)

    found = name_map(tmp_path)
    of_no_class = name_map_for({"model_type": "segformer"}, names_in(tmp_path))

    old = "segformer.encoder.block.0.0.attention.self.query.weight"
    new = "segformer.stages.0.blocks.0.attention.q_proj.weight"
    assert not found.rules.is_known
    assert found.tensor(new) == found.tensor(old) == old
    assert of_no_class.tensor(new) is None


@pytest.mark.parametrize("name", ["mixtral", "qwen3_moe", "olmoe", "deepseek_v3"])
def test_the_experts_of_files_are_parts_of_the_networks_parameters(tmp_path, name):
    with small_networks.quiet():
        network = small_networks.made(name)
        network.save_pretrained(tmp_path)
    files = load_file(tmp_path / "model.safetensors")

    found = name_map(tmp_path)

    parts = {file: part for file in files if (part := found.part(file))}
    assert parts
    for file, part in parts.items():
        row = network.state_dict()[part.whole][part.row]
        assert torch.equal(row.chunk(part.places)[part.place], files[file])


def name_map(path):
    return name_map_for(json.loads((path / "config.json").read_text()), names_in(path))


def names_in(path):
    raw = (path / "model.safetensors").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    return sorted(header.keys() - {"__metadata__"})


def assert_names(found, network, files):
    parts = {file: part.whole for file in files if (part := found.part(file))}
    memory = {file: found.memory(file) for file in files if file not in parts}
    assert {*parts.values(), *memory.values(), *found.absent_twins()} == set(network.state_dict())
    assert all(found.tensor(name) == file for file, name in memory.items() if name is not None)
