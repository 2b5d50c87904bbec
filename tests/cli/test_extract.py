"""`deltareg extract`: what people see of it, what scripts read, and which mistakes end how."""

import json

import pytest

from tests.cli.steps import BASES, DELTAS, done, push_base


@pytest.fixture
def tuned(user):
    """Give a user with me/tuned:v1, a full fine-tune."""
    push_base(user)
    user.step("tuned", lambda: done(user, "push", DELTAS / "full", "me/tuned", "--base", "tinyllama"))
    return user


def test_a_version_becomes_a_lora_that_is_pushed_and_verified_like_any_other(tuned, tmp_path):
    made = done(tuned, "extract", "me/tuned", "--out", tmp_path / "lora", "--energy", "0.95")
    pushed = done(tuned, "push", tmp_path / "lora", "me/small", "--base", "tinyllama")

    config = json.loads((tmp_path / "lora" / "adapter_config.json").read_text())
    assert (made["source"], made["base"]) == ("me/tuned:v1", "tinyllama")
    assert config["base_model_name_or_path"] == "tinyllama"
    assert 0 < made["relative_error"] <= 0.05**0.5 + 1e-6
    assert made["relative_error"] < made["total_error"]
    assert {row["why"] for row in made["left_out"]} == {"vector", "embedding"}
    assert pushed["kind"] == "lora"


def test_people_are_told_the_error_and_what_is_left_out(tuned, tmp_path):
    told = tuned("extract", "me/tuned", "--out", tmp_path / "lora").out
    kept = tuned("extract", "me/tuned", "--out", tmp_path / "kept", "--keep").out

    first, second, *_ = told.splitlines()
    assert first == f"{tmp_path / 'lora'}  LoRA, ranks 2 to 24, 15 modules"
    assert second.startswith("error ")
    assert "5 vectors, 1 embedding: 0.0462 of the squared change" in told
    assert "model.embed_tokens.weight" in told
    assert "left out" not in kept.lower()
    assert "missing" not in kept
    assert "5 vectors, 1 embedding" in kept


def test_quiet_gives_the_folder_alone(tuned, tmp_path):
    assert tuned("extract", "me/tuned", "--out", tmp_path / "lora", "-q").out.split() == [str(tmp_path / "lora")]


def test_what_means_nothing_is_refused(tuned, tmp_path):
    out = ("--out", tmp_path / "lora")
    lines = {
        (DELTAS / "full", *out): (2, "no base is named"),
        ("me/tuned", *out, "--energy", "0"): (2, "energy 0.0"),
        ("me/tuned", *out, "--rank", "0"): (2, "rank 0"),
        ("me/tuned", *out, "--base", "tinyllama"): (2, "leave --base out"),
        ("me/none", *out): (3, "me/none"),
        (tmp_path / "nowhere", *out, "--base", BASES / "tinyllama"): (3, "there is nothing at"),
    }

    ended = {line: tuned("extract", *line) for line in lines}

    for line, (status, words) in lines.items():
        assert (ended[line].status, words in ended[line].err) == (status, True), ended[line].err
    assert not (tmp_path / "lora").exists()
