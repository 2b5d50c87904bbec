"""Prompts and prefixes on live networks give what the libraries give, and leave no trace."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from deltareg.errors import Inconclusive
from deltareg.kind import PrefixInsert
from deltareg_verify.torch_engine.ops import as_array
from deltareg_verify.torch_engine.prefix import inserted
from tests import corpus
from tests.folders import open_base
from tests.verify import attached

peft = pytest.importorskip("peft", reason="needs peft: pip install peft")

pytestmark = pytest.mark.filterwarnings("ignore")  # what the libraries say to each other
N = 5
Settings = dict[str, Any]
IDS = np.random.default_rng(3).integers(3, 64, (2, 12))
PADDED = np.ones_like(IDS)
PADDED[0, :3] = 0
SMALL: Settings = {
    "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 64, "max_position_embeddings": 64, "pad_token_id": 0,
}  # fmt: skip
GROUPED: Settings = {**SMALL, "num_key_value_heads": 2, "head_dim": 8}
GPT: Settings = {"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
T5: Settings = {
    "vocab_size": 64,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_heads": 4,
    "pad_token_id": 0,
}
BART: Settings = {
    "vocab_size": 64, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2,
    "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64, "max_position_embeddings": 64,
}  # fmt: skip
DECODERS: dict[str, tuple[str, Settings, str]] = {
    "gpt2": ("gpt2", GPT, "sdpa"),
    "llama": ("llama", GROUPED, "sdpa"),
    "llama, plain attention": ("llama", GROUPED, "eager"),
    "opt, which counts the mask": (
        "opt", {**SMALL, "ffn_dim": 64, "word_embed_proj_dim": 32}, "sdpa",
    ),
    "mistral, a window": ("mistral", {**GROUPED, "sliding_window": 6}, "sdpa"),
    "gemma2, a window and caps": ("gemma2", {**GROUPED, "sliding_window": 6}, "eager"),
    "gpt_oss, sinks": (
        "gpt_oss", {**GROUPED, "sliding_window": 6, "num_local_experts": 4}, "eager",
    ),
    "falcon, an attention of its own": ("falcon", {**SMALL, "multi_query": False}, "sdpa"),
    "bloom, slopes": ("bloom", {"vocab_size": 64, "hidden_size": 32, "n_layer": 2, "n_head": 4},
                      "eager"),
}  # fmt: skip
DOUBLE: dict[str, tuple[str, Settings]] = {
    "t5, two layers": ("t5", {**T5, "num_layers": 2, "decoder_start_token_id": 0}),
    "t5, three layers": ("t5", {**T5, "num_layers": 3, "decoder_start_token_id": 0}),
    "umt5, a bias in each layer": ("umt5", {**T5, "num_layers": 2}),
    "bart": ("bart", BART),
}
PEFT = {
    "prefix": lambda task: peft.PrefixTuningConfig(task_type=task, num_virtual_tokens=N),
    "projected": lambda task: peft.PrefixTuningConfig(
        task_type=task, num_virtual_tokens=N, prefix_projection=True, encoder_hidden_size=8
    ),
    "cartridge": lambda task: peft.CartridgeConfig(task_type=task, num_virtual_tokens=N),
    "prompt": lambda task: peft.PromptTuningConfig(task_type=task, num_virtual_tokens=N),
    "p-tuning": lambda task: peft.PromptEncoderConfig(
        task_type=task, num_virtual_tokens=N, encoder_hidden_size=8
    ),
    "cpt": lambda task: peft.CPTConfig(
        task_type=task, cpt_token_ids=[3, 4, 5], cpt_mask=[1, 1, 1],
        cpt_tokens_type_mask=[1, 2, 3],
    ),
}  # fmt: skip


def unheard(_insert):
    """Hear that a prefix was used, and do nothing."""


def network(model_type, options, implementation="sdpa"):
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(model_type, **options)
    auto: Any = transformers.AutoModelForCausalLM
    auto = transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else auto
    made = auto.from_config(config, attn_implementation=implementation).eval()
    for parameter in made.requires_grad_(False).parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    return made


def tuned(made, kind, folder):
    """Give the library's network with random vectors, saved to a folder."""
    task = "SEQ_2_SEQ_LM" if made.config.is_encoder_decoder else "CAUSAL_LM"
    model = peft.get_peft_model(made, PEFT[kind](task)).eval()
    torch.manual_seed(1)
    for parameter in model.prompt_encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    model.save_pretrained(folder)
    return peft.PeftModel.from_pretrained(made, folder).eval()


