"""LayerNorm tuning: layers replaced whole, as the peft library merges them."""

import warnings

import numpy as np
import pytest

from tests import tiny
from tests.delta.kinds.assessing import assessed

CONFIG = {
    "peft_type": "LN_TUNING",
    "peft_version": "0.21.2",
    "task_type": "CAUSAL_LM",
    "target_modules": ["input_layernorm", "norm"],
}
NORM = f"{tiny.PREFIX}model.norm.ln_tuning_layers"


@pytest.fixture
def base(tmp_path):
    return tiny.base(tmp_path / "base")


def norms(base, *ends):
    return {
        f"{tiny.PREFIX}{module}.ln_tuning_layers.weight": np.full(tiny.WIDTH, 2.0, np.float32)
        for module in base.modules(*ends)
    }


def written(tmp_path, tensors, **config):
    tiny.write(tmp_path / "delta", tensors, adapter_config={**CONFIG, **config})
    return assessed(tmp_path / "delta", tmp_path / "base")


def test_norms_are_replaced(tmp_path, base):
    found = written(tmp_path, norms(base, "input_layernorm", "norm"))

    folded = found.folded()
    assert found.kind == "layernorm"
    assert set(folded) == {f"{m}.weight" for m in base.modules("input_layernorm", "norm")}
    assert all(np.array_equal(value, np.full(tiny.WIDTH, 2.0)) for value in folded.values())


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        (lambda t: {n: v for n, v in t.items() if ".layers.1." not in n}, ["missing_tensors"]),
        (lambda t: t | {f"{NORM}.weight": np.ones(5, np.float32)}, ["shape"]),
        (lambda t: t | {f"{NORM}.weight": np.ones(tiny.WIDTH, np.int32)}, ["shape"]),
        (lambda t: t | {f"{NORM}.bias": np.ones(tiny.WIDTH, np.float32)}, ["unexpected_tensors"]),
        (lambda t: t | {f"{NORM}.scale": np.ones(tiny.WIDTH, np.float32)}, ["unexpected_tensors"]),
        (
            lambda t: t | {f"{tiny.PREFIX}model.norm.weight": np.ones(tiny.WIDTH, np.float32)},
            ["undeclared_base_override"],
        ),
        (
            lambda t: {n.replace("model.layers", "text.layers"): v for n, v in t.items()},
            ["partial_application", "missing_tensors"],
        ),
        (lambda t: t | {f"{NORM}.weight": np.full(tiny.WIDTH, np.nan, np.float32)}, ["non_finite"]),
    ],
)
def test_layers_that_are_not_the_bases_are_refused(tmp_path, base, change, codes):
    found = written(tmp_path, change(norms(base, "input_layernorm", "norm")))

    assert found.codes == codes


def test_a_bias_of_the_base_must_come_along(tmp_path):
    base = tiny.base(tmp_path / "base", kind="gpt2")
    tensors = norms(base, "ln_1", "ln_2", "ln_f")

    found = written(tmp_path, tensors, target_modules=["ln_1", "ln_2", "ln_f"])

    assert found.codes == ["missing_tensors"]


def bert(transformers):
    config = transformers.BertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, vocab_size=32
    )
    return transformers.BertForSequenceClassification(config)


def resnet(transformers):
    config = transformers.ResNetConfig(
        num_channels=1, embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic", num_labels=3
    )
    return transformers.ResNetForImageClassification(config)


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (bert, {"target_modules": ["LayerNorm"], "task_type": "SEQ_CLS"}),
        (bert, {"target_modules": ["attention.output.LayerNorm"], "modules_to_save": ["pooler"]}),
        (resnet, {"target_modules": ["normalization"], "modules_to_save": ["classifier"]}),
    ],
)
def test_a_fold_is_what_the_library_merges(tmp_path, make, options):
    torch = pytest.importorskip("torch", reason="needs torch")
    peft = pytest.importorskip("peft", reason="needs peft")
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    torch.manual_seed(0)
    network = make(transformers)
    network.save_pretrained(tmp_path / "base")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = peft.get_peft_model(network, peft.LNTuningConfig(**options))
        with torch.no_grad():
            for tensor in [*model.parameters(), *model.buffers()]:
                if tensor.is_floating_point():
                    tensor.add_(0.1 * torch.rand_like(tensor))
        model.save_pretrained(tmp_path / "delta")
        plain = make(transformers).from_pretrained(tmp_path / "base")
        loaded = peft.PeftModel.from_pretrained(plain, tmp_path / "delta")
        merged = loaded.merge_and_unload().state_dict()

    found = assessed(tmp_path / "delta", tmp_path / "base")

    memory = {name: found.base.names.memory(name) for name in found.weights}
    for name, value in found.folded().items():
        want = _plainly(merged)[memory.get(name, name)]
        assert np.array_equal(value, want.numpy()), name


def _plainly(state):
    """The library leaves a wrapper on modules that it saved whole."""
    return {name.replace(".modules_to_save.default", ""): value for name, value in state.items()}
