"""A version as a base on the command line: what it says, and its exit statuses."""

import pytest

from tests.cli.steps import DELTAS, push_base


@pytest.fixture
def tuned(user):
    """Give a user whose line me/sft has a full fine-tune."""
    push_base(user)
    assert user("push", DELTAS / "full", "me/sft", "--base", "tinyllama").status == 0
    return user


def stack(user, base="me/sft:v1"):
    return user("push", DELTAS / "lora", "me/chat", "--base", base)


def test_a_push_onto_a_version_says_that_it_is_a_base_now(tuned):
    first, again = stack(tuned), stack(tuned)

    assert first.status == again.status == 0
    assert "me/sft:v1 is a base from now on" in first.err
    assert "from now on" not in again.err
    assert "lora on me/sft:v1" in first.out


def test_the_stack_is_shown_both_ways(tuned):
    stack(tuned)

    shown = tuned("show", "me/chat:v1", "-v").out
    up = tuned("lineage", "me/chat:v1", "--up").out
    down = tuned("lineage", "me/sft:v1", "--down").out

    assert "tinyllama <- me/sft:v1 <- me/chat:v1" in shown
    assert up.splitlines()[2:] == ["  └─ me/sft:v1 base", "     └─ base:tinyllama base"]
    assert down.splitlines()[2:] == ["  └─ me/chat:v1 base"]


def test_a_version_is_shown_as_a_base(tuned):
    before = tuned("base", "show", "me/sft:v1")
    stack(tuned)

    after = tuned("base", "show", "me/sft:v1")

    assert before.status == 3
    assert "1 version on tinyllama  stored values, the same everywhere" in after.out


@pytest.mark.parametrize(
    ("base", "status"), [("me/sft:v9", 3), ("me/none:v1", 3), ("me/sft@prod", 3), ("me/sft", 2), ("./absent", 2)]
)
def test_what_is_no_base_ends_with_its_status(tuned, base, status):
    ended = stack(tuned, base)

    assert ended.status == status
    assert "fix:" in ended.err


def test_a_base_below_something_is_not_removed(tuned):
    stack(tuned)

    ended = tuned("rm", "me/sft:v1", "--yes")

    assert ended.status == 5
    assert "deltareg rm me/chat:v1" in ended.err


def test_a_folder_that_is_another_base_is_refused(tuned, tmp_path):
    stack(tuned)

    ended = tuned("materialize", "me/chat:v1", "--out", tmp_path / "out", "--base", DELTAS / "full_v2")

    assert ended.status == 7


def test_lint_names_modules_and_layers(tuned):
    text = tuned("lint", DELTAS / "lora_qv", "--base", "me/sft:v1").out
    points = tuned("lint", DELTAS / "lora_qv", "--base", "me/sft:v1", "--json").json["injection"]

    assert "layers 0-1: q_proj, v_proj" in text
    assert points[0] == {"within": "model.layers", "module": "self_attn.q_proj", "layers": [0, 1]}
