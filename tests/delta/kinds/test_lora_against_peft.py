"""Folds equal what the peft library merges, over networks and flags, made here and now."""

import json
import warnings

import numpy as np
import pytest

from deltareg.delta.accounting import account, recognise
from deltareg.delta.fold import FoldedBase
from deltareg.tensors.array import to_f32, view
from tests.folders import open_base, open_folder

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
peft = pytest.importorskip("peft", reason="needs peft: pip install peft")
transformers = pytest.importorskip("transformers", reason="needs transformers")

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
IMAGE = {"image_size": 8, "patch_size": 4, "num_channels": 1}


def llama(**more):
    config = transformers.LlamaConfig(
        **SMALL, vocab_size=32, num_key_value_heads=1, **{"tie_word_embeddings": False, **more}
    )
    return transformers.LlamaForCausalLM(config)


def llama_biased():
    return llama(attention_bias=True, mlp_bias=True)


def llama_tied():
    return llama(tie_word_embeddings=True)


def gpt2():
    config = transformers.GPT2Config(
        n_embd=16, n_layer=2, n_head=2, vocab_size=32, n_positions=16, bos_token_id=1, eos_token_id=2
    )
    return transformers.GPT2LMHeadModel(config)


def bert():
    return transformers.BertForSequenceClassification(transformers.BertConfig(**SMALL, vocab_size=32))


def roberta():
    return transformers.RobertaForSequenceClassification(transformers.RobertaConfig(**SMALL, vocab_size=32))


def vit():
    return transformers.ViTForImageClassification(transformers.ViTConfig(**SMALL, **IMAGE, num_labels=4))


def clip():
    part = {**SMALL, "projection_dim": 8}
    text = {**part, "vocab_size": 32, "bos_token_id": 1, "eos_token_id": 2}
    return transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config={**part, **IMAGE}))


def t5():
    config = transformers.T5Config(d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2, vocab_size=32)
    return transformers.T5ForConditionalGeneration(config)


def resnet():
    config = transformers.ResNetConfig(
        embedding_size=4, hidden_sizes=[8, 16], depths=[1, 1], num_channels=1, num_labels=3
    )
    return transformers.ResNetForImageClassification(config)


def qwen3():
    config = transformers.Qwen3Config(
        **SMALL, vocab_size=32, head_dim=8, num_key_value_heads=1, tie_word_embeddings=False
    )
    return transformers.Qwen3ForCausalLM(config)


