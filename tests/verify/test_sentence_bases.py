"""Bases that are more than one network: sentence encoders with pooling, image captioners."""

import json
import shutil

import numpy as np
import pytest

from deltareg.client.cache.cache import Cache
from deltareg.client.folders.base_folder import open_base
from tests.verify.bench import SMOKE, Bench

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
library = pytest.importorskip("sentence_transformers", reason="needs sentence-transformers")
import transformers  # noqa: E402  # it needs torch
from peft import LoraConfig, get_peft_model  # noqa: E402

from deltareg_verify.engine.torch_engine import TorchEngine, prepare_device  # noqa: E402
from deltareg_verify.engine.torch_engine.networks.pooling_modes import MODES, pool  # noqa: E402
from deltareg_verify.judging.examine import examine  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # what the libraries say to each other
EXACT = 1e-6
OUTPUT = "sentence_embedding"
BERT = transformers.BertConfig(
    vocab_size=30,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=16,
    max_position_embeddings=32,
)
MORE = {
    "mean": lambda m: [m.Pooling(16, "mean")],
    "cls, normalised": lambda m: [m.Pooling(16, "cls"), m.Normalize()],
    "max and mean": lambda m: [m.Pooling(16, ("max", "mean"))],
    "projected": lambda m: [m.Pooling(16, "mean"), m.Dense(16, 8), m.Normalize()],
    "projected without bias": lambda m: [
        m.Pooling(16, "lasttoken"),
        m.Dense(16, 8, bias=False, activation_function=torch.nn.Identity()),
    ],
}


