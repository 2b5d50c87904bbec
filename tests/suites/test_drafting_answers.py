"""What answers look like, and how they are judged therefore: a table of rows and measures."""

import pytest

from deltareg.suites.drafting.answer_forms import look_at
from deltareg.suites.drafting.measures import measures_of
from deltareg.suites.drafting.rows import guess_task, rows_of

LONG = "{0} people met in the {0}. house by the river, and talked of what would become of it"


def turns(*said):
    who = ("user", "assistant")
    return {"messages": [{"role": who[at % 2], "content": one} for at, one in enumerate(said)]}


CASES = {
    "classes as words": (
        lambda n: {"prompt": f"review {n}", "completion": ("positive", "negative", "neutral")[n % 3]},
        "few",
        ["choices", "choices", "answers"],
    ),
    "classes as sentences": (
        lambda n: {"prompt": f"review {n}", "completion": f"I would say that this text is one of the {n % 4}. kind."},
        "few",
        ["choices", "choices", "answers"],
    ),
    "multiple choice": (
        lambda n: {"question": f"What is {n}? A one B two C three D four", "answer": "ABCD"[n % 4]},
        "few",
        ["choices", "choices", "answers"],
    ),
    "extraction": (
        lambda n: {"context": f"On day {n} Ada {n} came.", "question": "Who came?", "answer": f"Ada {n}"},
        "short",
        ["choices", "choices", "answers"],
    ),
    "names in Chinese": (
        lambda n: {"prompt": f"{n}", "completion": f"第{n}号房间"},
        "short",
        ["choices", "choices", "answers"],
    ),
    "a chat of one answer": (
        lambda n: turns(f"question {n}", LONG.format(n)),
        "long",
        ["target_perplexity", "written_form"],
    ),
    "a chat of many turns": (
        lambda n: turns(f"question {n}", "yes", "and then?", LONG.format(n)),
        "long",
        ["target_perplexity", "written_form"],
    ),
    "answers in Chinese": (
        lambda n: {"prompt": f"{n}", "completion": f"{n}个人在河边的房子里见面,谈论这座房子以后会怎么样,直到天黑"},
        "long",
        ["target_perplexity", "written_form"],
    ),
    "yes, no, and reasons": (
        lambda n: {"prompt": f"q {n}", "completion": f"no {n}" if n % 2 else LONG.format(n)},
        "mixed",
        ["target_perplexity", "choices", "written_form"],
    ),
    "translation": (
        lambda n: {"en": LONG.format(n), "de": LONG.format(n)},
        "long",
        ["written_text", "target_perplexity"],
    ),
    "translation of words": (
        lambda n: {"en": f"house {n}", "de": f"Haus {n}"},
        "short",
        ["written_text", "target_perplexity", "choices"],
    ),
    "summaries": (
        lambda n: {"source": LONG.format(n) * 4, "target": LONG.format(n)},
        "long",
        ["written_text", "target_perplexity"],
    ),
    "one answer to all": (
        lambda n: {"prompt": f"q {n}", "completion": "yes"},
        "same",
        ["target_perplexity", "written_form"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_rows_are_judged_by_what_their_answers_look_like(name):
    row, form, checks = CASES[name]
    records = [row(n) for n in range(60)]
    task, _ = guess_task(records)

    look = look_at([one.target for one in rows_of(records, task)])
    first, others = measures_of(task, look.form)

    assert look.form == form
    assert [first.check, *(one.check for one in others)] == checks
    assert look.why


def test_a_guess_gets_the_share_of_the_commonest_answer():
    look = look_at(["Yes", "yes.", "no", "YES!"] * 5)

    assert (look.guess, look.options) == (0.75, 2)


def test_labels_beside_texts_are_answers_where_that_is_asked_for():
    records = [{"text": f"review {n}", "label": "ab"[n % 2]} for n in range(8)]

    assert guess_task(records)[0] == "classify"
    assert [(row.text, row.target) for row in rows_of(records, "chat")][:2] == [("review 0", "a"), ("review 1", "b")]


def test_a_text_that_holds_the_answer_stands_before_the_question():
    (row,) = rows_of([{"context": "Ada came.", "question": "Who came?", "answer": "Ada"}], "chat")

    assert row.turns == (("user", "Ada came.\nWho came?"), ("assistant", "Ada"))