def logits(model, inputs):
    with torch.no_grad():
        return model(**{k: torch.as_tensor(v) for k, v in inputs.items()}).logits.numpy()


def assert_equal_to_peft(made, kind, inputs, real, tmp_path):
    model = tuned(made, kind, tmp_path / "delta")
    wanted = logits(model, inputs)
    alone, before = logits(made, inputs), attached.state(made)
    inserts = attached.effects(tmp_path / "delta", attached.base_of(made, tmp_path / "base"))

    got = attached.run(made, inserts, inputs)

    assert got.logits.shape == wanted.shape
    assert np.max(np.abs(got.logits - wanted)[:, -real.shape[1] :][real]) <= 1e-6
    assert (
        np.max(np.abs(got.logits - alone)[:, -real.shape[1] :][real]) > 0.01
        if got.logits.shape == alone.shape
        else True
    )
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
    "name",
    ["tinyllama/prefix", "tinyllama/cartridge", "tinyllama/prompt", "tinyllama/ptuning",
     "tinygpt2/prompt"],
)  # fmt: skip
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


class Pair:
    """Keys and values that are given, or rows alone."""

    def __init__(self, *arrays):
        self.arrays = arrays

    def make(self, ops):
        return tuple(as_array(array) for array in self.arrays)


def prefix_of_tokens(made, path, count, ids):
    """Make prefixes of what a decoder's own cache holds after some tokens."""
    with torch.no_grad():
        cache = made(input_ids=ids[:1, :count], use_cache=True).past_key_values
    pairs = [(layer.keys[0].transpose(0, 1), layer.values[0].transpose(0, 1))
             for layer in cache.layers]  # fmt: skip
    return [
        PrefixInsert("attention", path.format(layer), count, Pair(*pair), {})
        for layer, pair in enumerate(pairs)
    ]


@pytest.mark.parametrize(
    ("decoder", "path"), [("gpt2", "transformer.h.{}.attn"), ("llama", "model.layers.{}.self_attn")]
)
def test_a_prefix_of_real_tokens_stands_for_them(decoder, path):
    made, ids = network(*DECODERS[decoder]), torch.from_numpy(IDS)[:1]

    got = attached.run(made, prefix_of_tokens(made, path, 4, ids), {"input_ids": ids[:, 4:]})

    assert np.max(np.abs(got.logits - logits(made, {"input_ids": ids})[:, 4:])) <= 1e-5


def bert_pair():
    torch.manual_seed(0)
    made = transformers.BertModel(transformers.BertConfig(**SMALL)).eval().requires_grad_(False)
    return made, [torch.randn(N, 4, 8) for _ in range(2)]


def test_an_encoder_sees_the_prefix_from_every_token():
    made, (keys, values) = bert_pair()
    insert = PrefixInsert("attention", "encoder.layer.1.attention.self", 0, Pair(keys, values), {})
    own = made.encoder.layer[1].attention.self
    seen: dict[str, torch.Tensor] = {}
    handles = [own.register_forward_hook(lambda _, args, out: seen.update(x=args[0], y=out[0]))]

    with inserted(made, [insert], attached.OPS, unheard), torch.no_grad():
        made(input_ids=torch.from_numpy(IDS), attention_mask=torch.from_numpy(PADDED))

    def heads(projection):
        return projection(seen["x"]).unflatten(-1, (4, 8)).transpose(1, 2)

    def joined(prefix, projection):
        before = prefix.transpose(0, 1).expand(2, -1, -1, -1)
        return torch.cat([before, heads(projection)], dim=2)

    mask = torch.cat([torch.ones(2, N), torch.from_numpy(PADDED)], dim=1)[:, None, None] > 0
    scores = heads(own.query) @ joined(keys, own.key).transpose(2, 3) / 8**0.5
    weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
    wanted = (weights @ joined(values, own.value)).transpose(1, 2).flatten(2)
    assert torch.allclose(seen["y"], wanted, atol=1e-5)
    handles[0].remove()


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        (transformers.BertModel, np.tile(np.arange(12) + N, (2, 1))),
        # RoBERTa counts what is no padding, from the padding's own number on.
        (transformers.RobertaModel, np.cumsum(PADDED, 1) * PADDED + N * PADDED),
    ],
)
def test_the_tokens_of_an_encoder_move_by_the_prefixs_length(kind, wanted):
    torch.manual_seed(0)
    made = kind(kind.config_class(**SMALL)).eval().requires_grad_(False)
    _, (keys, values) = bert_pair()
    still = PrefixInsert("attention", "encoder.layer.0.attention.self", 0, Pair(keys, values), {})
    ids = torch.from_numpy(np.where(PADDED, IDS, 0))

    def run(insert, **more):
        with inserted(made, [insert], attached.OPS, unheard), torch.no_grad():
            return made(input_ids=ids, **more).last_hidden_state

    moved = run(replace(still, shift=N))

    assert torch.equal(moved, run(still, position_ids=torch.from_numpy(wanted)))
    assert not torch.equal(moved, run(still))


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

    with inserted(made, inserts, attached.OPS, unheard):
        got = made.generate(input_ids=ids, eos_token_id=None, pad_token_id=0, **asked)

    assert torch.equal(got, wanted)


