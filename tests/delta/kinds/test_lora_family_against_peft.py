"""Folds of the LoRA family's variants equal what the peft library merges, over flags and layers."""

import warnings

import numpy as np
import pytest

from deltareg.delta.accounting import recognise
from deltareg.delta.kind import WeightUpdate
from deltareg.delta.maths.numpy_ops import NumPyOps
from tests.delta.kinds.test_lora_against_peft import (
    assert_equal,
    gpt2,
    llama,
    llama_biased,
    make_again,
    opened,
    resnet,
    t5,
    vit,
)
from tests.folders import open_base, open_folder

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
peft = pytest.importorskip("peft", reason="needs peft: pip install peft")
transformers = pytest.importorskip("transformers", reason="needs transformers")
TorchOps = pytest.importorskip("deltareg_verify.engine.torch_engine.ops", reason="needs torch").TorchOps

QV = {"target_modules": ["q_proj", "v_proj"]}
MLP = {"target_modules": ["up_proj", "down_proj"]}
CONV1D = {"target_modules": ["c_attn", "c_proj", "c_fc"], "fan_in_fan_out": True}
WIDE = {"target_modules": ["convolution"]}
STEPS = {"total_step": 10}


def whisper():
    config = transformers.WhisperConfig(
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        vocab_size=32,
        num_mel_bins=4,
        max_source_positions=8,
        max_target_positions=8,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    return transformers.WhisperForConditionalGeneration(config)


LINES = {"target_modules": ["conv1", "conv2", "q_proj"]}
LONG_NAME = "model.layers.0.self_attn.q_proj"
CASES = {
    "adalora": ("AdaLora", llama, {**QV, **STEPS, "init_r": 3}),
    "adalora, alpha 0": ("AdaLora", llama, {**QV, **STEPS, "init_r": 3, "lora_alpha": 0}),
    "adalora on Conv1D": ("AdaLora", gpt2, {**CONV1D, **STEPS}),
    "adalora on kernels": ("AdaLora", resnet, {**WIDE, **STEPS, "init_r": 2}),
    "adalora with biases": ("AdaLora", llama_biased, {**QV, **STEPS, "bias": "lora_only"}),
    "loha": ("LoHa", llama, {**QV, "r": 3, "alpha": 2.5}),
    "loha with patterns": (
        "LoHa",
        llama,
        {
            **QV,
            "r": 2,
            "rank_pattern": {"^model.layers.0.self_attn.q_proj": 3, "v_proj": 4},
            "alpha_pattern": {"layers.1.self_attn.q_proj": 2, "v_proj": 5},
        },
    ),
    "loha on kernels": ("LoHa", resnet, {**WIDE, "r": 2}),
    "loha on kernels through cores": ("LoHa", resnet, {**WIDE, "r": 2, "use_effective_conv2d": True}),
    "loha on kernels of lines": ("LoHa", whisper, {**LINES, "r": 2}),
    "loha on lines through cores": ("LoHa", whisper, {**LINES, "r": 2, "use_effective_conv2d": True}),
    "lokr": ("LoKr", llama, {**QV, "r": 1, "alpha": 3}),
    "lokr whole": ("LoKr", llama, {**QV, "r": 64}),
    "lokr both decomposed": ("LoKr", llama, {**MLP, "r": 1, "decompose_both": True}),
    "lokr by a factor": ("LoKr", llama, {**MLP, "r": 1, "decompose_factor": 2}),
    "lokr with patterns": (
        "LoKr",
        llama,
        {**QV, "r": 64, "rank_pattern": {"v_proj": 1}, "alpha_pattern": {LONG_NAME: 3}},
    ),
    "lokr on kernels": ("LoKr", resnet, {**WIDE, "r": 1}),
    "lokr on kernels, whole": ("LoKr", resnet, {**WIDE, "r": 16}),
    "lokr on kernels through cores": ("LoKr", resnet, {**WIDE, "r": 1, "use_effective_conv2d": True}),
    "lokr on kernels of lines": ("LoKr", whisper, {**LINES, "r": 1}),
    "lokr on lines, whole": ("LoKr", whisper, {**LINES, "r": 16}),
    "vera": ("Vera", llama, {"target_modules": "all-linear", "r": 4, "task_type": "CAUSAL_LM"}),
    "vera on Conv1D": ("Vera", gpt2, {**CONV1D, "r": 4}),
    "randlora": ("RandLora", llama, {"randlora_alpha": 8, **QV, **MLP, "r": 5}),
    "randlora all over": (
        "RandLora",
        llama,
        {"target_modules": "all-linear", "r": 4, "randlora_alpha": 7, "task_type": "CAUSAL_LM"},
    ),
    "randlora sparse": ("RandLora", llama, {"randlora_alpha": 8, **QV, "r": 4, "sparse": True}),
    "randlora very sparse": ("RandLora", llama, {"randlora_alpha": 8, **MLP, "r": 4, "very_sparse": True}),
    "randlora on Conv1D": ("RandLora", gpt2, {"randlora_alpha": 8, **CONV1D, "r": 4}),
    "vblora": ("VBLoRA", llama, {**QV, "num_vectors": 9, "vector_length": 8, "topk": 3}),
    "vblora of one vector": ("VBLoRA", llama, {**QV, "num_vectors": 9, "vector_length": 4, "topk": 1}),
    "vblora without logits": (
        "VBLoRA",
        llama,
        {**MLP, "num_vectors": 9, "vector_length": 4, "save_only_topk_weights": True},
    ),
    "vblora of three, without logits": (
        "VBLoRA",
        llama,
        {**QV, "num_vectors": 300, "vector_length": 4, "topk": 3, "save_only_topk_weights": True},
    ),
    "vblora on Conv1D": ("VBLoRA", gpt2, {**CONV1D, "num_vectors": 9, "vector_length": 8}),
    "delora": ("Delora", llama, {**MLP, "r": 3}),
    "delora with patterns": ("Delora", llama, {**QV, "rank_pattern": {"v_proj": 2}, "lambda_pattern": {"q_proj": 3}}),
    "gralora": ("Gralora", llama, {**MLP, "r": 4}),
    "gralora of four": ("Gralora", llama, {**MLP, "r": 8, "gralora_k": 4, "alpha": 3}),
    "gralora, hybrid": ("Gralora", llama, {**QV, "r": 4, "hybrid_r": 3}),
    "gralora, hybrid on Conv1D": ("Gralora", gpt2, {**CONV1D, "r": 4, "hybrid_r": 2}),
    "hira": ("Hira", llama, {**MLP, "r": 3}),
    "hira with a pattern": ("Hira", llama, {**QV, "r": 3, "rank_pattern": {"v_proj": 2}}),
    "hira on Conv1D": ("Hira", gpt2, {**CONV1D, "r": 2}),
    "hira on kernels": ("Hira", resnet, {**WIDE, "r": 2}),
    "hira on kernels of lines": ("Hira", whisper, {**LINES, "r": 2}),
    "hira on an embedding": ("Hira", llama, {"target_modules": ["embed_tokens", "q_proj"]}),
    "fourierft": ("FourierFT", llama, {**MLP, "n_frequency": 40, "scaling": 5.5}),
    "fourierft with a pattern": (
        "FourierFT",
        t5,
        {"target_modules": ["q", "wi"], "n_frequency": 9, "n_frequency_pattern": {"q": 11}},
    ),
    "fourierft, another seed": (
        "FourierFT",
        llama,
        {**QV, "n_frequency": 100, "scaling": 10, "random_loc_seed": 2**31 - 1},
    ),
    "fourierft on Conv1D": ("FourierFT", gpt2, {**CONV1D, "n_frequency": 40}),
    "c3a": ("C3A", llama, {**MLP, "block_size": 4}),
    "c3a with a pattern": ("C3A", llama, {**QV, "block_size": 4, "block_size_pattern": {"v_proj": 8}}),
    "waveft": ("WaveFT", llama, {**MLP, "n_frequency": 60}),
    "waveft of long filters": ("WaveFT", llama, {**MLP, "n_frequency": 60, "wavelet_family": "coif2"}),
    "waveft without a transform": ("WaveFT", llama, {**MLP, "n_frequency": 60, "use_idwt": False}),
    "waveft by size": (
        "WaveFT",
        llama,
        {"target_modules": ["q_proj", "up_proj"], "n_frequency": 60, "proportional_parameters": True},
    ),
    "waveft with a pattern": (
        "WaveFT",
        vit,
        {**QV, "n_frequency": 60, "n_frequency_pattern": {"v_proj": 20}, "scaling": 2},
    ),
    "waveft on Conv1D": ("WaveFT", gpt2, {**CONV1D, "n_frequency": 60, "wavelet_family": "sym3"}),
    "waveft on Conv1D without a transform": ("WaveFT", gpt2, {**CONV1D, "n_frequency": 60, "use_idwt": False}),
    "miss": ("Miss", llama, {**QV, "r": 4}),
    "miss that is cut": ("Miss", llama, {**MLP, "r": 5}),
    "miss, mini": ("Miss", llama, {**MLP, "r": 5, "mini_r": 4, "init_weights": "mini"}),
    "miss, bat": ("Miss", llama, {**MLP, "r": 4, "init_weights": "bat"}),
    "miss with biases": ("Miss", llama_biased, {**QV, "r": 4, "bias": "MiSS_only"}),
    "saved module": ("Vera", llama, {**QV, "r": 4, "modules_to_save": ["lm_head", "norm"]}),
}


@pytest.fixture(autouse=True)
def quiet():
    """The libraries warn of what is wanted here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers.logging.set_verbosity_error()
        torch.manual_seed(0)
        yield


def tuned(network, kind, options):
    """Wrap a network and give every trained parameter other numbers, as training would."""
    model = peft.get_peft_model(network, getattr(peft, f"{kind}Config")(**options))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad and parameter.is_floating_point():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def merged(tmp_path, network):
    """Give the weights as the library merges them, from what it has saved."""
    loaded = peft.PeftModel.from_pretrained(make_again(tmp_path, network), tmp_path / "delta")
    return loaded.merge_and_unload().state_dict()


@pytest.mark.parametrize("case", CASES)
def test_a_fold_is_what_the_library_merges(tmp_path, case):
    kind, make, options = CASES[case]
    network = make()
    network.save_pretrained(tmp_path / "base")
    tuned(network, kind, options).save_pretrained(tmp_path / "delta")
    want = merged(tmp_path, network)

    view_, weights, folding = opened(tmp_path)

    assert_equal(view_, weights, folding, want)
    assert len(folding.changed) > 0


OTHER_LAYERS = [
    "adalora on kernels",
    "hira on an embedding",
    "hira on kernels",
    "loha on kernels",
    "loha on lines through cores",
    "lokr on kernels through cores",
    "lokr on kernels, whole",
    "lokr on lines, whole",
    "miss, mini",
    "vblora without logits",
    "waveft without a transform",
]


@pytest.mark.parametrize("case", OTHER_LAYERS)
def test_numpy_and_torch_fold_alike(tmp_path, case):
    kind, make, options = CASES[case]
    network = make()
    network.save_pretrained(tmp_path / "base")
    tuned(network, kind, options).save_pretrained(tmp_path / "delta")

    assert_alike(tmp_path)


def assert_alike(tmp_path):
    """Fold every effect with NumPy, with torch and by single rows."""
    numpy, on_torch = NumPyOps(), TorchOps(torch.device("cpu"))
    for update, weight in updates(tmp_path):
        want = update.fold(weight, 0, len(weight), numpy)
        got = update.fold(torch.tensor(weight), 0, len(weight), on_torch)
        assert np.max(np.abs(got.numpy() - want)) < 1e-6
        for at in [] if update.needs_whole else range(len(weight)):
            row = update.fold(weight[at : at + 1], at, at + 1, numpy)
            assert np.max(np.abs(row - want[at : at + 1])) < 1e-6


def updates(tmp_path):
    """Give every formula of a delta with the weight that it changes."""
    view_, weights = open_base(tmp_path / "base")
    folder = open_folder(tmp_path / "delta")
    reader, _ = recognise(folder.files, view_)
    effects = reader.parse(folder.files, view_).effects(folder.tensors, view_)
    found = [effect for effect in effects if isinstance(effect, WeightUpdate)]
    return [(effect.update, NumPyOps().load(weights[effect.source])) for effect in found]


def test_ranks_that_adalora_gave_up_do_not_change_the_scale(tmp_path):
    network = llama()
    network.save_pretrained(tmp_path / "base")
    model = tuned(network, "AdaLora", {**QV, **STEPS, "init_r": 4})
    layers = [f"model.layers.{n}.self_attn" for n in (0, 1)]
    model.peft_config["default"].rank_pattern = {
        f"{layers[0]}.q_proj.lora_E.default": [True, False, True, False],
        f"{layers[0]}.v_proj.lora_E.default": [True] * 4,
        f"{layers[1]}.q_proj.lora_E.default": [False, False, True, False],
    }
    model.save_pretrained(tmp_path / "delta")
    want = merged(tmp_path, network)

    view_, weights, folding = opened(tmp_path)

    assert_equal(view_, weights, folding, want)
    assert len(folding.changed) == 4
