"""The folded model is loaded as others load it: by the class that its config names."""

import json
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
from safetensors.torch import save_file  # noqa: E402  # it needs torch
from torch import nn  # noqa: E402

from deltareg.errors import Refused  # noqa: E402
from deltareg_verify.engine.torch_engine.folded_reload import folded_values, load_as_folder  # noqa: E402
from deltareg_verify.engine.torch_engine.forward import forward  # noqa: E402
from deltareg_verify.engine.torch_engine.from_files import map_tensors  # noqa: E402
from deltareg_verify.engine.torch_engine.networks.pipeline import run_part  # noqa: E402
from deltareg_verify.engine.torch_engine.ops import TorchOps  # noqa: E402
from deltareg_verify.engine.torch_engine.probe import floating_outputs  # noqa: E402
from deltareg_verify.engine.torch_engine.same_network import is_same_network  # noqa: E402
from deltareg_verify.judging.examine import examine  # noqa: E402
from tests import small_networks  # noqa: E402
from tests.verify.bench import Bench, sample_bench, suite_of  # noqa: E402

transformers = pytest.importorskip("transformers", reason="needs transformers")
RELOADS = suite_of(("reloads", {"f32": "0.00001", "bf16": "0.02", "f16": "0.005"}), "exercised")


@pytest.fixture
def opened(cache_dir):
    """Open a sample, to be held against the two checks."""
    return partial(sample_bench, cache_dir=cache_dir, suite=RELOADS)


def found(bench):
    """Give the results by name."""
    return {result.name: result for result in examine(bench.case())}


@pytest.mark.parametrize("sample", ["tinyllama/lora_qv", "tinyllama/lora_v2", "tinyllama/full", "tinygpt2/lora"])
def test_what_is_folded_loads_as_what_it_is(opened, sample):
    result = found(opened(sample))["reloads"]

    assert result.verdict == "pass", result.detail
    assert isinstance(result.value, float)
    assert result.value <= 1e-6


@pytest.mark.parametrize("sample", ["tinyllama/lora_qv", "tinygpt2/lora"])
def test_what_is_the_network_in_memory_gives_what_that_gives_and_does_not_run(cache_dir, sample):
    bench = sample_bench(sample, cache_dir)
    case = bench.case()
    engine = bench.engine()
    values = folded_values(bench.account.effects, bench.base.tensors, TorchOps(torch.device("cpu")), known={})
    module, _ = load_as_folder(run_part(bench.base, ()), case.folded_config, values, torch.float32)

    told = engine.reload_folded(case.folded_config)

    assert told.is_same
    assert told.outputs is None
    expected = floating_outputs(forward(module, engine._probe))["logits"]
    assert np.array_equal(engine.outputs("folded")["logits"].view(np.int32), expected.view(np.int32))


@pytest.mark.parametrize("change", ["value", "sign", "setting", "class", "buffer", "hook"])
def test_a_network_that_differs_anywhere_is_another(change):
    def network():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.1), nn.LeakyReLU(0.1)).eval()

    one, other = network(), network()
    one[0].bias.data[0] = other[0].bias.data[0] = 0.0
    assert is_same_network(one, other)

    match change:
        case "value":
            other[0].weight.data[2, 2] += 1e-7
        case "sign":
            other[0].bias.data[0] = -0.0
        case "setting":
            other[3].negative_slope = 0.2
        case "class":
            other[3] = nn.ReLU()
        case "buffer":
            other[1].running_mean[1] = 1e-9
        case _:
            other[0].register_forward_hook(lambda *_: None)

    assert not is_same_network(one, other)


def test_a_twin_that_is_written_under_one_of_its_names_is_missing(cache_dir):
    """Folding unties the head and turns the tie off: both names must be in the folder."""
    bench = sample_bench("tinygpt2/lora", cache_dir)
    values, base = map_tensors(bench.base.tensors), run_part(bench.base, ())
    untied = {**bench.base.view.config, "tie_word_embeddings": False}

    _, whole = load_as_folder(
        base, untied, {**values, "lm_head.weight": values["transformer.wte.weight"]}, torch.float32
    )
    _, lost = load_as_folder(base, untied, values, torch.float32)

    assert (whole.missing, lost.missing) == (frozenset(), frozenset({"lm_head.weight"}))


