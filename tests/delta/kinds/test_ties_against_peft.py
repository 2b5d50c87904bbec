"""Folded folders load again as the class that their config names, and answer like peft attached.

Ties that only the class knows of: of several names, of biases, of types without a file of names,
of networks that are put together from two.
"""

import pytest

from deltareg.client.cache.cache import Cache
from deltareg.client.fold.fold_folder import fold_folder
from deltareg.client.folders.base_folder import open_base
from deltareg.client.folders.folder import open_folder
from tests.delta.kinds import peft_oracle
from tests.delta.kinds.peft_oracle import QV, loaded, quiet, saved, torch

CASES: dict = {
    "bart's head": (peft_oracle.bart, {"target_modules": QV, "modules_to_save": ["lm_head"]}),
    "pegasus' head": (peft_oracle.pegasus, {"target_modules": QV, "modules_to_save": ["lm_head"]}),
    "pegasus' head, adapted": (peft_oracle.pegasus, {"target_modules": [*QV, "lm_head"]}),
    "bert's embeddings": (peft_oracle.bert_mlm, {"target_modules": ["query", "word_embeddings"]}),
    "deberta's embeddings": (
        peft_oracle.deberta_mlm,
        {"target_modules": ["query_proj"], "modules_to_save": ["word_embeddings"]},
    ),
    "mamba2's embeddings": (peft_oracle.mamba2, {"target_modules": ["embeddings", "in_proj"]}),
    "llama's embeddings and head": (
        peft_oracle.llama_tied,
        {"target_modules": QV, "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
    ),
    "bert and gpt2": (peft_oracle.bert_gpt2, {"target_modules": ["query", "value", "c_proj"]}),
    "vit and gpt2": (peft_oracle.vit_gpt2, {"target_modules": ["q_proj", "v_proj", "c_attn"]}),
    "square experts of gpt-oss": (
        peft_oracle.gpt_oss,
        {"target_modules": QV, "target_parameters": ["experts.down_proj"]},
    ),
}


@pytest.fixture(autouse=True)
def silence():
    with quiet():
        yield


@pytest.mark.parametrize("case", CASES)
def test_a_folded_folder_answers_like_the_library(tmp_path, case):
    make, options = CASES[case]
    network = make()
    config = peft_oracle.peft.LoraConfig(r=2, lora_alpha=4, **options)
    saved(tmp_path, network, config)
    inputs = {"input_ids": torch.arange(8)[None]}
    if network.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = inputs["input_ids"].flip(1)
    if network.main_input_name == "pixel_values":
        inputs["pixel_values"] = torch.randn(1, 3, 8, 8)
        del inputs["input_ids"]
    with torch.no_grad():
        want = loaded(tmp_path, network)(**inputs).logits

    with open_base(tmp_path / "base", Cache(tmp_path / "cache")) as base, open_folder(tmp_path / "delta") as delta:
        fold_folder(base, delta, tmp_path / "out")

    plain, told = type(network).from_pretrained(tmp_path / "out", output_loading_info=True)
    with torch.no_grad():
        got = plain.eval()(**inputs).logits
    assert (set(told["missing_keys"]), set(told["unexpected_keys"])) == (set(), set())
    assert float((got - want).abs().max()) < 1e-5


@pytest.mark.parametrize(
    ("cls", "found"), [("BertForMaskedLM", {"ambiguous"}), ("BertForSequenceClassification", set())]
)
def test_rows_of_tokens_are_ambiguous_where_their_head_has_a_bias(tmp_path, cls, found):
    base = peft_oracle.bert_mlm()
    base.save_pretrained(tmp_path / "base")
    network = getattr(peft_oracle.transformers, cls).from_pretrained(tmp_path / "base")
    task = "SEQ_CLS" if not found else None
    config = peft_oracle.peft.LoraConfig(
        r=2, target_modules=["query"], task_type=task, trainable_token_indices={"word_embeddings": [1, 5]}
    )
    peft_oracle.peft.get_peft_model(network, config).save_pretrained(tmp_path / "delta")

    assert peft_oracle.codes(tmp_path) == found
