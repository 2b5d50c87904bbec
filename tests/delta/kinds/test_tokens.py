"""Trainable tokens: rows of an embedding, with the tied head that goes along or does not."""

import warnings

import numpy as np
import pytest

from deltareg.errors import Refused
from tests import tiny
from tests.delta.kinds.assessing import assessed

CONFIG = {
    "peft_type": "TRAINABLE_TOKENS",
    "peft_version": "0.21.2",
    "task_type": "CAUSAL_LM",
    "target_modules": ["embed_tokens"],
    "init_weights": True,
    "token_indices": [3, 19, 0],
}
EMBEDDING = "model.embed_tokens.weight"
ROWS = f"{tiny.PREFIX}model.embed_tokens.trainable_tokens_delta"


@pytest.fixture
def base(tmp_path):
    return tiny.base(tmp_path / "base")


def written(tmp_path, rows=None, *, name=ROWS, **config):
    rows = np.full((3, tiny.WIDTH), 2.0, np.float32) if rows is None else rows
    tiny.write(tmp_path / "delta", {name: rows}, adapter_config={**CONFIG, **config})
    return assessed(tmp_path / "delta", tmp_path / "base")


def test_the_named_rows_are_replaced_in_their_order(tmp_path, base):
    rows = np.arange(3 * tiny.WIDTH, dtype=np.float32).reshape(3, tiny.WIDTH)

    found = written(tmp_path, rows)

    want = base.weights[EMBEDDING].copy()
    want[[3, 19, 0]] = rows
    assert found.kind == "tokens"
    assert found.account.delta.config()["token_indices"] == [3, 19, 0]
    assert set(found.folded()) == {EMBEDDING}
    assert np.array_equal(found.folded()[EMBEDDING], want)


@pytest.mark.parametrize(
    ("options", "codes"),
    [
        ({"token_indices": [3, 20, 0]}, ["shape"]),
        ({"token_indices": [3, 0]}, ["shape"]),
        ({"rows": np.ones((3, 5), np.float32)}, ["shape"]),
        ({"rows": np.ones((3, tiny.WIDTH), np.int32)}, ["shape"]),
        ({"name": ROWS.replace("embed_tokens", "wte")}, ["no_tensor_applied"]),
        ({"name": f"{ROWS}.weight"}, ["unexpected_tensors", "no_tensor_applied"]),
        ({"rows": np.full((3, tiny.WIDTH), np.inf, np.float32)}, ["non_finite"]),
    ],
)
def test_rows_that_are_not_the_bases_are_refused(tmp_path, base, options, codes):
    assert set(written(tmp_path, **options).codes) & set(codes)


@pytest.mark.parametrize("indices", [None, [], [1, 1, 2], [1, -2, 3], [1, True, 2], "0-3", [0.5]])
def test_row_numbers_must_be_distinct_whole_numbers(tmp_path, base, indices):
    with pytest.raises(Refused) as caught:
        written(tmp_path, token_indices=indices)

    assert caught.value.problem_code == "bad_config"
    assert "token_indices" in caught.value.message


def test_a_tied_head_that_files_store_again_goes_along(tmp_path):
    base = tiny.base(tmp_path / "base", kind="gpt2")
    weights = {**base.weights, "lm_head.weight": base.weights["transformer.wte.weight"]}
    tiny.write(tmp_path / "base", weights, file="model.safetensors")

    found = written(tmp_path, name=f"{tiny.PREFIX}transformer.wte.trainable_tokens_delta", target_modules=["wte"])

    folded = found.folded()
    assert set(folded) == {"lm_head.weight", "transformer.wte.weight"}
    assert np.array_equal(*folded.values())


def llama(transformers, *, tied):
    config = transformers.LlamaConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        vocab_size=32,
        num_key_value_heads=1,
        tie_word_embeddings=tied,
    )
    return transformers.LlamaForCausalLM(config)


@pytest.mark.parametrize(
    ("targets", "tied"),
    [
        (["embed_tokens"], True),
        (["embed_tokens"], False),
        (["lm_head"], True),
        (["lm_head"], False),
        (["embed_tokens", "lm_head"], False),  # tied, the library itself cannot run it
    ],
)
def test_a_fold_answers_like_the_attached_network(tmp_path, targets, tied):
    torch = pytest.importorskip("torch", reason="needs torch")
    peft = pytest.importorskip("peft", reason="needs peft")
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    torch.manual_seed(0)
    network = llama(transformers, tied=tied)
    network.save_pretrained(tmp_path / "base")
    tokens = torch.tensor([[1, 5, 7, 30]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = peft.TrainableTokensConfig(target_modules=targets, token_indices=[5, 7, 31])
        model = peft.get_peft_model(network, config)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter))
        model.save_pretrained(tmp_path / "delta")
        want = model.eval()(input_ids=tokens).logits.detach()

    found = assessed(tmp_path / "delta", tmp_path / "base")

    plain = llama(transformers, tied=tied and not found.folding().config_changes({}))
    state = {name: torch.tensor(value) for name, value in weights_of(found).items()}
    plain.load_state_dict(state, strict=False)
    assert torch.allclose(plain.eval()(input_ids=tokens).logits, want, atol=1e-6)


def grown(tmp_path, *, tied):
    """Add two tokens, train them, and give the network with what it answers."""
    torch = pytest.importorskip("torch", reason="needs torch")
    peft = pytest.importorskip("peft", reason="needs peft")
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    torch.manual_seed(0)
    network = llama(transformers, tied=tied)
    network.save_pretrained(tmp_path / "base")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network.resize_token_embeddings(34)
        config = peft.TrainableTokensConfig(target_modules=["embed_tokens"], token_indices=[5, 32, 33])
        model = peft.get_peft_model(network, config)
        # The library looks at the base's folder to see that the vocabulary has grown.
        model.peft_config["default"].base_model_name_or_path = str(tmp_path / "base")
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter))
        model.save_pretrained(tmp_path / "delta")
        tokens = torch.tensor([[1, 5, 32, 33]])
        want = model.eval()(input_ids=tokens).logits.detach()
    return transformers, torch, tokens, want


def test_rows_of_new_tokens_come_with_their_vocabulary(tmp_path):
    transformers, torch, tokens, want = grown(tmp_path, tied=True)

    found = assessed(tmp_path / "delta", tmp_path / "base")

    changes = found.folding().config_changes(found.base.config)
    assert changes["vocab_size"] == 34
    plain = llama(transformers, tied=changes.get("tie_word_embeddings", True))
    plain.resize_token_embeddings(34)
    state = {name: torch.tensor(value) for name, value in weights_of(found).items()}
    plain.load_state_dict(state, strict=False)
    assert torch.allclose(plain.eval()(input_ids=tokens).logits, want, atol=1e-6)


def test_a_head_of_its_own_without_its_new_rows_is_refused(tmp_path):
    grown(tmp_path, tied=False)

    assert assessed(tmp_path / "delta", tmp_path / "base").codes == ["not_self_contained"]


def weights_of(found):
    own = {name: np.frombuffer(t.read(), np.float32).reshape(t.shape) for name, t in found.weights.items()}
    return {**own, **found.folded()}
