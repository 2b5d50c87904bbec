"""How far versions are apart on somebody's samples, held against what transformers computes."""

import json
import math
from typing import cast

import numpy as np
import pytest

from deltareg_verify.engine.engine import DeltaEngine
from deltareg_verify.judging.caching_engine import Answers, remembering
from deltareg_verify.workbench.backtest import BacktestVersion
from deltareg_verify.workbench.pilot import PilotRequest, run
from tests.small_networks import quiet
from tests.verify.bench import SAMPLES

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
peft = pytest.importorskip("peft", reason="needs peft: pip install 'deltareg[libraries]'")
transformers = pytest.importorskip("transformers", reason="needs transformers")

BASE, DELTAS = SAMPLES / "bases" / "tinyllama", SAMPLES / "deltas" / "tinyllama"
SAID = " and that is what it is"
ASKED = [f"what is the number {n} for" for n in range(24)]
TEXTS = [f"some text with the number {n} in it" for n in range(6)]


def losses(delta):
    """Sum the loss of all texts by transformers and peft; gives it with the number of tokens."""
    with quiet():
        tokenizer = transformers.AutoTokenizer.from_pretrained(BASE)
        network = transformers.AutoModelForCausalLM.from_pretrained(BASE)
        if delta is not None:
            network = peft.PeftModel.from_pretrained(network, DELTAS / delta)
    total, tokens = 0.0, 0
    for text in TEXTS:
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.no_grad():
            total += float(network(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1)
        tokens += ids.shape[1] - 1
    return total / tokens


def wanted(folder, *deltas):
    (folder / "in.jsonl").write_text("".join(json.dumps({"text": one}) + "\n" for one in TEXTS))
    versions = tuple(BacktestVersion(f"me/chat:v{n}", DELTAS / one) for n, one in enumerate(deltas, 1))
    return PilotRequest(
        BASE,
        folder / "cache",
        folder,
        versions,
        sets={"in_domain": ["perplexity", "in.jsonl"]},
        device="cpu",
        threads=1,
    )


def measured(pilot):
    return run(pilot)


def test_changes_are_those_that_peft_gives(tmp_path):
    found = measured(wanted(tmp_path, "lora", "lora_v2"))

    base, first, second = (losses(one) for one in (None, "lora", "lora_v2"))
    told = {(one["a"], one["b"]): one["change"] for one in cast("list[dict]", found["items"])}
    assert told == {
        ("base", "me/chat:v1"): pytest.approx(first - base, abs=1e-4),
        ("base", "me/chat:v2"): pytest.approx(second - base, abs=1e-4),
        ("me/chat:v1", "me/chat:v2"): pytest.approx(second - first, abs=1e-4),
    }
    assert all(one["spread"] > 0 and one["n"] == len(TEXTS) for one in found["items"])
    assert not found["is_cut"]


def answer_losses(delta):
    """Give the loss of all answers after their prompts by transformers and peft, per token."""
    with quiet():
        tokenizer = transformers.AutoTokenizer.from_pretrained(BASE)
        network = transformers.AutoModelForCausalLM.from_pretrained(BASE)
        if delta is not None:
            network = peft.PeftModel.from_pretrained(network, DELTAS / delta)
    total, tokens = 0.0, 0
    for text in ASKED:
        before, whole = (tokenizer(one)["input_ids"] for one in (text, text + SAID))
        labels = torch.tensor([[-100] * len(before) + whole[len(before) :]])
        with torch.no_grad():
            loss = float(network(input_ids=torch.tensor([whole]), labels=labels).loss)
        total, tokens = total + loss * (len(whole) - len(before)), tokens + len(whole) - len(before)
    return total / tokens


def test_answers_are_scored_after_what_was_asked_as_peft_does(tmp_path):
    lines = [json.dumps({"text": one, "target": SAID}) + "\n" for one in ASKED]
    (tmp_path / "in.jsonl").write_text("".join(lines))
    versions = tuple(BacktestVersion(f"me/chat:v{n}", DELTAS / one) for n, one in enumerate(("lora", "lora_v2"), 1))
    sets = {"in_domain": ["target_perplexity", "in.jsonl"]}

    found = run(PilotRequest(BASE, tmp_path / "cache", tmp_path, versions, sets=sets, device="cpu", threads=1))

    base, first, second = (answer_losses(one) for one in (None, "lora", "lora_v2"))
    told = {(one["a"], one["b"]): one["change"] for one in cast("list[dict]", found["items"])}
    assert told == {
        ("base", "me/chat:v1"): pytest.approx(first - base, abs=1e-4),
        ("base", "me/chat:v2"): pytest.approx(second - base, abs=1e-4),
        ("me/chat:v1", "me/chat:v2"): pytest.approx(second - first, abs=1e-4),
    }


class Counting:
    """An engine that counts what it is asked to score."""

    def __init__(self):
        self.asked = []

    def log_likelihoods(self, state, pairs):
        self.asked += [(state, pair) for pair in pairs]
        return np.array([[-float(len(after)), 0.0] for _, after in pairs])

    def write(self, state, inputs, count):
        self.asked.append((state, inputs["input_ids"].tolist(), count))
        return inputs["input_ids"].tolist()


def test_a_pair_is_scored_once_in_whatever_company_it_comes():
    engine, pairs = Counting(), [([1], [2, 3]), ([1, 2], [3]), ([4], [5, 6, 7])]
    kept, other = (remembering(cast(DeltaEngine, engine), {}, is_fixed=one) for one in (True, False))

    whole = kept.log_likelihoods("attached", pairs)
    again = kept.log_likelihoods("attached", pairs[1:])

    assert np.array_equal(whole[:, 0], [-2, -1, -3])
    assert np.array_equal(again, whole[1:])
    assert len(engine.asked) == 3
    other.log_likelihoods("attached", pairs)
    other.log_likelihoods("attached", pairs[::-1])
    assert len(engine.asked) == 6
    assert kept.log_likelihoods("base", []).shape == (0, 2)


def test_what_a_base_wrote_is_not_written_again():
    engine, rows = Counting(), {"input_ids": np.array([[1, 2], [3, 4]])}
    answers: Answers = {}
    first, second = (remembering(cast(DeltaEngine, engine), answers) for _ in range(2))

    assert first.write("base", rows, 5) == second.write("base", rows, 5) == [[1, 2], [3, 4]]
    assert len(engine.asked) == 1
    first.write("base", rows, 6)
    first.write("attached", rows, 5)
    first.write("attached", rows, 5)  # of a delta that others follow, nothing is kept
    assert len(engine.asked) == 4


def test_a_version_that_is_alone_is_held_against_itself_with_noise(tmp_path):
    found = measured(wanted(tmp_path, "lora"))

    beside = [one for one in found["items"] if one["a"] != "base"]
    assert {(one["a"], one["b"]) for one in beside} >= {("me/chat:v1 with noise", "me/chat:v1")}
    assert all(0 < abs(one["change"]) < 0.5 and math.isfinite(one["spread"]) for one in beside)