def test_what_the_class_has_and_no_file_holds_is_named(cache_dir):
    engine = sample_bench("tinyllama/lora_qv", cache_dir).engine()

    told = engine.reload_folded({**engine.config, "num_hidden_layers": 3})

    assert told.missing
    assert all(name.startswith("model.layers.2.") for name in told.missing)


def test_what_the_base_lacks_beside_the_same_class_is_not_the_deltas_lack(cache_dir):
    engine = sample_bench("tinyllama/lora_qv", cache_dir).engine()

    told = engine.reload_folded({**engine.config, "architectures": ["LlamaModel"]})

    assert (told.missing, told.unexpected) == ((), ())  # the head, which the base has, too


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """An encoder without a head, and what training a classifier on it gives."""
    folder = tmp_path_factory.mktemp("encoder")
    size = {
        "vocab_size": 40,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": 32,
    }
    with small_networks.quiet():
        torch.manual_seed(3)
        transformers.BertModel(transformers.BertConfig(**size)).save_pretrained(folder / "base")
    return folder


def classifier(folder, name, *, rows, config=None, width=16):
    """Write a new head beside a bias of the encoder, with or without a config."""
    delta = folder / name
    delta.mkdir()
    tensors = {
        "classifier.weight": torch.randn(rows, width),
        "classifier.bias": torch.randn(rows),
        "encoder.layer.0.attention.output.dense.bias": torch.randn(16),
    }
    save_file(tensors, delta / "delta.safetensors")
    if config is not None:
        (delta / "config.json").write_text(json.dumps(config))
    return delta


def test_a_head_that_no_config_names_is_run_and_told(encoder, cache_dir):
    delta = classifier(encoder, "unnamed", rows=5)

    results = found(Bench(delta, encoder / "base", cache_dir, suite=RELOADS, convention="absolute"))

    assert results["exercised"].verdict == "pass"
    assert "BertForSequenceClassification" in results["exercised"].detail
    assert results["reloads"].verdict == "warn"
    assert "classifier.bias" in results["reloads"].detail


def test_a_head_for_which_no_class_has_a_place_decides_nothing(encoder, cache_dir):
    delta = classifier(encoder, "odd", rows=5, width=9)

    result = found(Bench(delta, encoder / "base", cache_dir, suite=RELOADS, convention="absolute"))["exercised"]

    assert (result.verdict, result.code) == ("skipped", "")
    assert "no class of a bert here has a place for classifier.bias" in result.detail


def test_a_head_whose_class_a_config_names_folds_into_a_folder_that_loads(cache_dir, tmp_path):
    peft = pytest.importorskip("peft", reason="needs peft")
    with small_networks.quiet():
        made, inputs = trained_classifier(peft, tmp_path)
    bench = Bench(tmp_path / "delta", tmp_path / "base", cache_dir, suite=RELOADS)

    results = found(bench)
    got = bench.engine().outputs_for("attached", inputs)["logits"]

    assert {name: result.verdict for name, result in results.items()} == {"reloads": "pass", "exercised": "pass"}
    assert np.max(np.abs(got - made)) < 1e-6