def test_a_cache_of_tokens_read_without_the_prefix_is_told():
    made, ids = network("gpt2", GPT), torch.from_numpy(IDS)
    inserts = prefix_of_tokens(made, "transformer.h.{}.attn", 4, ids)
    before = made(input_ids=ids[:, :6], use_cache=True).past_key_values

    with (
        inserted(made, inserts, attached.OPS, unheard),
        pytest.raises(Inconclusive, match="without the prefix"),
    ):
        made(input_ids=ids[:, 6:], past_key_values=before)


def test_two_prefixes_of_a_decoder_are_one_longer_prefix():
    made, ids = network("llama", GROUPED), torch.from_numpy(IDS)[:1]
    inserts = prefix_of_tokens(made, "model.layers.{}.self_attn", 4, ids)
    parts = [
        replace(i, shift=2, vectors=Pair(*(array[s] for array in i.vectors.arrays)))
        for s in (slice(2), slice(2, 4))
        for i in inserts
    ]
    rest = {"input_ids": ids[:, 4:]}

    together = attached.run(made, parts, rest).logits
    with inserted(made, parts[:2], attached.OPS, unheard):
        nested = attached.run(made, parts[2:], rest).logits

    wanted = attached.run(made, inserts, rest).logits
    assert np.array_equal(together, wanted)
    assert np.array_equal(nested, wanted)


def test_two_prefixes_on_one_attention_are_one_longer_prefix():
    made, (keys, values) = bert_pair()
    whole = PrefixInsert("attention", "encoder.layer.0.attention.self", 0, Pair(keys, values), {})
    parts = [replace(whole, vectors=Pair(keys[s], values[s])) for s in (slice(2), slice(2, N))]
    inputs = torch.from_numpy(IDS)

    def run(inserts):
        with inserted(made, inserts, attached.OPS, unheard), torch.no_grad():
            return made(input_ids=inputs).last_hidden_state

    assert torch.equal(run([whole]), run(parts))


def test_two_prompts_stand_in_their_order():
    made = network("gpt2", GPT)
    rows = torch.randn(N, 32)
    parts = [PrefixInsert("tokens", "", 0, Pair(rows[s]), {}) for s in (slice(2), slice(2, N))]

    got = attached.run(made, parts, {"input_ids": IDS})

    whole = [PrefixInsert("tokens", "", 0, Pair(rows), {})]
    assert np.array_equal(got.logits, attached.run(made, whole, {"input_ids": IDS}).logits)


def test_networks_detach_in_any_order():
    made, (keys, values) = bert_pair()
    before = attached.state(made)
    paths = ["encoder.layer.0.attention.self", "encoder.layer.1.attention.self"]
    first, second = (
        inserted(
            made,
            [PrefixInsert("attention", path, 0, Pair(keys, values), {})],
            attached.OPS,
            unheard,
        )
        for path in paths
    )

    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)

    assert attached.is_same(before, attached.state(made))


def test_a_prefix_that_fails_midway_leaves_no_trace():
    made, (keys, values) = bert_pair()
    before = attached.state(made)
    paths = ["encoder.layer.0.attention.self", "encoder.layer.7.attention.self"]
    inserts = [PrefixInsert("attention", path, 0, Pair(keys, values), {}) for path in paths]

    with (
        pytest.raises(Inconclusive, match=r"has no encoder\.layer\.7"),
        inserted(made, inserts, attached.OPS, unheard),
    ):
        pass

    assert attached.is_same(before, attached.state(made))


def test_keys_of_other_heads_are_told():
    made, (keys, values) = bert_pair()
    pair = Pair(keys[:, :2], values[:, :2])
    insert = PrefixInsert("attention", "encoder.layer.0.attention.self", 0, pair, {})

    with (
        pytest.raises(Inconclusive, match="heads"),
        inserted(made, [insert], attached.OPS, unheard),
    ):
        made(input_ids=torch.from_numpy(IDS))
