"""A worker finds out for people: how far two versions are apart, and what they answer.

A real child does it in the sandbox, and the libraries say what should have come.
"""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from safetensors.numpy import load_file

from deltareg.delta.compare import WeightDifference
from deltareg.errors import Blocked, NotFound
from deltareg.wire.findings import MODULES_MOST, DifferencesFound, ModuleDifference
from deltareg_verify.child.tensor_differences import describe_differences
from tests.fixtures.registries import SAMPLES

BASE, DELTAS = SAMPLES / "bases" / "tinyllama", SAMPLES / "deltas" / "tinyllama"
PROMPT = "Anna has a red\ncat and \u202eevil\u202c"
SECRET = "Anna has a red"


@pytest.fixture
def owner(local_registry):
    """Give who has `team/lora:v1` and `v2`, and `team/full:v1`, of one base."""

    def begin():
        client = local_registry.client()
        client.bases.push(BASE, "tinyllama")
        client.push(DELTAS / "lora", "team/lora", base="tinyllama")
        client.push(DELTAS / "lora_v2", "team/lora", base="tinyllama")
        client.push(DELTAS / "full", "team/full", base="tinyllama")

    local_registry.step("findings", begin)
    return local_registry.client()


def test_a_comparison_says_what_the_command_line_does(owner, find):
    run = find(owner.runs.compare("team/lora:v1", "team/lora:v2"))

    found = owner.runs.comparison("team/lora:v1", "team/lora:v2")
    ours = owner.diff("team/lora:v1", "team/lora:v2", top=10_000)
    assert (run.state, run.other, found.is_known, found.left_out) == ("done", "team/lora:v1", True, 0)
    assert [one.module for one in found.modules] == [one.module for one in ours.modules]
    for mine, theirs in zip(found.modules, ours.modules, strict=True):
        for field in ("relative_norm", "cosine", "norm_a", "overlap", "effective_rank_b"):
            assert getattr(mine, field) == pytest.approx(getattr(theirs, field), rel=1e-3), field
    again = owner.runs.compare("team/lora:v1", "team/lora:v2")
    assert again.id == run.id, "what is known is not computed again"
    assert owner.runs.compare("team/lora:v2", "team/lora:v1").id != run.id


def test_what_is_no_product_is_compared_on_the_bases_own_weights(owner, find):
    find(owner.runs.compare("team/lora:v1", "team/full:v1"))

    found = owner.runs.comparison("team/lora:v1", "team/full:v1")
    name = "model.layers.0.self_attn.q_proj"
    (one,) = (each for each in found.modules if each.module == f"{name}.weight")
    base, full = (weights_of(folder) for folder in (BASE, DELTAS / "full"))
    lora = load_file(DELTAS / "lora" / "adapter_model.safetensors")
    config = json.loads((DELTAS / "lora" / "adapter_config.json").read_text())
    factors = [lora[f"base_model.model.{name}.lora_{part}.weight"] for part in "BA"]
    a = factors[0].astype(np.float64) @ factors[1] * (config["lora_alpha"] / config["r"])
    b = full[f"{name}.weight"].astype(np.float64) - base[f"{name}.weight"]
    assert one.relative_norm == pytest.approx(np.linalg.norm(b - a) / np.linalg.norm(a), rel=1e-3)
    assert one.cosine == pytest.approx(np.sum(a * b) / (np.linalg.norm(a) * np.linalg.norm(b)), abs=1e-3)


def weights_of(folder):
    files = folder.glob("model*.safetensors")
    return {name: value for file in files for name, value in load_file(file).items()}


def test_thousands_of_experts_are_one_row_in_their_place():
    found = [
        WeightDifference(
            f"model.layers.{layer}.mlp.experts.{expert}.up.weight",
            1 / (1 + expert + layer / 100),
            0.5,
            1.0,
            float("inf"),
        )
        for expert in range(200)
        for layer in range(40)
    ]

    document = describe_differences(found)

    rows = [ModuleDifference.of(row) for row in document.modules]
    assert len(rows) == 40
    assert sum(row.count for row in rows) == len(found) == 8_000
    assert all(".experts.0." in row.module for row in rows)
    assert all(row.norm_b is None for row in rows)
    many = [WeightDifference(f"{n}-{'x' * 290}", 1.0, None, None, None) for n in range(6_000)]
    cut = describe_differences(many)
    assert len(cut.modules) <= MODULES_MOST
    assert len(cut.modules) + cut.left_out == 6_000
    assert DifferencesFound.model_validate_json(cut.model_dump_json()) == cut


