"""`deltareg diff --mode behavior`: what two versions do, through the registry, in every form."""

import json

import pytest

from deltareg.client import Client
from deltareg.client.compare.behavior import BehaviorOptions
from deltareg.client.config import load_config
from deltareg_cli.terminal.drawing import DrawingSurface, draw
from deltareg_cli.views.behavior import behavior_blocks, behavior_markdown
from tests.cli.steps import push

A, B = "me/chat:v1", "me/chat:v2"
HALF = {"value": 0.5, "low": 0.25, "high": 0.75, "n": 2}
ANSWER = {
    "a": A,
    "b": B,
    "is_different": True,
    "source": "prompts",
    "samples": 2,
    "kl": HALF,
    "agreement": HALF,
    "mean_abs": HALF,
    "cosine": None,
    "by_sample": [
        {"set": "prompts", "number": 1, "kl": None, "agreement": 1.0, "cosine": None},
        {"set": "prompts", "number": 2, "kl": 0.5, "agreement": 0.5, "cosine": None},
    ],
    "prompts": [
        {
            "set": "prompts",
            "number": 2,
            "text": "Say\x1b[31m | it",
            "places": 4,
            "kl": 0.5,
            "agreement": 0.5,
            "mean_abs": 0.1,
            "cosine": None,
            "continued": {"a": " it\nis `so`", "b": " it\nwas\u202eso", "parts_at_token": 3, "parts_at": 4},
        },
        {
            "set": "prompts",
            "number": 1,
            "text": "x" * 90,
            "places": 4,
            "kl": None,
            "agreement": 1.0,
            "mean_abs": None,
            "cosine": None,
            "continued": {"a": "same", "b": "same", "parts_at_token": None, "parts_at": None},
        },
    ],
    "measures": [
        {
            "name": "general",
            "measure": "perplexity",
            "set": "texts",
            "a": HALF,
            "b": HALF,
            "change": HALF,
            "change_is": "factor",
            "is_decided": True,
        },
        {
            "name": "accuracy",
            "measure": "accuracy",
            "set": "texts",
            "a": HALF,
            "b": HALF,
            "change": HALF,
            "change_is": "difference",
            "is_decided": False,
        },
        dict.fromkeys(("a", "b", "change", "change_is", "is_decided"))
        | {"name": "recall", "measure": "retrieval", "set": "texts"},
    ],
    "notes": ["values that are not finite: on 1 sample"],
    "same_base": False,
    "device": "cpu",
    "dtype": "F32",
}


@pytest.fixture
def two(user):
    """Two versions of one line, and prompts."""
    push(user, "lora")
    push(user, "lora_v2")
    (user.home / "prompts.txt").write_text("Hello\nOnce upon a time\n")
    return user


def compare(user, a, b, *options):
    return user(
        "diff",
        a,
        b,
        "--mode",
        "behavior",
        "--gpu",
        "cpu",
        "--tokens",
        "4",
        "--exit-code",
        "--prompts",
        "prompts.txt",
        *options,
    )


@pytest.mark.slow
def test_an_answer_is_kept_until_something_differs(two, monkeypatch):
    pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
    first = compare(two, A, B, "--json")
    monkeypatch.setattr("sys.executable", "/nonexistent")  # a process would not start now
    again = compare(two, A, B, "--json")

    assert first.status == again.status == 10, first.err
    assert first.json == again.json
    assert (first.json["a"], first.json["b"], first.json["source"]) == (A, B, "prompts")
    (two.home / "prompts.txt").write_text("another prompt\n")
    assert "/nonexistent" in compare(two, A, B).err


@pytest.mark.slow
def test_a_version_does_not_differ_from_itself(two):
    pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
    ended = compare(two, A, A)

    assert ended.status == 0, ended.err
    assert "same first choice  100.0% [100.0%, 100.0%], n = 2" in ended.out


@pytest.mark.slow
def test_all_shows_what_they_are_and_what_they_do(two):
    pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
    ended = two("diff", A, B, "--mode", "all", "--gpu", "cpu", "--json")

    assert ended.status == 0, ended.err
    assert ended.json["modules"]
    assert ended.json["behavior"]["source"] == "probe"


