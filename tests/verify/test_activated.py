"""An activated LoRA on a live network: the library's own logits, also in decoding with a cache."""

import inspect
from typing import Any, cast

import pytest

from deltareg.client.cache.cache import Cache
from deltareg.client.folders.base_folder import open_base
from deltareg.delta.kind import ActivationHook, WeightUpdate
from deltareg.delta.maths.updates import RowReplacement
from deltareg_verify.engine.torch_engine.attach import attach, open_delta
from deltareg_verify.engine.torch_engine.invocations import with_invocations
from deltareg_verify.engine.torch_engine.prompts import cache_of
from deltareg_verify.judging.examine import examine
from deltareg_verify.judging.verdict import judge
from tests.delta.kinds import peft_oracle as oracle
from tests.delta.kinds.peft_oracle import QV, gpt2, llama, peft, torch
from tests.verify.bench import SMOKE, Bench

PHRASE = [5, 6]
ROWS = {
    "one in each": [[1, 5, 6, 2, 3, 4], [5, 6, 1, 2, 3, 4], [1, 2, 3, 4, 5, 6]],
    "several": [[5, 6, 1, 5, 6, 2], [5, 6, 5, 6, 5, 6]],
    "none, broken and whole": [[1, 2, 3, 4, 7, 8], [1, 5, 9, 6, 2, 5], [1, 2, 5, 6, 7, 8]],
    "in none": [[1, 2, 3, 4], [6, 5, 9, 2]],
    "shorter than the phrase": [[5], [6]],
}
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "queries and values": (llama, {"target_modules": QV}),
    "every linear layer": (llama, {"target_modules": "all-linear", "use_rslora": True}),
    "Conv1D": (gpt2, {"target_modules": ["c_attn", "c_fc"]}),
    "a head saved whole": (llama, {"target_modules": QV, "modules_to_save": ["lm_head"]}),
    "a tied head": (gpt2, {"target_modules": ["lm_head", "c_attn"]}),
}


class Attachable:
    """A base and an activated LoRA of it: by the library, and as a plain network with its base."""

    def __init__(self, folder, cache, make=llama, **options):
        told = {"target_modules": QV, "r": 2, "task_type": "CAUSAL_LM", **options}
        config = peft.LoraConfig(**told, alora_invocation_tokens=PHRASE)
        with oracle.quiet():
            network = make()
            oracle.saved(folder, network, config, size=0.5)
            self.library = oracle.loaded(folder, network)
            self.plain = type(network).from_pretrained(folder / "base").eval()
        self.base = open_base(folder / "base", Cache(cache))
        self.delta = open_delta(folder / "delta", self.base)

    def attached(self):
        return attach(self.plain, [self.delta])


def named(network, cache):
    """Give a cache under the name by which this release of the library takes it."""
    takes = inspect.signature(network.forward).parameters
    return {"cache" if "cache" in takes else "past_key_values": cache}


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("case", CASES)
def test_logits_are_the_librarys(tmp_path, cache_dir, case, rows):
    made = Attachable(tmp_path, cache_dir, CASES[case][0], **CASES[case][1])
    ids = torch.tensor(ROWS[rows])

    with torch.no_grad():
        want, without = made.library(input_ids=ids).logits, made.plain(input_ids=ids).logits
        with made.attached():
            got = made.plain(input_ids=ids).logits
        after = made.plain(input_ids=ids).logits

    assert torch.max(torch.abs(got - want)) < 1e-4  # logits of up to 50
    assert torch.equal(after, without)
    if rows == "in none" and "modules_to_save" not in CASES[case][1]:
        assert torch.equal(got, without)
    elif rows == "one in each":
        assert torch.max(torch.abs(got - without)) > 1e-3


def test_what_stands_before_the_phrase_is_the_bases_bit_for_bit(tmp_path, cache_dir):
    made = Attachable(tmp_path, cache_dir)
    ids = torch.tensor([[1, 2, 3, 5, 6, 7]])

    with torch.no_grad():
        without = made.plain(input_ids=ids).logits
        with made.attached():
            got = made.plain(input_ids=ids).logits

    assert torch.equal(got[:, :3], without[:, :3])
    assert torch.all(torch.amax(torch.abs(got - without)[:, 3:], dim=-1) > 1e-4)


@pytest.mark.parametrize("prompt", [[[1, 5, 6, 2]], [[1, 2, 3, 4]], [[1, 5, 6, 2], [1, 2, 3, 4]]])
def test_it_writes_on_as_the_library_does(tmp_path, cache_dir, prompt):
    made = Attachable(tmp_path, cache_dir)
    ids = torch.tensor(prompt)
    how = {
        "max_new_tokens": 8,
        "do_sample": False,
        "eos_token_id": None,
        "pad_token_id": 0,
        "attention_mask": torch.ones_like(ids),
        "output_logits": True,
        "return_dict_in_generate": True,
    }

    with torch.no_grad(), oracle.quiet():
        want = made.library.generate(input_ids=ids, **how)
        with made.attached():
            got = made.plain.generate(input_ids=ids, **how)

    assert torch.equal(got.sequences, want.sequences)
    pairs = zip(got.logits, want.logits, strict=True)
    assert max(float(torch.max(torch.abs(a - b))) for a, b in pairs) < 1e-4


