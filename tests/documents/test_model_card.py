"""Model cards: read as the hub's own library reads them, and whatever they hold, soon and small."""

from dataclasses import asdict

import pytest
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from deltareg.documents.model_card import MOST_CARD_BYTES, MOST_FRONT_BYTES, CardMetric, read_card, split_card

CARD = """\
---
license: apache-2.0
language: [de, no]
tags:
- summarization
- lora
datasets: team/news
pipeline_tag: text-generation
library_name: peft
base_model: org/tiny-llama
---

<!-- made by a trainer -->
![badge](https://example.org/x.svg)

# A *short* title

Writes **summaries** of [German news](https://example.org), in one sentence.
It is small.

## Use

Other words.
"""


def test_what_a_card_says_is_read():
    card = read_card(CARD.encode())

    assert card.title == "A *short* title"
    assert card.summary == "Writes summaries of German news, in one sentence. It is small."
    assert (card.license, card.task, card.library) == ("apache-2.0", "text-generation", "peft")
    assert card.languages == ("de", "no"), "YAML takes the code of Norwegian for false"
    assert card.tags == ("summarization", "lora")
    assert card.datasets == ("team/news",)
    assert card.base_models == ("org/tiny-llama",)
    assert (card.metrics, card.problems) == ((), ())


def test_results_that_the_hubs_library_writes_are_those_that_are_read():
    results = [
        EvalResult("text-generation", "team/news", "News", name, value)
        for name, value in (("accuracy", 0.91), ("rouge1", 42), ("loss", 1e-3))
    ]
    data = ModelCardData(model_name="x", eval_results=results, tags=["a"], license="mit")
    text = str(ModelCard.from_template(data, template_str="---\n{{ card_data }}\n---\n# X\n"))

    card = read_card(text.encode())

    assert card.problems == ()
    assert (card.license, card.tags) == ("mit", ("a",))
    assert card.metrics == (
        CardMetric("accuracy", 0.91, "News", "text-generation"),
        CardMetric("rouge1", 42.0, "News", "text-generation"),
        CardMetric("loss", 0.001, "News", "text-generation"),
    )


@pytest.mark.parametrize("text", ["", "# Only prose\n", "---\n---\nx", "--- a\nb: c\n---\n", "---\nlicense: mit\n"])
def test_what_the_hub_finds_no_data_in_says_nothing_here(text):
    card = read_card(text.encode())

    assert (card.license, card.tags, card.problems) == ("", (), ())
    assert ModelCard(text or "x", ignore_metadata_errors=True).data.to_dict().get("license") is None


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE: dict[str, str | bytes] = {
    "aliases": f"---\n{BOMB}---\n",
    "one alias": "---\nlicense: &x mit\nlicense_name: *x\n---\n",
    "depth": "---\na: " + "[" * 60_000 + "\n---\n",
    "depth of maps": "---\na: " + "{a: " * 15_000 + "\n---\n",
    "code": "---\nlicense: !!python/object/apply:os.system [ls]\n---\n",
    "a key twice": "---\nlicense: mit\nlicense: gpl\n---\n",
    "no mapping": "---\n- a\n- b\n---\n",
    "a long number": "---\nlicense: 0x" + "F" * 60_000 + "\n---\n",
    "a long decimal": "---\nlicense: " + "9" * 60_000 + "\n---\n",
    "sixties": "---\nlicense: 1" + ":1" * 30_000 + "\n---\n",
    "half of a pair": '---\nlicense: "\\ud800"\n---\n',
    "control characters": '---\nlicense: "a\\0b\\e[31m"\n---\n# \x1b[31mred\x00\n',
    "not UTF-8": b"---\nlicense: mit\n---\n# \xff\xfe\xfa\n",
    "front matter without an end": "---\n" + "a: b\n" * 100_000,
    "wrong types": "---\nlicense: {a: b}\ntags: [[a], {b: c}, null]\nlanguage: 2026-01-01\n---\n",
    "a wrong index": "---\nmodel-index: [1, {results: [2, {metrics: [3, {value: x}]}]}]\n---\n",
    "no index": "---\nmodel-index: nothing\n---\n",
    "no numbers": "---\nmodel-index: [{results: [{metrics: [{type: a, value: .nan}, {type: b, "
    "value: .inf}, {type: c, value: true}, {type: d, value: 1e999}]}]}]\n---\n",
    "one long line": "# " + "x" * 5_000_000,
    "links": "[" * 200_000 + "](" * 200_000,
    "ten megabytes": "# t\n" + "word " * 2_000_000,
    "many": "---\ntags:\n" + "".join(f"- t{n}\n" for n in range(6_000)) + "---\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_whatever_it_is_it_is_read_soon_and_small(name):
    text = HOSTILE[name]

    card = read_card(text if isinstance(text, bytes) else text.encode())

    assert len(str(asdict(card))) < 64 << 10
    shown = [card.title, card.summary, card.license, *card.tags, *card.languages, *card.problems]
    assert all(word.isprintable() for word in shown)
    assert all(abs(metric.value) < 1e300 for metric in card.metrics)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("aliases", "an alias"),
        ("one alias", "an alias"),
        ("code", "nothing is run"),
        ("a key twice", "given twice"),
        ("no mapping", "is a mapping"),
        ("wrong types", "tags is a text"),
        ("no index", "model-index is a list"),
        ("a wrong index", "no metric"),
        ("many", "first 64 count"),
        ("not UTF-8", "not UTF-8"),
        ("ten megabytes", f"first {MOST_CARD_BYTES:,} count"),
    ],
)
def test_what_was_not_read_is_said(name, told):
    text = HOSTILE[name]

    card = read_card(text if isinstance(text, bytes) else text.encode())

    assert any(told in problem for problem in card.problems), card.problems


def test_what_a_trainer_writes_for_its_user_is_no_summary():
    text = (
        "<!-- This model card has been generated automatically. You\n"
        "should probably proofread and complete it, then remove this comment. -->\n\n"
        "# chat\n\nAnswers <!-- kindly --> in rhymes.\n<!-- and more"
    )

    card = read_card(text.encode())

    assert (card.title, card.summary) == ("chat", "Answers in rhymes.")
    assert read_card(b"<!--" * 200_000).summary == ""


def test_front_matter_has_a_bound():
    text = "---\nlicense: mit\n" + f"# {'x' * 98}\n" * (MOST_FRONT_BYTES // 100 + 1) + "---\n# T\n"

    card = read_card(text.encode())

    assert card.title == "T"
    assert card.license == ""
    assert "at most 65,536 are read" in card.problems[0]


def test_a_card_is_cut_where_the_second_line_of_dashes_is():
    assert split_card("---\na: b\n---\nrest\n---\n") == ("a: b\n", "rest\n---\n")
    assert split_card("\n---\na: b\n---\n") == ("", "\n---\na: b\n---\n")
