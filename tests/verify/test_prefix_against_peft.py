"""Prompts and prefixes on live networks give what the peft library gives, and leave no trace."""

import numpy as np
import pytest
import torch
import transformers

from deltareg.delta.kind import PrefixInsert
from deltareg_verify.engine.torch_engine.prefix import insert_prefixes
from tests import corpus
from tests.folders import open_base
from tests.verify import attached
from tests.verify.bench import Bench, sample_base
from tests.verify.many_networks import DECODERS, DOUBLE, GROUPED, IDS, PADDED, SMALL, N, logits, network

peft = pytest.importorskip("peft", reason="needs peft: pip install peft")

pytestmark = pytest.mark.filterwarnings("ignore")  # what the libraries say to each other
PEFT = {
    "prefix": lambda task: peft.PrefixTuningConfig(task_type=task, num_virtual_tokens=N),
    "projected": lambda task: peft.PrefixTuningConfig(
        task_type=task, num_virtual_tokens=N, prefix_projection=True, encoder_hidden_size=8
    ),
    "cartridge": lambda task: peft.CartridgeConfig(task_type=task, num_virtual_tokens=N),
    "prompt": lambda task: peft.PromptTuningConfig(task_type=task, num_virtual_tokens=N),
    "p-tuning": lambda task: peft.PromptEncoderConfig(task_type=task, num_virtual_tokens=N, encoder_hidden_size=8),
    "cpt": lambda task: peft.CPTConfig(
        task_type=task, cpt_token_ids=[3, 4, 5], cpt_mask=[1, 1, 1], cpt_tokens_type_mask=[1, 2, 3]
    ),
}


def tuned(made, kind, folder):
    """Give the library's network with random vectors, saved to a folder."""
    task = "SEQ_2_SEQ_LM" if made.config.is_encoder_decoder else "CAUSAL_LM"
    model = peft.get_peft_model(made, PEFT[kind](task)).eval()
    torch.manual_seed(1)
    for parameter in model.prompt_encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    model.save_pretrained(folder)
    return peft.PeftModel.from_pretrained(made, folder).eval()


def assert_equal_to_peft(made, kind, inputs, real, tmp_path):
    model = tuned(made, kind, tmp_path / "delta")
    wanted = logits(model, inputs)
    alone, before = logits(made, inputs), attached.state(made)
    inserts = attached.effects(tmp_path / "delta", attached.base_of(made, tmp_path / "base"))

    got = attached.run(made, inserts, inputs)

    tail = slice(-real.shape[1], None)
    assert got.logits.shape == wanted.shape
    assert np.max(np.abs(got.logits - wanted)[:, tail][real]) <= 1e-6
    assert np.max(np.abs(got.logits[:, tail] - alone)[real]) > 0.01
    assert sorted(set(got.used)) == sorted(i.module for i in inserts)
    assert attached.is_same(before, attached.state(made))
    assert np.array_equal(logits(made, inputs), alone)


@pytest.mark.parametrize("kind", ["prefix", "prompt"])
@pytest.mark.parametrize("decoder", DECODERS)
def test_a_decoder_gives_what_peft_gives(decoder, kind, tmp_path):
    made = network(*DECODERS[decoder])

    inputs = {"input_ids": IDS, "attention_mask": PADDED}

    assert_equal_to_peft(made, kind, inputs, PADDED.astype(bool), tmp_path)


@pytest.mark.parametrize("kind", ["projected", "cartridge", "p-tuning", "cpt"])
def test_every_kind_of_peft_prompt_learning_does(kind, tmp_path):
    made = network("llama", GROUPED)

    assert_equal_to_peft(made, kind, {"input_ids": IDS}, np.ones_like(IDS, bool), tmp_path)


@pytest.mark.parametrize("kind", ["prefix", "prompt"])
@pytest.mark.parametrize("double", DOUBLE)
def test_an_encoder_with_a_decoder_gives_what_peft_gives(double, kind, tmp_path):
    made = network(*DOUBLE[double])
    answers = IDS[:, ::2].copy()
    inputs = {"input_ids": IDS, "attention_mask": PADDED[:, ::-1].copy()}

    inputs["decoder_input_ids"] = answers

    assert_equal_to_peft(made, kind, inputs, np.ones_like(answers, bool), tmp_path)


