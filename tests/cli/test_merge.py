"""`deltareg merge`: forecast, merge, record, and what is refused with which status."""

import json

import pytest

from deltareg.delta.merge.methods import all_methods
from deltareg_cli.commands.deltas.merge import METHODS
from tests.cli.steps import DELTAS, push_base


@pytest.fixture
def merger(user):
    """Give a user with me/chat:v1 (a LoRA) and me/code:v1 (a rank-stabilised one)."""
    push_base(user)
    for words in (("lora", "me/chat"), ("lora_rslora", "me/code")):
        user.step(words, lambda words=words: push_to(user, *words))
    return user


def push_to(user, delta, line):
    assert user("push", DELTAS / delta, line, "--base", "tinyllama").status == 0


def test_the_command_knows_every_method():
    assert list(METHODS) == sorted(all_methods())


def test_a_merge_is_a_version_with_parents_and_a_recipe(merger, tmp_path):
    line = ("merge", "me/chat=0.7", "me/code:v1=0.3", "--as", "me/both", "--json")

    made, again = merger(*line).json, merger(*line).json
    merger("pull", "me/both:v1", "--to", tmp_path / "both")
    recipe = json.loads((tmp_path / "both" / "merge.json").read_text())

    assert (made["ref"], made["kind"], made["created"]) == ("me/both:v1", "full_subset", True)
    assert (again["ref"], again["created"]) == ("me/both:v1", False)
    assert recipe["method"] == "linear"
    assert [(p["ref"], p["weight"]) for p in recipe["parents"]] == [("me/chat:v1", 0.7), ("me/code:v1", 0.3)]
    assert made["digest"] not in recipe["parents"][0]["digest"]


def test_lineage_says_what_was_merged(merger):
    merger("merge", "me/chat=0.7", "me/code=0.3", "--as", "me/both")

    up = merger("lineage", "me/both").out
    down = merger("lineage", "me/chat", "--down").out

    assert up.count("merged from") == 2
    assert "me/chat:v1" in up
    assert "me/code:v1" in up
    assert "me/both:v1" in down


def test_a_plan_forecasts_and_pushes_nothing(merger):
    planned = merger("merge", "me/chat=0.7", "me/code=0.3", "--plan", "--json")

    pair = planned.json["pairs"][0]
    assert planned.status == 0
    assert planned.json["can_merge"]
    assert not planned.json["bases_differ"]
    assert 0 < pair["sign_agreement"] < 1
    assert {row["module"] for row in planned.json["modules"]} >= {"model.layers.0.self_attn.q_proj.weight"}
    assert "nothing was pushed" in merger("merge", "me/chat=1", "me/code=1", "--plan").out
    assert merger("ls", "me", "-q").out.splitlines() == ["me/chat", "me/code"]


def test_versions_of_other_bases_are_not_merged(merger):
    push_base(merger, "tinyllama_bf16")
    merger("push", DELTAS.parent / "tinyllama_bf16" / "lora", "me/half", "--base", "tinyllama_bf16")
    line = ("merge", "me/chat=0.5", "me/half=0.5")

    planned = merger(*line, "--plan", "--json")
    merged = merger(*line, "--as", "me/both")

    assert (planned.status, planned.json["bases_differ"]) == (7, True)
    assert merged.status == 7
    assert "tinyllama_bf16" in merged.err


def test_svd_states_what_it_loses(merger):
    base = ("merge", "me/chat=1", "me/code=1", "--method", "svd", "--as", "me/small")

    without = merger(*base)
    made = merger(*base, "--rank", "4", "--json").json

    assert (without.status, "--rank" in without.err) == (2, True)
    assert (made["kind"], 0 < made["relative_error"] < 1) == ("lora", True)
    assert len(made["modules"]) == 14


def test_what_means_nothing_is_refused(merger):
    lines = [
        ("me/chat", "--as", "me/x"),
        ("me/chat=much", "--as", "me/x"),
        ("me/chat=1",),
        ("me/chat=1", "--density", "0.5", "--as", "me/x"),
        ("me/chat=1", "--method", "ties", "--density", "2", "--as", "me/x"),
        ("me/chat=1", "me/code=1", "--method", "cat", "--as", "other/x"),
        ("me/chat=nan", "--as", "me/x"),
        ("me/chat=1", "--method", "sce", "--as", "me/x"),
        ("me/chat=1", "me/code=2", "--method", "model_stock", "--as", "me/x"),
        ("me/chat=1", "me/code=1", "--method", "della", "--epsilon", "0.6", "--as", "me/x"),
    ]

    ended = {line: merger("merge", *line).status for line in lines}

    assert set(ended.values()) == {2}, ended


def test_verify_waits_for_the_verdict(merger, local_registry):
    line = ("merge", "me/chat=0.7", "me/code=0.3", "--as", "me/both", "--verify", "--json")

    early = merger(*line, "--wait-timeout", "1s")
    local_registry.verified("me/both:v1")
    late = merger(*line)

    assert early.status == 124
    assert (late.status, late.json["verdict"]) == (0, "pass")