@pytest.mark.parametrize(
    ("kind", "options", "targets"),
    [
        ("DistilBert", {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 16}, ["q_lin"]),
        (
            "Roberta",
            {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16},
            ["query"],
        ),
        (
            "MPNet",
            {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16},
            ["q"],
        ),
    ],
)
def test_a_classifier_on_a_plain_encoder_runs_by_its_task(kind, options, targets, cache_dir, tmp_path):
    """DistilBERT has a part named `transformer`, which is no prefix of its names."""
    peft = pytest.importorskip("peft", reason="needs peft")
    with small_networks.quiet():
        torch.manual_seed(0)
        config = getattr(transformers, f"{kind}Config")(
            vocab_size=40, max_position_embeddings=32, pad_token_id=1, **options
        )
        getattr(transformers, f"{kind}Model")(config).save_pretrained(tmp_path / "base")
        network = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "base", num_labels=3)
        asked = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=targets)
        model = peft.get_peft_model(network, asked).eval()
        for parameter in model.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.3)
        model.save_pretrained(tmp_path / "delta")
    ids = np.arange(2, 14).reshape(2, 6)
    with torch.no_grad():
        want = model(input_ids=torch.tensor(ids)).logits.numpy()
    bench = Bench(tmp_path / "delta", tmp_path / "base", cache_dir, suite=RELOADS)

    got = bench.engine().outputs_for("attached", {"input_ids": ids})["logits"]

    assert np.max(np.abs(got - want)) < 1e-6
    assert found(bench)["exercised"].verdict == "pass"


@pytest.mark.parametrize(
    ("kind", "is_taken"),
    [("QuestionAnswering", True), ("TokenClassification", True), ("SequenceClassification", False)],
)
def test_a_full_fine_tune_may_lack_the_pooler_that_its_class_lacks(encoder, kind, is_taken, cache_dir, tmp_path):
    with small_networks.quiet():
        torch.manual_seed(4)
        network = getattr(transformers, f"BertFor{kind}").from_pretrained(encoder / "base").eval()
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        kept = {n: v for n, v in network.state_dict().items() if "pooler" not in n}
        network.save_pretrained(tmp_path / "delta", state_dict=kept)
    ids = np.arange(12).reshape(2, 6)

    if not is_taken:
        with pytest.raises(Refused, match="did not come"):
            Bench(tmp_path / "delta", encoder / "base", cache_dir)
        return
    bench = Bench(tmp_path / "delta", encoder / "base", cache_dir, suite=RELOADS)
    with torch.no_grad():
        want = next(iter(network(input_ids=torch.tensor(ids)).values())).numpy()
    got = next(iter(bench.engine().outputs_for("attached", {"input_ids": ids}).values()))
    assert np.max(np.abs(got - want)) < 1e-5
    assert {r.verdict for r in found(bench).values()} == {"pass"}


def trained_classifier(peft, folder):
    """Give a classifier of five kinds on a plain encoder, by peft, and its answers."""
    torch.manual_seed(5)
    size = {
        "vocab_size": 40,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": 32,
    }
    transformers.BertModel(transformers.BertConfig(**size)).save_pretrained(folder / "base")
    network = transformers.BertForSequenceClassification.from_pretrained(folder / "base", num_labels=5)
    config = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query"])
    model = peft.get_peft_model(network, config).eval()
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder / "delta")
    ids = np.arange(12).reshape(2, 6)
    with torch.no_grad():
        answer = model(input_ids=torch.tensor(ids)).logits.numpy()
    return answer, {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def test_a_fine_tune_with_a_config_of_its_own_runs_by_it(cache_dir, tmp_path):
    size = {
        "vocab_size": 40,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    }
    with small_networks.quiet():
        torch.manual_seed(6)
        network = transformers.LlamaForCausalLM(transformers.LlamaConfig(**size))
        network.save_pretrained(tmp_path / "base")
        network.config.rms_norm_eps = 0.5
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        network.save_pretrained(tmp_path / "delta")
        tuned = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "delta")
    ids = np.arange(12).reshape(2, 6)
    with torch.no_grad():
        want = tuned(input_ids=torch.tensor(ids)).logits.numpy()
    bench = Bench(tmp_path / "delta", tmp_path / "base", cache_dir, suite=RELOADS)

    got = bench.engine().outputs_for("attached", {"input_ids": ids})["logits"]

    assert np.max(np.abs(got - want)) < 1e-5
    assert found(bench)["reloads"].verdict == "pass"