@pytest.mark.parametrize(
    "name", ["tinyllama/prefix", "tinyllama/cartridge", "tinyllama/prompt", "tinyllama/ptuning", "tinygpt2/prompt"]
)
@pytest.mark.skipif(not corpus.has_corpus(), reason=corpus.MISSING)
def test_a_delta_of_the_corpus_gives_what_its_library_gave(name):
    delta = next(d for d in corpus.manifest()["deltas"] if d["id"] == name)
    folder = corpus.base_folder(delta["base"])
    made = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    inputs = attached.tensors(corpus.CORPUS / "probes/lm.safetensors")["input_ids"]
    inserts = attached.effects(corpus.CORPUS / delta["path"], corpus.base(delta["base"])[0])

    got = attached.run(made, inserts, {"input_ids": inputs})

    wanted = attached.tensors(corpus.CORPUS / delta["expected"])["logits_attached"]
    assert got.logits.shape == wanted.shape
    assert np.max(np.abs(got.logits - wanted)) <= 4e-6


def test_a_classifier_gets_its_prompt_and_its_head(tmp_path):
    torch.manual_seed(0)
    kind = transformers.BertForSequenceClassification
    kind(transformers.BertConfig(**{**SMALL, "num_labels": 3})).save_pretrained(tmp_path / "base")
    made, theirs = (kind.from_pretrained(tmp_path / "base").eval() for _ in range(2))
    settings = peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=N)
    model = peft.get_peft_model(theirs, settings).eval()
    torch.nn.init.normal_(model.prompt_encoder["default"].embedding.weight)
    model.save_pretrained(tmp_path / "delta")
    types = np.tile(np.arange(IDS.shape[1]) > 5, (2, 1)).astype(np.int64)
    inputs = {"input_ids": IDS, "attention_mask": PADDED, "token_type_ids": types}
    found = attached.effects(tmp_path / "delta", open_base(tmp_path / "base")[0])

    inserts = [effect for effect in found if isinstance(effect, PrefixInsert)]
    got = attached.run(made, inserts, inputs)

    assert len(found) == 3  # the prompt, and the head's weight and bias
    assert np.max(np.abs(got.logits - logits(model, inputs))) <= 1e-6


@pytest.mark.parametrize("decoder", ["gpt2", "llama", "mistral, a window"])
def test_generation_with_a_cache_is_that_of_the_librarys_forwards(decoder, tmp_path):
    made = network(*DECODERS[decoder])
    model = tuned(made, "prefix", tmp_path / "delta")
    ids = wanted = torch.from_numpy(IDS)
    for _ in range(6):  # peft's own generate() loses the positions of a prefix in this version
        best = logits(model, {"input_ids": wanted})[:, -1].argmax(-1)
        wanted = torch.cat([wanted, torch.from_numpy(best)[:, None]], dim=1)
    inserts = attached.effects(tmp_path / "delta", attached.base_of(made, tmp_path / "base"))
    asked = {"attention_mask": torch.ones_like(ids), "max_new_tokens": 6, "do_sample": False}

    with insert_prefixes(made, inserts, attached.OPS, attached.unheard):
        got = made.generate(input_ids=ids, eos_token_id=None, pad_token_id=0, **asked)

    assert torch.equal(got, wanted)


def test_texts_longer_than_what_a_prefix_leaves_are_cut_for_both_states(tmp_path, cache_dir):
    base, words = sample_base("tinygpt2"), " some words of a text that goes on" * 40
    torch.manual_seed(3)
    made = transformers.AutoModelForCausalLM.from_pretrained(base)
    form = peft.PrefixTuningConfig(num_virtual_tokens=6, task_type="CAUSAL_LM")
    model = peft.get_peft_model(made, form).eval()
    with torch.no_grad():
        for value in model.prompt_encoder.parameters():
            value.normal_()
    model.save_pretrained(tmp_path / "delta")

    engine = Bench(tmp_path / "delta", base, cache_dir).engine()
    found = {state: engine.losses(state, [words])[0] for state in ("base", "attached")}

    places = made.config.n_positions - 6
    ids = torch.tensor([transformers.AutoTokenizer.from_pretrained(base)(words)["input_ids"]])
    ids = ids[:, :places]
    with torch.no_grad():
        scores = model(input_ids=ids).logits[0, -places:-1]
    wanted = torch.nn.functional.cross_entropy(scores, ids[0, 1:], reduction="sum")
    assert found["base"][1] == found["attached"][1] == places - 1
    assert found["attached"][0] == pytest.approx(float(wanted), rel=1e-5)
