"""Names in memory are those of the transformers library, for tiny networks of many types."""

import json
import warnings

import pytest

from deltareg.names import name_map_for

transformers = pytest.importorskip("transformers", reason="needs transformers")

SMALL = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24,
}  # fmt: skip
IMAGE = {"image_size": 8, "patch_size": 4}
WORDS = {"vocab_size": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
PAIR = {
    "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24,
    "decoder_start_token_id": 1, **WORDS,
}  # fmt: skip
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2, "vocab_size": 64}
GPT2 = {"n_embd": 16, "n_layer": 1, "n_head": 2, **WORDS}
TOWERS = {"text_config": {**SMALL, **WORDS}, "vision_config": {**SMALL, **IMAGE}}
DISTILLED = {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 24, "vocab_size": 64}
MASKED = {
    "decoder_hidden_size": 16, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 24,
}  # fmt: skip
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
    "Dinov2ForImageClassification": {
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, **IMAGE,
    },
    "DistilBertForMaskedLM": DISTILLED,
    "DistilBertForSequenceClassification": DISTILLED,
    "ElectraForSequenceClassification": {**SMALL, **WORDS, "embedding_size": 16},
    "FalconForCausalLM": {
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, **WORDS,
    },
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
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 24,
        "word_embed_proj_dim": 16, **WORDS,
    },
    "Qwen2ForCausalLM": {**SMALL, **WORDS, "num_key_value_heads": 1},
    "Qwen3ForCausalLM": {**SMALL, **WORDS, "num_key_value_heads": 1, "head_dim": 8},
    "ResNetForImageClassification": {
        "embedding_size": 4, "hidden_sizes": [8, 16], "depths": [1, 1],
    },
    "RobertaForMaskedLM": {**SMALL, **WORDS},
    "SwinForImageClassification": {
        "embed_dim": 8, "depths": [1], "num_heads": [2], "image_size": 8, "patch_size": 2,
        "window_size": 2,
    },
    "T5EncoderModel": T5,
    "T5ForConditionalGeneration": T5,
    "ViTForImageClassification": {**SMALL, **IMAGE},
    "ViTMAEForPreTraining": {**SMALL, **IMAGE, **MASKED},
    "ViTMSNForImageClassification": {**SMALL, **IMAGE},
    "WhisperForConditionalGeneration": {
        **PAIR, "num_mel_bins": 8, "max_source_positions": 8, "max_target_positions": 8,
    },
    "XLMRobertaForMaskedLM": {**SMALL, **WORDS},
}  # fmt: skip


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
    raw = (path / "model.safetensors").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    files = sorted(header.keys() - {"__metadata__"})
    config = json.loads((path / "config.json").read_text())

    found = name_map_for(config, files)

    told = {found.memory(file) for file in files} | found.absent_twins().keys()
    assert told == set(network.state_dict())
    assert found.rules.is_known or name.startswith("ResNet")
    memory = {file: found.memory(file) for file in files}
    assert all(found.tensor(name) == file for file, name in memory.items() if name is not None)
