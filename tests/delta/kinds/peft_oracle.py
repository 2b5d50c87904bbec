"""Small networks, wrapped by the peft library and given other numbers, as training would."""

import warnings
from contextlib import contextmanager

import numpy as np
import pytest

from deltareg.delta.accounting import account, recognise
from deltareg.delta.fold import FoldedBase
from deltareg.delta.maths.formula import Array
from deltareg.errors import Refused
from deltareg.tensors.array import to_f32, view
from tests.folders import open_base, open_folder

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
peft = pytest.importorskip("peft", reason="needs peft: pip install peft")
transformers = pytest.importorskip("transformers", reason="needs transformers")

SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "vocab_size": 32,
    "initializer_range": 0.2,
}
HEADS = {"num_key_value_heads": 1, "tie_word_embeddings": False}
QV = ["q_proj", "v_proj"]


def llama(**more):
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL, **HEADS, **more))


def llama_biased():
    network = llama(attention_bias=True, mlp_bias=True)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()
    return network


def mistral():
    return transformers.MistralForCausalLM(transformers.MistralConfig(**SMALL, **HEADS))


def qwen2():
    return transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**SMALL, **HEADS))


def qwen3():
    return transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**SMALL, **HEADS, head_dim=8))


def gpt2():
    config = transformers.GPT2Config(
        n_embd=16,
        n_layer=2,
        n_head=2,
        vocab_size=32,
        n_positions=16,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=0.2,
    )
    return transformers.GPT2LMHeadModel(config)


PAIR = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "vocab_size": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "init_std": 0.2,
}


def bart():
    return transformers.BartForConditionalGeneration(transformers.BartConfig(**PAIR))


def pegasus():
    return transformers.PegasusForConditionalGeneration(transformers.PegasusConfig(**PAIR))


def bert_mlm():
    return transformers.BertForMaskedLM(transformers.BertConfig(**SMALL))


def deberta_mlm():
    return transformers.DebertaV2ForMaskedLM(transformers.DebertaV2Config(**SMALL))


def mamba2():
    config = transformers.Mamba2Config(
        hidden_size=16,
        num_hidden_layers=1,
        state_size=4,
        vocab_size=32,
        num_heads=4,
        head_dim=8,
        n_groups=1,
        expand=2,
        initializer_range=0.2,
        tie_word_embeddings=True,
        pad_token_id=0,
    )
    return transformers.Mamba2ForCausalLM(config)


def llama_tied():
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**SMALL, num_key_value_heads=1, tie_word_embeddings=True)
    )


def gpt_oss():
    """Experts whose matrices are square, and stored (in, out)."""
    config = transformers.GptOssConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        num_local_experts=4,
        num_experts_per_tok=2,
        vocab_size=32,
        initializer_range=0.2,
        layer_types=["full_attention"],
    )
    return transformers.GptOssForCausalLM(config)


def writer():
    """A GPT-2 that reads what another network has made of its input."""
    return transformers.GPT2Config(
        n_embd=16,
        n_layer=1,
        n_head=2,
        vocab_size=32,
        n_positions=16,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=0.2,
        is_decoder=True,
        add_cross_attention=True,
    )


def vit_gpt2():
    """Two networks in one, of which the first has other names in memory than in files."""
    encoder = transformers.ViTConfig(**{**SMALL, "image_size": 8, "patch_size": 4, "num_channels": 3})
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, writer())
    config.decoder_start_token_id, config.pad_token_id = 1, 0
    return transformers.VisionEncoderDecoderModel(config)


def bert_gpt2():
    """Two networks in one, of which one stores its weights the other way round."""
    encoder, decoder = transformers.BertConfig(**SMALL), writer()
    config = transformers.EncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.pad_token_id = 1, 0
    return transformers.EncoderDecoderModel(config)


def resnet():
    config = transformers.ResNetConfig(
        embedding_size=4, hidden_sizes=[8, 16], depths=[1, 1], num_channels=1, num_labels=3
    )
    return transformers.ResNetForImageClassification(config)


@contextmanager
def quiet():
    """Keep the libraries from warning of what is wanted here, and seed them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers.logging.set_verbosity_error()
        torch.manual_seed(0)
        yield


def saved(tmp_path, network, config, *, size=0.1):
    """Save a base and a delta that was trained on it; give the wrapped network."""
    network.save_pretrained(tmp_path / "base")
    model = peft.get_peft_model(network, config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad and parameter.is_floating_point():
                parameter.add_(size * torch.randn_like(parameter))
    model.save_pretrained(tmp_path / "delta")
    return model


def loaded(tmp_path, network):
    """Load base and delta with the library, as its users do."""
    again = type(network).from_pretrained(tmp_path / "base")
    return peft.PeftModel.from_pretrained(again, tmp_path / "delta").eval()


def accounted(tmp_path):
    """Give the account of the saved delta, without an error, with base and weights."""
    base, weights = open_base(tmp_path / "base")
    folder = open_folder(tmp_path / "delta")
    kind, _ = recognise(folder.files, base)
    found = account(kind.parse(folder.files, base), folder.files, folder.tensors, base)
    assert [p for p in found.problems if p.severity == "error"] == []
    assert found.roles.keys() == folder.files.names
    return base, weights, found


def codes(tmp_path):
    """Give the codes of the errors that the saved delta gets."""
    base, _ = open_base(tmp_path / "base")
    folder = open_folder(tmp_path / "delta")
    try:
        kind, _ = recognise(folder.files, base)
        found = account(kind.parse(folder.files, base), folder.files, folder.tensors, base)
        problems = found.problems
    except Refused as refused:
        problems = refused.problems
    return {problem.code for problem in problems if problem.severity == "error"}


def error_of_fold(tmp_path, merged):
    """Fold the saved delta; give the largest difference from what the library merged."""
    base, weights, found = accounted(tmp_path)
    folding = FoldedBase(found.effects, weights)
    memory = {base.names.memory(name): name for name in weights}
    worst, changed = 0.0, 0
    for name, want in merged.items():
        on_disk = memory.get(name, name)
        if on_disk not in {*weights, *folding.changed} or not want.is_floating_point():
            continue
        if on_disk in folding.changed:
            raw, dtype = b"".join(folding.rows(on_disk)), folding.dtype(on_disk)
            got = to_f32(view(raw, dtype, folding.shape(on_disk)), dtype)
            changed += 1
        else:
            tensor = weights[on_disk]
            got = to_f32(view(tensor.read(), tensor.dtype, tensor.shape), tensor.dtype)
        worst = max(worst, float(np.max(np.abs(got - want.numpy()), initial=0)))
    assert changed == len(folding.changed) > 0
    return worst


def as_numbers(array: Array):
    return array.numpy() if isinstance(array, torch.Tensor) else np.asarray(array)