def test_a_cache_that_the_network_made_itself_goes_on_with_its_prompt(tmp_path, cache_dir):
    made = Attachable(tmp_path, cache_dir)
    ids = torch.tensor([[1, 5, 6, 2, 9]])

    with torch.no_grad(), made.attached():
        whole = made.plain(input_ids=ids).logits[:, -1]
        cache = cache_of(made.plain(input_ids=ids[:, :4], use_cache=True).get)
        last = made.plain(input_ids=ids[:, 4:], use_cache=True, **named(made.plain, cache)).logits

    assert torch.max(torch.abs(last[:, -1] - whole)) < 1e-4


def test_a_cache_of_the_base_goes_on_with_the_delta_from_the_phrase_on(tmp_path, cache_dir):
    made = Attachable(tmp_path, cache_dir)
    ids = torch.tensor([[1, 2, 3, 5, 6, 7]])

    with torch.no_grad():
        begun = cache_of(made.plain(input_ids=ids[:, :3], use_cache=True).get)
        with made.attached():
            whole = made.plain(input_ids=ids).logits[:, 3:]
            rest = made.plain(input_ids=ids[:, 3:], use_cache=True, **named(made.plain, begun))

    assert torch.max(torch.abs(rest.logits - whole)) < 1e-4


def test_a_network_that_is_given_embeddings_alone_stays_the_base(tmp_path, cache_dir):
    made = Attachable(tmp_path, cache_dir)
    given = made.plain.get_input_embeddings()(torch.tensor([[1, 5, 6, 2]])).detach()

    with torch.no_grad():
        without = made.plain(inputs_embeds=given).logits
        with made.attached():
            assert torch.equal(made.plain(inputs_embeds=given).logits, without)


def test_a_probe_has_the_phrase_in_every_other_row():
    def hook(*phrase):
        return ActivationHook("m", "after", {}, {}, None, phrase)  # type: ignore[arg-type]  # never applied

    ids = torch.arange(100, 124).reshape(4, 6)
    made = with_invocations({"input_ids": ids}, [hook(5, 6), hook(7, 8, 9), hook(5, 6), hook()])

    assert made["input_ids"].tolist() == [
        [100, 101, 5, 6, 104, 105],
        ids[1].tolist(),
        [112, 7, 8, 9, 116, 117],
        ids[3].tolist(),
    ]
    assert ids[0, 2] == 102
    assert with_invocations({"input_ids": ids}, [hook()])["input_ids"] is ids
    assert with_invocations({"pixel_values": ids}, [hook(5)]).keys() == {"pixel_values"}
    assert with_invocations({"input_ids": ids}, [hook(*range(7))])["input_ids"].equal(ids)


def test_tokens_that_a_delta_brings_stand_in_the_rows_between():
    ids = torch.arange(100, 124).reshape(4, 6)
    effect = WeightUpdate("embed.weight", RowReplacement((7, 104, 900, 5000), cast(Any, None)), {})

    made = with_invocations({"input_ids": ids}, [effect], known=1000)["input_ids"]

    assert made.tolist() == [
        ids[0].tolist(),
        [106, 107, 108, 7, 900, 111],
        ids[2].tolist(),
        [118, 119, 120, 7, 900, 123],
    ]
    assert with_invocations({"input_ids": ids}, [effect])["input_ids"] is ids


def test_new_tokens_alone_are_seen_to_act(tmp_path, cache_dir):
    config = peft.TrainableTokensConfig(target_modules=["embed_tokens"], token_indices=[30, 31], task_type="CAUSAL_LM")
    with oracle.quiet():
        oracle.saved(tmp_path, llama(), config, size=0.5)

    engine = Bench(tmp_path / "delta", tmp_path / "base", cache_dir).engine()

    assert abs(engine.outputs("attached")["logits"] - engine.outputs("base")["logits"])[1].max() > 1e-3


@pytest.mark.parametrize(("size", "want"), [(0.5, "pass"), (0.0, "fail")])
def test_the_verdict_is_that_it_acts_where_it_is_invoked(tmp_path, cache_dir, size, want):
    config = peft.LoraConfig(target_modules=QV, r=2, task_type="CAUSAL_LM", alora_invocation_tokens=PHRASE)
    with oracle.quiet():
        oracle.saved(tmp_path, llama(), config, size=size)

    bench = Bench(tmp_path / "delta", tmp_path / "base", cache_dir)

    results = list(examine(bench.case()))

    assert judge(SMOKE, results) == want, results


def test_two_versions_are_compared_on_one_probe(tmp_path, cache_dir):
    with oracle.quiet():
        told = {"target_modules": QV, "r": 2, "task_type": "CAUSAL_LM"}
        config = peft.LoraConfig(**told, alora_invocation_tokens=PHRASE)
        oracle.saved(tmp_path, llama(), config, size=0.5)
    bench = Bench(tmp_path / "delta", tmp_path / "base", cache_dir)
    plain = bench.engine(())

    other = plain.beside(bench.assessment.account.effects)

    before, after = plain.outputs("base")["logits"], other.outputs("base")["logits"]
    assert (before == after).all()
    assert abs(other.outputs("attached")["logits"] - after).max() > 1e-3