def sentence_base(folder, more, *, network=transformers.BertModel):
    """Save a sentence encoder by the library itself; gives it as the library runs it."""
    import sentence_transformers.sentence_transformer.modules as modules

    torch.manual_seed(0)
    plain = folder / "plain"
    network(BERT).save_pretrained(plain)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *map(chr, range(97, 122))]
    (plain / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast(str(plain / "vocab.txt")).save_pretrained(plain)
    made = library.SentenceTransformer(modules=[modules.Transformer(str(plain)), *more(modules)], device="cpu")
    made.save(str(folder / "base"), create_model_card=False)
    if network is not transformers.BertModel:  # the library saves the plain network's name
        config = json.loads((folder / "base" / "config.json").read_text())
        config["architectures"] = [network.__name__]
        (folder / "base" / "config.json").write_text(json.dumps(config))
    return made.eval()


def save_lora(network, config, folder):
    """Save a LoRA that was trained a little."""
    tuned = get_peft_model(network, config)
    with torch.no_grad():
        for weight in (v for n, v in tuned.named_parameters() if "lora_B" in n):
            weight.mul_(0.02)
    tuned.save_pretrained(folder)


def engine_of(base, cache_dir, effects=()):
    opened = open_base(base, Cache(cache_dir))
    return TorchEngine(opened, effects, suite=SMOKE, device=prepare_device("cpu", threads=1))


def embedded(made, inputs):
    with torch.no_grad():
        return made({name: value.clone() for name, value in inputs.items()})[OUTPUT].numpy()


@pytest.mark.parametrize("name", MORE)
def test_a_sentence_is_what_the_library_makes_of_it(name, tmp_path, cache_dir):
    made = sentence_base(tmp_path, MORE[name])
    engine = engine_of(tmp_path / "base", cache_dir)

    found = engine.outputs("base")

    assert "last_hidden_state" in found
    assert np.abs(found[OUTPUT] - embedded(made, engine._probe)).max() < EXACT


def test_padding_does_not_count(tmp_path, cache_dir):
    made = sentence_base(tmp_path, MORE["mean"])
    engine = engine_of(tmp_path / "base", cache_dir)
    ids = np.array([[2, 7, 8, 9, 3], [2, 7, 3, 0, 0]])
    given = {"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64)}

    found = engine.outputs_for("base", given)[OUTPUT]

    wanted = embedded(made, {n: torch.from_numpy(v) for n, v in given.items()})
    assert np.abs(found - wanted).max() < EXACT


@pytest.mark.parametrize("mode", sorted(MODES))
def test_every_mode_is_the_librarys(mode):
    from sentence_transformers.sentence_transformer.modules import Pooling

    torch.manual_seed(0)
    vectors = torch.randn(4, 6, 8)
    mask = torch.tensor([[1] * 6, [1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0]])

    found = pool(vectors, mask, modes=[mode])

    given = {"token_embeddings": vectors, "attention_mask": mask}
    assert (found - Pooling(8, mode)(given)[OUTPUT]).abs().max() < EXACT


def test_the_network_within_a_head_is_pooled(tmp_path, cache_dir):
    made = sentence_base(tmp_path, MORE["mean"], network=transformers.BertForMaskedLM)
    engine = engine_of(tmp_path / "base", cache_dir)

    found = engine.outputs("base")

    assert "logits" in found
    assert np.abs(found[OUTPUT] - embedded(made, engine._probe)).max() < EXACT


def test_modes_in_the_spelling_of_old_are_read(tmp_path, cache_dir):
    made = sentence_base(tmp_path, MORE["cls, normalised"])
    told = {"word_embedding_dimension": 16, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (tmp_path / "base" / "1_Pooling" / "config.json").write_text(json.dumps(told))
    engine = engine_of(tmp_path / "base", cache_dir)

    found = engine.outputs("base")[OUTPUT]

    assert np.abs(found - embedded(made, engine._probe)).max() < EXACT


def test_a_network_in_a_folder_of_its_own_is_found(tmp_path, cache_dir):
    made = sentence_base(tmp_path, MORE["mean"])
    base, inner = tmp_path / "base", tmp_path / "base" / "0_Transformer"
    inner.mkdir()
    for file in [p for p in base.iterdir() if p.is_file() and p.name != "modules.json"]:
        shutil.move(file, inner / file.name)
    listed = json.loads((base / "modules.json").read_text())
    listed[0]["path"] = "0_Transformer"
    (base / "modules.json").write_text(json.dumps(listed))

    with open_base(base, Cache(cache_dir)) as opened:
        assert opened.view.names.model_type == "bert"
    engine = engine_of(base, cache_dir)
    assert np.abs(engine.outputs("base")[OUTPUT] - embedded(made, engine._probe)).max() < EXACT


def test_a_step_that_is_not_known_leaves_the_networks_outputs(tmp_path, cache_dir):
    sentence_base(tmp_path, MORE["mean"])
    listed = json.loads((tmp_path / "base" / "modules.json").read_text())
    listed.append({"idx": 2, "name": "2", "path": "2_LSTM", "type": "evil.module.LSTM"})
    (tmp_path / "base" / "modules.json").write_text(json.dumps(listed))

    found = engine_of(tmp_path / "base", cache_dir).outputs("base")

    assert OUTPUT not in found
    assert "last_hidden_state" in found


def test_a_path_out_of_the_folder_is_not_followed(tmp_path, cache_dir):
    sentence_base(tmp_path, MORE["mean"])
    base = tmp_path / "base"
    shutil.move(base / "1_Pooling", tmp_path / "outside")
    listed = json.loads((base / "modules.json").read_text())
    listed[1]["path"] = "../outside"
    (base / "modules.json").write_text(json.dumps(listed))

    assert OUTPUT not in engine_of(base, cache_dir).outputs("base")


def test_smoke_passes_on_a_sentence_encoder(tmp_path, cache_dir):
    sentence_base(tmp_path, MORE["projected"])
    torch.manual_seed(1)
    network = transformers.BertModel.from_pretrained(tmp_path / "base")
    config = LoraConfig(r=2, target_modules=["query", "value"], init_lora_weights=False)
    save_lora(network, config, tmp_path / "delta")
    bench = Bench(tmp_path / "delta", tmp_path / "base", cache_dir)

    found = {r.name: (r.verdict, r.detail) for r in examine(bench.case())}

    assert {n: r for n, r in found.items() if r[0] not in {"pass", "n/a"}} == {}
    outputs = [bench.engine().outputs(state)[OUTPUT] for state in ("base", "attached")]
    assert np.abs(outputs[0] - outputs[1]).max() > EXACT


def test_smoke_passes_on_an_image_captioner(tmp_path, cache_dir):
    torch.manual_seed(0)
    vision = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=16, patch_size=8
    )
    writer = transformers.GPT2Config(
        n_embd=16,
        n_layer=1,
        n_head=2,
        n_positions=32,
        vocab_size=40,
        bos_token_id=1,
        eos_token_id=2,
        add_cross_attention=True,
        is_decoder=True,
    )
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(vision, writer)
    config.decoder_start_token_id, config.pad_token_id = 1, 0
    network = transformers.VisionEncoderDecoderModel(config)
    network.save_pretrained(tmp_path / "base")
    asked = LoraConfig(r=2, target_modules=["q_proj", "c_attn"], init_lora_weights=False)
    save_lora(network, asked, tmp_path / "delta")
    bench = Bench(tmp_path / "delta", tmp_path / "base", cache_dir)

    found = {r.name: (r.verdict, r.detail) for r in examine(bench.case())}

    assert {n: r for n, r in found.items() if r[0] not in {"pass", "n/a"}} == {}