QV = ["q_proj", "v_proj"]
CASES = {
    "plain": (llama, {"target_modules": QV, "task_type": "CAUSAL_LM"}),
    "all linear": (llama, {"target_modules": "all-linear", "task_type": "CAUSAL_LM"}),
    "one name": (llama, {"target_modules": "model.layers.0.self_attn.q_proj"}),
    "pattern": (t5, {"target_modules": ".*decoder.*(SelfAttention|EncDecAttention).*(q|v)$"}),
    "rank-stabilised": (llama, {"target_modules": QV, "use_rslora": True}),
    "alpha not whole": (llama, {"target_modules": QV, "lora_alpha": 2.5}),
    "rank and alpha patterns": (
        llama,
        {
            "target_modules": QV,
            "rank_pattern": {"^model.layers.0.self_attn.q_proj": 3, "v_proj": 4},
            "alpha_pattern": {"layers.1.self_attn.q_proj": 2, "v_proj": 5},
        },
    ),
    "some layers": (llama, {"target_modules": QV, "layers_to_transform": [1]}),
    "some layers of a list": (llama, {"target_modules": QV, "layers_to_transform": 0, "layers_pattern": "layers"}),
    "all but one": (
        llama,
        {"target_modules": "all-linear", "exclude_modules": ["down_proj"], "task_type": "CAUSAL_LM"},
    ),
    "dora": (llama, {"target_modules": [*QV, "down_proj"], "use_dora": True}),
    "dora rank-stabilised": (llama, {"target_modules": QV, "use_dora": True, "use_rslora": True}),
    "dora on Conv1D": (gpt2, {"target_modules": ["c_attn", "c_proj"], "use_dora": True, "fan_in_fan_out": True}),
    "dora on an embedding": (llama, {"target_modules": ["embed_tokens"], "use_dora": True}),
    "dora on convolutions": (resnet, {"target_modules": ["convolution"], "use_dora": True}),
    "Conv1D": (gpt2, {"target_modules": ["c_attn", "c_proj", "c_fc"], "fan_in_fan_out": True}),
    "Conv1D without the flag": (gpt2, {"target_modules": ["c_proj"]}),
    "convolutions": (resnet, {"target_modules": ["convolution"], "modules_to_save": ["classifier"]}),
    "patches": (vit, {"target_modules": ["projection", "q_proj"]}),
    "embedding and linear": (llama, {"target_modules": ["embed_tokens", "lm_head", "q_proj"]}),
    "mistaken fan_in_fan_out": (llama, {"target_modules": QV, "fan_in_fan_out": True}),
    "pissa": (llama, {"target_modules": QV, "init_lora_weights": "pissa"}),
    "pissa on Conv1D": (gpt2, {"target_modules": ["c_fc"], "init_lora_weights": "pissa", "fan_in_fan_out": True}),
    "olora": (llama, {"target_modules": QV, "init_lora_weights": "olora"}),
    "gaussian": (llama, {"target_modules": QV, "init_lora_weights": "gaussian"}),
    "orthogonal": (llama, {"target_modules": QV, "init_lora_weights": "orthogonal"}),
    "biases of adapted layers": (llama_biased, {"target_modules": QV, "bias": "lora_only"}),
    "all biases": (bert, {"target_modules": ["query"], "bias": "all", "task_type": "SEQ_CLS"}),
    "bias of B": (llama_biased, {"target_modules": QV, "lora_bias": True}),
    "sequence classification": (bert, {"target_modules": ["query"], "task_type": "SEQ_CLS"}),
    "a head of two layers": (roberta, {"target_modules": ["query"], "task_type": "SEQ_CLS"}),
    "saved module": (llama, {"target_modules": QV, "modules_to_save": ["lm_head", "norm"]}),
    "saved head": (vit, {"target_modules": QV, "modules_to_save": ["classifier"]}),
    "both towers": (clip, {"target_modules": ["q_proj", "fc1"]}),
    "encoder and decoder": (t5, {"target_modules": ["q", "wi"], "task_type": "SEQ_2_SEQ_LM"}),
    "token rows": (llama, {"target_modules": QV, "trainable_token_indices": [3, 5, 31]}),
    "token rows by name": (
        llama,
        {"target_modules": QV, "trainable_token_indices": {"embed_tokens": [1], "lm_head": [2, 4]}},
    ),
    "token rows by the end of names": (
        bert,
        {"target_modules": ["query"], "task_type": "SEQ_CLS", "trainable_token_indices": {"_embeddings": [0, 1]}},
    ),
    "token rows, tied": (llama_tied, {"target_modules": QV, "trainable_token_indices": [0, 7]}),
    "normalised queries": (qwen3, {"target_modules": "all-linear", "task_type": "CAUSAL_LM"}),
}
# The library's own merge is wrong here (attached and merged differ), so logits are the oracle.
TIED = {
    "tied head adapted": (gpt2, {"target_modules": ["lm_head", "c_attn"]}),
    "tied embedding adapted": (gpt2, {"target_modules": ["wte"]}),
    "tied embedding saved": (llama_tied, {"target_modules": QV, "modules_to_save": ["embed_tokens"]}),
    "tied head saved": (llama_tied, {"target_modules": QV, "modules_to_save": ["lm_head"]}),
    "both adapted and kept tied": (
        llama_tied,
        {"target_modules": ["embed_tokens", "lm_head"], "ensure_weight_tying": True},
    ),
    "saved and kept tied": (
        llama_tied,
        {"target_modules": QV, "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
    ),
}
RESIZED = {
    "resized, saved": {"target_modules": QV, "modules_to_save": ["embed_tokens", "lm_head"]},
    "resized, untrained": {"target_modules": QV},
    "resized, adapted": {"target_modules": [*QV, "embed_tokens", "lm_head"]},
    "resized, new rows trained": {"target_modules": QV, "trainable_token_indices": [32, 33]},
}


@pytest.fixture(autouse=True)
def quiet():
    """The libraries warn of what is wanted here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers.logging.set_verbosity_error()
        torch.manual_seed(0)
        yield


def tuned(network, options):
    """Wrap a network and give every trained parameter other numbers, as training would."""
    model = peft.get_peft_model(network, peft.LoraConfig(r=2, **{"lora_alpha": 4, **options}))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad and parameter.is_floating_point():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def opened(tmp_path, delta="delta"):
    view_, weights = open_base(tmp_path / "base")
    folder = open_folder(tmp_path / delta)
    kind, _ = recognise(folder.files, view_)
    account_ = account(kind.parse(folder.files, view_), folder.files, folder.tensors, view_)
    assert [p for p in account_.problems if p.severity == "error"] == []
    assert account_.delta is not None
    assert account_.delta.name == "lora"
    assert account_.delta.foldable
    return view_, weights, FoldedBase(account_.effects, weights)


def folded(folding, weights, name):
    if name in folding.changed:
        raw = b"".join(folding.rows(name))
        dtype = folding.dtype(name)
        return to_f32(view(raw, dtype, folding.shape(name)), dtype)
    tensor = folding.additions.get(name) or weights[name]
    return to_f32(view(tensor.read(), tensor.dtype, tensor.shape), tensor.dtype)


@pytest.mark.parametrize("case", CASES)
def test_a_fold_is_what_the_library_merges(tmp_path, case):
    make, options = CASES[case]
    network = make()
    network.save_pretrained(tmp_path / "base")
    tuned(network, options).save_pretrained(tmp_path / "delta")
    loaded = peft.PeftModel.from_pretrained(make_again(tmp_path, network), tmp_path / "delta")
    merged = loaded.merge_and_unload().state_dict()

    view_, weights, folding = opened(tmp_path)

    assert_equal(view_, weights, folding, merged)
    assert folding.config_changes(view_.config) == {}


def make_again(tmp_path, network):
    """Load the base that was saved: the library may have changed the one that was wrapped."""
    return type(network).from_pretrained(tmp_path / "base")


def assert_equal(view_, weights, folding, merged):
    worst, changed = 0.0, 0
    memory = {view_.names.memory(name): name for name in weights}
    for name, want in merged.items():
        on_disk = memory.get(name, name)
        shares_a_tensor = on_disk not in {*weights, *folding.changed, *folding.additions}
        if shares_a_tensor or not want.is_floating_point():
            continue
        got = folded(folding, weights, on_disk)
        assert got.shape == tuple(want.shape), name
        worst = max(worst, float(np.max(np.abs(got - want.numpy()), initial=0)))
        changed += on_disk in folding.changed
    assert changed == len(folding.changed)
    assert worst < 1e-6


@pytest.mark.parametrize("case", TIED)
def test_a_fold_of_tied_weights_answers_like_the_attached_network(tmp_path, case):
    make, options = TIED[case]
    network = make()
    network.save_pretrained(tmp_path / "base")
    tuned(network, options).save_pretrained(tmp_path / "delta")
    tokens = torch.arange(8)[None]
    attached = peft.PeftModel.from_pretrained(make_again(tmp_path, network), tmp_path / "delta")
    want = attached.eval()(input_ids=tokens).logits.detach().numpy()

    got = logits_of_fold(tmp_path, network, tokens)

    assert np.max(np.abs(got - want)) < 1e-5


@pytest.mark.parametrize("make", [llama, llama_tied])
@pytest.mark.parametrize("case", RESIZED)
def test_a_fold_with_new_tokens_answers_like_the_attached_network(tmp_path, case, make):
    network = make()
    network.save_pretrained(tmp_path / "base")
    network.resize_token_embeddings(34)
    model = tuned(network, RESIZED[case])
    # The library looks at the base's folder to see that the vocabulary has grown.
    model.peft_config["default"].base_model_name_or_path = str(tmp_path / "base")
    model.save_pretrained(tmp_path / "delta")
    tokens = torch.tensor([[1, 5, 32, 33, 7]])
    want = model.eval()(input_ids=tokens).logits.detach().numpy()

    got = logits_of_fold(tmp_path, network, tokens)

    assert np.max(np.abs(got - want)) < 1e-5


def logits_of_fold(tmp_path, network, tokens):
    """Write the folded weights as a network of its own, and run it."""
    view_, weights, folding = opened(tmp_path)
    names = {*weights, *folding.changed, *folding.additions}
    state = {
        view_.names.memory(name) or name: torch.from_numpy(folded(folding, weights, name).copy()) for name in names
    }
    config = {**view_.config, **folding.config_changes(view_.config)}
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.json").write_text(json.dumps(config))
    from safetensors.torch import save_file

    save_file(state, tmp_path / "out" / "model.safetensors", metadata={"format": "pt"})
    plain = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    return plain.eval()(input_ids=tokens).logits.detach().numpy()