@pytest.mark.filterwarnings("ignore")  # what the libraries say to each other
def test_answers_are_those_of_the_libraries(owner, find):
    torch, peft = pytest.importorskip("torch"), pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    run = owner.runs.ask(PROMPT, "team/lora:v1", "team/full:v1", tokens=8)

    ended = find(run)

    found = owner.runs.answers(run)
    load = transformers.AutoModelForCausalLM.from_pretrained
    tokenizer = transformers.AutoTokenizer.from_pretrained(BASE)
    ids = tokenizer(PROMPT, return_tensors="pt")["input_ids"]
    networks = {
        "base": load(BASE),
        "a": peft.PeftModel.from_pretrained(load(BASE), DELTAS / "lora"),
        "b": load(DELTAS / "full"),
    }
    assert ended.state == "done", ended.error
    assert found.names == {"base": "base", "a": "team/lora:v1", "b": "team/full:v1"}
    assert [each.side for each in found.answers] == ["base", "a", "b"]
    for each in found.answers:
        with torch.no_grad():
            made = networks[each.side].generate(input_ids=ids, do_sample=False, max_new_tokens=8)[0, ids.shape[1] :]
        assert each.tokens == len([token for token in made if token != tokenizer.eos_token_id])
        assert each.text == clean(tokenizer.decode(made[: each.tokens]))
    assert found.prompt == PROMPT
    lines = [line.text for line in owner.runs.log(run.id).items]
    assert not any(SECRET in line for line in lines)


def clean(text):
    return re.sub("[\0-\x08\x0b-\x1f\x7f-\x9f]", "\ufffd", text)


def test_a_seed_draws_the_same_again_and_greed_another_thing(owner, find):
    asked = {"tokens": 12, "seed": 7}
    first = owner.runs.ask("one", "team/lora:v2", **asked)
    find(first)
    second = owner.runs.ask("one", "team/lora:v2", **asked)
    find(second)
    greedy = owner.runs.ask("one", "team/lora:v2", tokens=12)
    find(greedy)

    one, two, plain = ([each.text for each in owner.runs.answers(run).answers] for run in (first, second, greedy))
    assert one == two
    assert one != plain


def test_nobody_else_reads_what_was_asked_and_nothing_is_told_of_what_is_gone(local_registry, owner, find):
    run = owner.runs.ask(f"{SECRET} 1", "team/lora:v1")
    other = local_registry.client(principal="bob")
    trail = local_registry.http(local_registry.admin_token).get("/audit", params={"limit": 200})

    assert SECRET not in trail.text
    assert '"answer"' in trail.text
    assert other.runs.show(run.id).what == "answer"
    with pytest.raises(NotFound, match="no answers of run"):
        other.runs.answers(run)
    compared = owner.runs.compare("team/lora:v1", "team/lora:v2")
    admin = local_registry.client(("read", "push", "admin"), principal="root2")
    admin.versions.delete("team/lora:v1")
    ended = [find(each) for each in (run, compared)]
    assert {each.state for each in ended} <= {"queued", "dead"}
    with pytest.raises(Blocked):
        owner.runs.comparison("team/lora:v1", "team/lora:v2")
    with pytest.raises(Blocked):
        owner.runs.answers(run)


def test_the_command_line_waits_for_what_a_worker_finds(user, owner, find, local_registry):
    compared = owner.runs.compare("team/lora:v1", "team/lora:v2")
    find(compared)

    here = user("diff", "team/lora:v1", "team/lora:v2", "--json")
    there = user("diff", "team/lora:v1", "team/lora:v2", "--on", "worker", "--json")
    with ThreadPoolExecutor() as pool:
        carried = pool.submit(find)
        asked = user("ask", "team/lora:v1", "team/lora", "Hello \u202e", "--tokens", "3", "--json")
        carried.result(120)
    refused = user("ask", "team/lora:v1", "team/lora:v2", "team/full", "Hello")

    ours, theirs = (json.loads(each.out)["modules"] for each in (here, there))
    assert [one["module"] for one in ours] == [one["module"] for one in theirs]
    assert ours[0]["cosine"] == pytest.approx(theirs[0]["cosine"], rel=1e-3)
    found = json.loads(asked.out)
    assert asked.status == 0, asked.err
    assert [each["name"] for each in found["answers"]] == ["base", "team/lora:v1", "team/lora:v2"]
    assert "\u202e" not in asked.out
    assert (refused.status, "3 versions are asked" in refused.err) == (2, True)
