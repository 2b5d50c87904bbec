"""The process behind `deltareg diff --mode behavior`: it computes what transformers and peft do."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file

from deltareg.client.report_files.behavior_facts import BehaviorComparison
from deltareg.client.report_files.behavior_html import to_html
from deltareg.errors import InvalidInput, NotFound
from deltareg.suites.estimate import of_difference
from deltareg.suites.suite import read_suite
from deltareg_verify.entry import main
from deltareg_verify.judging.inputs import gather_inputs
from deltareg_verify.workbench.behavior import BehaviorRequest, BehaviorSide, run
from tests.verify.bench import SAMPLES, sample_base

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
TEXTS = ["def main(argv):", "The value is returned", "import os and sys"]
DELTAS = SAMPLES / "deltas" / "tinyllama"
SUITE = b"""
name: words
about: Texts that stand in the suite.
seed: 7
sets:
  texts: {text: ["def main(argv):", "The value is returned", "import os and sys"]}
checks:
  - digests
  - check: perplexity
    name: general
    probes: texts
"""


@pytest.fixture
def asked(tmp_path, cache_dir):
    """Ask for two LoRAs on one base."""
    (tmp_path / "prompts.txt").write_text("\n".join(TEXTS))
    base = sample_base("tinyllama")
    return BehaviorRequest(
        BehaviorSide(base, DELTAS / "lora"),
        BehaviorSide(base, DELTAS / "lora_v2"),
        cache_dir,
        prompts=tmp_path / "prompts.txt",
        device="cpu",
        tokens=6,
    )


def answer(asked):
    """Give the document as it is written."""
    return json.loads(json.dumps(run(asked)))


def direct(delta, text, *, tokens):
    """Give log-probabilities, ids and a greedy continuation, as the libraries have them."""
    peft = pytest.importorskip("peft", reason="needs peft: pip install peft")
    transformers = pytest.importorskip("transformers")
    base = sample_base("tinyllama")
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = peft.PeftModel.from_pretrained(model, DELTAS / delta).eval()
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0].double()
        written = ids
        for _ in range(tokens):
            following = model(input_ids=written).logits[:, -1].argmax(-1, keepdim=True)
            written = torch.cat([written, following], 1)
    return logits, ids[0], tokenizer.decode(written[0, ids.shape[1] :])


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft asks transformers in an old way
def test_numbers_are_those_of_the_libraries(asked):
    found = answer(asked)

    losses: dict[str, list[float]] = {"lora": [], "lora_v2": []}
    for row in sorted(found["prompts"], key=lambda row: row["number"]):
        sides = {name: direct(name, row["text"], tokens=6) for name in losses}
        (a, ids, ours), (b, _, theirs) = sides.values()
        p, q = a.log_softmax(-1), b.log_softmax(-1)
        kl = float((p.exp() * (p - q)).sum(-1).mean())
        for name, logs in (("lora", p), ("lora_v2", q)):
            losses[name].append(-float(logs[:-1].gather(1, ids[1:, None]).sum()))
        assert row["places"] == len(ids)
        assert row["kl"] == pytest.approx(kl, rel=1e-3)
        assert row["agreement"] == float((a.argmax(-1) == b.argmax(-1)).double().mean())
        assert row["mean_abs"] == pytest.approx(float((a - b).abs().mean()), rel=1e-3)
        assert (row["continued"]["a"], row["continued"]["b"]) == (ours, theirs)
    sizes = np.array([r["places"] - 1 for r in sorted(found["prompts"], key=lambda r: r["number"])])
    change = of_difference(np.array(losses["lora_v2"]), np.array(losses["lora"]), sizes.astype(float), seed=0)
    measured = found["measures"][0]
    assert measured["a"]["value"] == pytest.approx(math.exp(sum(losses["lora"]) / sizes.sum()), rel=1e-4)
    assert measured["change"]["value"] == pytest.approx(math.exp(change.value), rel=1e-4)
    assert found["is_different"]
    assert [row["kl"] for row in found["prompts"]] == sorted((row["kl"] for row in found["prompts"]), reverse=True)


def test_a_version_does_what_it_does(asked):
    found = answer(replace(asked, b=asked.a))

    assert not found["is_different"]
    assert (found["kl"]["value"], found["agreement"]["value"]) == (0, 1)
    assert found["measures"][0]["change"] == {"value": 1, "low": 1, "high": 1, "n": 3}
    assert {row["continued"]["parts_at_token"] for row in found["prompts"]} == {None}


@pytest.mark.parametrize("source", ["prompts", "probe"])
def test_every_sample_is_told_however_few_are_shown_and_a_page_reads_it(asked, source):
    wanted = replace(asked, top=1, prompts=asked.prompts if source == "prompts" else None)
    found = answer(wanted)

    read = BehaviorComparison.model_validate({**found, "a": "a", "b": "b"})

    assert (read.source, len(read.prompts), len(read.by_sample)) == (source, 1, read.samples)
    assert read.prompts[0].kl == max(sample.kl or 0 for sample in read.by_sample)
    assert "Divergence by sample" in to_html(read, now=datetime.now(UTC))


def test_the_base_alone_is_a_side(asked):
    found = answer(replace(asked, a=BehaviorSide(asked.a.base)))

    assert found["is_different"]
    assert found["kl"]["value"] > answer(asked)["kl"]["value"]


def test_probe_sets_of_a_suite_and_their_checks_are_compared(asked, tmp_path):
    (tmp_path / "suite.json").write_bytes(read_suite(SUITE).document)
    (tmp_path / "probes").mkdir()
    by_suite = answer(replace(asked, prompts=None, suite=tmp_path / "suite.json", probes=tmp_path / "probes"))
    by_prompts = answer(asked)

    assert (by_suite["source"], by_suite["samples"]) == ("suite", 3)
    assert by_suite["measures"][0]["name"] == "general"
    assert by_suite["measures"][0]["a"]["value"] == by_prompts["measures"][0]["a"]["value"]
    assert by_suite["kl"]["value"] == by_prompts["kl"]["value"]


def test_labelled_prompts_without_scores_of_classes_have_no_accuracy(asked, tmp_path):
    lines = [{"prompt": TEXTS[0], "label": 0}, {"text": TEXTS[1], "label": 1}]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, lines)))

    found = answer(replace(asked, prompts=tmp_path / "in.jsonl"))

    assert [(m["measure"], m["a"] is None) for m in found["measures"]] == [("perplexity", False), ("accuracy", True)]
    assert {row["text"] for row in found["prompts"]} == set(TEXTS[:2])


def test_without_prompts_a_seeded_probe_is_the_input(asked):
    found = answer(replace(asked, prompts=None))

    assert (found["source"], found["measures"]) == ("probe", [])
    assert found["is_different"]
    assert {row["continued"] for row in found["prompts"]} == {None}


def test_inputs_of_ones_own_need_no_text(asked, tmp_path):
    save_file({"input_ids": np.arange(24, dtype=np.int64).reshape(3, 8)}, tmp_path / "in.safetensors")

    found = answer(replace(asked, prompts=tmp_path / "in.safetensors", top=2))

    assert (found["samples"], len(found["prompts"])) == (3, 2)
    assert {row["places"] for row in found["prompts"]} == {8}


def test_different_bases_are_both_loaded(asked):
    other = BehaviorSide(sample_base("tinyllama_other"))

    found = answer(replace(asked, b=other))

    assert not found["same_base"]
    assert found["is_different"]
    with pytest.raises(InvalidInput, match="no seeded probe in common"):
        run(replace(asked, b=other, prompts=None))


def test_prompts_that_leave_no_room_are_continued_from_their_end(asked, tmp_path):
    asked.prompts.write_text("word " * 3000)

    found = answer(replace(asked, top=1))

    assert found["prompts"][0]["continued"]["a"]
    assert len(found["prompts"][0]["text"]) == 2000


def test_the_process_says_one_document_or_what_is_wrong(asked, tmp_path):
    good = CliRunner().invoke(main, ["behavior", asked.encode().decode()])
    bad = CliRunner().invoke(main, ["behavior", replace(asked, prompts=tmp_path / "x.txt").encode().decode()])

    assert good.exit_code == 0, good.output
    assert json.loads(good.stdout)["same_base"]
    assert (bad.exit_code, json.loads(bad.stdout)["error"]["code"]) == (1, "not_found")


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("gone.txt", None, NotFound),
        ("prompts.csv", b"a,b", InvalidInput),
        ("empty.txt", b"\n\n", InvalidInput),
        ("latin.txt", b"\xff\xfe\x00", InvalidInput),
        ("no.jsonl", b"{}", InvalidInput),
    ],
)
def test_files_that_hold_no_prompts_are_refused(asked, tmp_path, name, content, error):
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(error):
        run(replace(asked, prompts=tmp_path / name))


def test_a_task_of_lm_eval_is_nothing_that_outputs_are_compared_on(tmp_path):
    texts = SUITE.replace(b"sets:\n", b"sets:\n  asked: {file: asked.yaml}\n")

    inputs = gather_inputs(read_suite(texts), tmp_path, None)

    assert list(inputs.sets) == ["texts"]