@pytest.mark.parametrize("mode", ["behavior", "all"])
def test_a_page_shows_what_they_do_and_what_they_are(two, mode):
    pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
    inputs = BehaviorOptions(prompts=two.home / "prompts.txt", tokens=4, device="cpu")
    with Client(load_config().config) as client:
        client.behavior.keep(client.behavior.ask(A, B, inputs), ANSWER)  # as if computed before

    written = compare(two, A, B, "--mode", mode, "--report-html", "page.html", "--json")
    printed = compare(two, A, B, "--mode", mode, "--format", "html")

    page = (two.home / "page.html").read_text()
    assert written.status == printed.status == 10, written.err
    assert written.json.get("behavior", written.json)["samples"] == 2
    assert "Another first choice by sample" in page
    assert ("Change by layer and module" in page) == (mode == "all")
    assert printed.out.startswith("<!doctype html>")
    assert "\x1b" not in page


def test_without_numbers_nothing_is_fetched(two):
    ended = two("diff", A, B, "--mode", "meta", "--json", "--exit-code")

    assert ended.status == 10
    assert (ended.json["modules"], ended.json["note"]) == ([], "")
    assert ended.json["tensors"]["changed"]


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ([A, B, "--suite", "smoke"], 2, "add --mode behavior"),
        ([A, "base"], 2, "compares two versions"),
        ([A, B, "--mode", "behavior", "--gpu", "tpu"], 2, "not a device: 'tpu'"),
        (["base", "base", "--mode", "behavior"], 2, "both are the base"),
        ([A, B, "--mode", "behavior", "--report-html", "."], 2, "is a folder"),
        ([A, B, "--mode", "behavior", "--prompts", "gone.txt"], 3, "there is no file gone.txt"),
        ([A, B, "--mode", "behavior", "--suite", "taste"], 3, "there is no suite 'taste'"),
        ([A, "me/chat:v9", "--mode", "behavior"], 3, "me/chat:v9"),
        ([A, B, "--mode", "behavior", "--suite", "smoke", "--prompts", "x"], 2, "not both"),
    ],
)
def test_a_line_that_cannot_be_right_is_refused_before_anything_runs(two, options, status, message):
    ended = two("diff", *options)

    assert ended.status == status
    assert message in ended.err


def test_people_see_where_two_texts_part_and_no_control_characters():
    text = draw(behavior_blocks(ANSWER), DrawingSurface(100, False, False))

    assert text == EXPECTED


def test_one_sample_has_no_interval():
    one = {"value": 0.5, "low": 0.5, "high": 0.5, "n": 1}
    measure = {
        "name": "general",
        "measure": "perplexity",
        "set": "texts",
        "a": one,
        "b": one,
        "change": one,
        "change_is": "factor",
        "is_decided": True,
    }

    text = draw(behavior_blocks({**ANSWER, "measures": [measure]}), DrawingSurface(100, False, False))

    assert "[0.5, 0.5]" not in text


def test_markdown_holds_the_same_and_escapes_what_others_wrote():
    text = behavior_markdown(ANSWER)

    assert "### `me/chat:v1` → `me/chat:v2`: behavior" in text
    assert "| 2 | 0.5 | 50.0% | 0.1 | `Say[31m  it` |" in text
    assert "- a: ` it⏎▸is so`\n- b: ` it⏎▸wasso`" in text
    assert "\x1b" not in text
    assert json.dumps(ANSWER)


EXPECTED = """\
me/chat:v1 → me/chat:v2  behavior
same first choice  50.0% [25.0%, 75.0%], n = 2
KL(a‖b)            0.5 [0.25, 0.75], n = 2 (nats a token)
mean difference    0.5 [0.25, 0.75], n = 2
differs            yes
compared on        2 prompts
bases              two different ones, both loaded
run in             F32 on cpu

Measures  95 % intervals, on the same samples
MEASURE              A    B             CHANGE  N
general on texts   0.5  0.5  ×0.5 [0.25, 0.75]  2
accuracy on texts  0.5  0.5  +0.5 [0.25, 0.75]  2
recall               -    -     does not apply  -

Prompts  those that differ most first
#   KL  SAME FIRST  APART  PROMPT
2  0.5       50.0%    0.1  Say[31m | it
1    -      100.0%      -  xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…

Continued  greedily; ▸ is where the two part
#2 Say[31m | it
  a     it⏎▸is `so`
  b     it⏎▸wasso
#1 …xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
  both same

values that are not finite: on 1 sample
"""  # noqa: RUF001  # a change is a factor
