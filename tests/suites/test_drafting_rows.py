"""What somebody's columns say that data is for."""

import pytest

from deltareg.errors import InvalidInput
from deltareg.suites.drafting.rows import DataRow, classes_of, guess_task, rows_of

FEW = [{"text": f"row {n}", "label": n % 3} for n in range(20)]
CASES = [
    ("lm", [{"text": "one"}, {"text": "two"}]),
    ("chat", [{"messages": [{"role": "user", "content": "hi"}]}]),
    ("chat", [{"conversations": [{"from": "human", "value": "hi"}]}]),
    ("chat", [{"instruction": "add", "output": "sum"}]),
    ("chat", [{"Prompt": "add", "Completion": "sum"}]),
    ("classify", FEW),
    ("classify", [{"image": f"{n}.png", "label": "cat" if n % 2 else "dog"} for n in range(8)]),
    ("retrieve", [{"query": "q", "positive": "p"}]),
    ("retrieve", [{"anchor": "q", "positive": "p", "negative": "n"}]),
    ("translate", [{"translation": {"en": "house", "de": "Haus"}}]),
    ("translate", [{"en": "house", "de": "Haus"}]),
    ("translate", [{"source": "house", "target": "Haus"}]),
    ("caption", [{"file_name": "a.png", "caption": "a cat"}]),
]


@pytest.mark.parametrize(("task", "records"), CASES)
def test_columns_tell_the_task_and_why(task, records):
    found, why = guess_task(records)

    assert found == task
    assert why


@pytest.mark.parametrize("records", [[{"x": 1, "y": 2}], [{"id": "a"}], [{"messages": "no turns"}]])
def test_columns_that_tell_nothing_are_named(records):
    with pytest.raises(InvalidInput, match="do not tell what the data is for"):
        guess_task(records)


def test_a_label_that_is_new_on_every_row_is_no_class():
    records = [{"text": f"row {n}", "label": f"id {n}"} for n in range(50)]

    assert guess_task(records)[0] == "lm"
    with pytest.raises(InvalidInput, match="50 labels on 50 rows are no classes"):
        classes_of(rows_of(records, "classify"))


def test_classes_that_are_numbers_stay_these_numbers_and_words_are_sorted():
    numbers = [DataRow("a", label="3"), DataRow("b", label="0"), DataRow("c", label="3"), DataRow("d", label="0")]
    words = [DataRow("a", label="no"), DataRow("b", label="yes"), DataRow("c", label="no")]

    assert classes_of(numbers) == ["0", "1", "2", "3"]
    assert classes_of(words) == ["no", "yes"]
    with pytest.raises(InvalidInput, match="all rows have the label 'no'"):
        classes_of(words[:1])


def test_a_chat_is_its_turns_and_one_without_an_answer_is_left_out():
    answered = {
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": "u"},
            {"role": "assistant", "content": "a"},
        ]
    }
    asked = {"messages": [{"role": "user", "content": "u"}]}

    rows = rows_of([answered, asked], "chat")

    assert rows == [DataRow("s\nu", "a", turns=(("system", "s"), ("user", "u"), ("assistant", "a")))]


def test_what_belongs_to_a_query_and_what_does_not():
    record = {"query": "q", "positives": ["p", "also"], "negatives": ["n", "m"]}

    assert rows_of([record], "retrieve") == [DataRow("q", "p", others=("n", "m"))]


@pytest.mark.parametrize(
    ("task", "record", "message"),
    [
        ("lm", {"x": "y"}, "row 1 has no text called text"),
        ("classify", {"text": "t"}, "row 1 has no label"),
        ("retrieve", {"query": "q"}, "has nothing to be found"),
        ("chat", {"messages": [{"role": "user"}]}, "no content that is a text"),
        ("chat", {"messages": ["hi"]}, "a turn is an object"),
        ("translate", {"source": "s"}, "no text called target"),
    ],
)
def test_a_column_that_the_task_needs_is_named(task, record, message):
    with pytest.raises(InvalidInput, match=message):
        rows_of([record], task)
