"""Prompts and prefixes on live networks do what they say, and leave no trace."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers

from deltareg.delta.kind import PrefixInsert
from deltareg.errors import Inconclusive
from deltareg_verify.engine.torch_engine.ops import as_array
from deltareg_verify.engine.torch_engine.prefix import insert_prefixes
from tests import tiny
from tests.verify import attached
from tests.verify.bench import Bench, sample_base
from tests.verify.many_networks import DECODERS, GPT, GROUPED, IDS, PADDED, SMALL, N, logits, network


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
    pairs = [(layer.keys[0].transpose(0, 1), layer.values[0].transpose(0, 1)) for layer in cache.layers]
    return [PrefixInsert("attention", path.format(layer), count, Pair(*pair), {}) for layer, pair in enumerate(pairs)]


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

    with insert_prefixes(made, [insert], attached.OPS, attached.unheard), torch.no_grad():
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
        with insert_prefixes(made, [insert], attached.OPS, attached.unheard), torch.no_grad():
            return made(input_ids=ids, **more).last_hidden_state

    moved = run(replace(still, shift=N))

    assert torch.equal(moved, run(still, position_ids=torch.from_numpy(wanted)))
    assert not torch.equal(moved, run(still))


def test_a_cache_of_tokens_read_without_the_prefix_is_told():
    made, ids = network("gpt2", GPT), torch.from_numpy(IDS)
    inserts = prefix_of_tokens(made, "transformer.h.{}.attn", 4, ids)
    before = made(input_ids=ids[:, :6], use_cache=True).past_key_values

    with (
        insert_prefixes(made, inserts, attached.OPS, attached.unheard),
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
    with insert_prefixes(made, parts[:2], attached.OPS, attached.unheard):
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
        with insert_prefixes(made, inserts, attached.OPS, attached.unheard), torch.no_grad():
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
        insert_prefixes(
            made, [PrefixInsert("attention", path, 0, Pair(keys, values), {})], attached.OPS, attached.unheard
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
        insert_prefixes(made, inserts, attached.OPS, attached.unheard),
    ):
        pass

    assert attached.is_same(before, attached.state(made))


def test_keys_of_other_heads_are_told():
    made, (keys, values) = bert_pair()
    pair = Pair(keys[:, :2], values[:, :2])
    insert = PrefixInsert("attention", "encoder.layer.0.attention.self", 0, pair, {})

    with pytest.raises(Inconclusive, match="heads"), insert_prefixes(made, [insert], attached.OPS, attached.unheard):
        made(input_ids=torch.from_numpy(IDS))


@pytest.fixture
def engine(tmp_path, cache_dir):
    """Bring a sample base together with a prompt, as a worker does."""
    settings = {
        "num_attention_heads": 4,
        "num_layers": 2,
        "num_transformer_submodules": 1,
        "num_virtual_tokens": N,
        "peft_type": "PROMPT_TUNING",
        "task_type": "CAUSAL_LM",
        "token_dim": 40,
    }
    vectors = np.random.default_rng(2).standard_normal((N, 40)).astype(np.float32)
    folder = tmp_path / "delta"
    tiny.write(folder, {"prompt_embeddings": vectors}, adapter_config=settings)
    return Bench(folder, sample_base("tinyllama"), cache_dir).engine()


def test_a_probe_of_ones_own_shows_a_prompts_rows_and_the_checks_do_not(engine):
    ids = {"input_ids": IDS}

    shown, seen = engine.outputs_for("attached", ids)["logits"], engine.outputs("attached")

    assert shown.shape[1] == IDS.shape[1] + N
    assert seen["logits"].shape == engine.outputs("base")["logits"].shape


def test_a_prompt_generates_and_has_a_perplexity(engine):
    texts = ["The value of the expression is returned."]

    generated = engine.generate(3)
    base, attached_ = (engine.losses(state, texts)[:, 0].sum() for state in ("base", "attached"))

    assert generated.shape[1] == 3
    assert np.isfinite([base, attached_]).all()
    assert base != attached_
