"""Deltas of the rarer kinds of peft, attached to a live model: the library's own logits."""

from typing import Any

import pytest

from deltareg.client.cache.cache import Cache
from deltareg.client.folders.base_folder import open_base
from deltareg_verify.engine.torch_engine.attach import attach, open_delta
from tests.delta.kinds import peft_oracle as oracle
from tests.delta.kinds.peft_oracle import QV, gpt2, llama, llama_biased, mistral, peft, torch

PROMPT = {"target_modules": None, "adapter_len": 3, "task_type": "CAUSAL_LM"}
CASES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "adaption prompt": (llama, peft.AdaptionPromptConfig, PROMPT | {"adapter_layers": 2}),
    "adaption prompt on biases": (llama_biased, peft.AdaptionPromptConfig, PROMPT | {"adapter_layers": 1}),
    "adaption prompt on GPT-2": (gpt2, peft.AdaptionPromptConfig, PROMPT | {"adapter_layers": 2}),
    "adaption prompt on Mistral": (mistral, peft.AdaptionPromptConfig, PROMPT | {"adapter_layers": 1}),
    "beft": (llama, peft.BeftConfig, {}),
    "beft on biases": (llama_biased, peft.BeftConfig, {}),
    "deft": (llama, peft.DeftConfig, {"r": 3, "decomposition_method": "qr"}),
    "frod": (llama, peft.FrodConfig, {"progressbar": False}),
    "lily": (llama, peft.LilyConfig, {"r": 3, "num_B": 3, "scaling": 0.5, "stride_A": 2}),
    "oft": (llama_biased, peft.OFTConfig, {"oft_block_size": 4}),
    "road": (llama_biased, peft.RoadConfig, {"variant": "road_4", "group_size": 4}),
}


@pytest.mark.parametrize("case", CASES)
def test_an_attached_delta_answers_as_with_the_library(tmp_path, cache_dir, case):
    make, config, options = CASES[case]
    ids = torch.arange(12).reshape(2, 6)
    with oracle.quiet(), torch.no_grad():
        network = make()
        oracle.saved(tmp_path, network, config(**{"target_modules": QV, **options}))
        want = oracle.loaded(tmp_path, network)(input_ids=ids).logits
        plain = type(network).from_pretrained(tmp_path / "base").eval()
    base = open_base(tmp_path / "base", Cache(cache_dir))

    with torch.no_grad(), attach(plain, [open_delta(tmp_path / "delta", base)]) as attached:
        got = plain(input_ids=ids).logits
        silent = attached.silent({"input_ids": ids})

    assert torch.max(torch.abs(got - want)) < 1e-5
    assert silent == []
