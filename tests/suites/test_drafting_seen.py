"""Rows found again: within the data, and in what was trained on; held against counting by hand."""

from hypothesis import given
from hypothesis import strategies as st

from deltareg.suites.drafting.repeated_rows import CONTAINED, WORDS, seen_in, without_repeats, words_of

LONG = "the ferry leaves at seven and comes back before the harbour lights are lit"
WORD = st.sampled_from(["a", "b", "c"])
TEXT = st.lists(WORD, min_size=1, max_size=14).map(" ".join)


def runs(text):
    words = words_of(text)
    return {tuple(words[at : at + WORDS]) for at in range(len(words) - WORDS + 1)}


def holds(outer, inner):
    """Say by the definition whether a text holds another one."""
    if words_of(outer) == words_of(inner):
        return True
    own = runs(inner)
    return bool(own) and len(own & runs(outer)) >= CONTAINED * len(own)


@given(st.lists(TEXT, max_size=8))
def test_of_texts_that_hold_each_other_the_first_one_stays(texts):
    kept: list[int] = []
    for number, text in enumerate(texts):
        if not any(holds(texts[other], text) for other in kept):
            kept.append(number)

    assert without_repeats(texts) == kept


@given(st.lists(TEXT, max_size=6), st.lists(TEXT, max_size=6))
def test_what_training_holds_is_found(texts, training):
    expected = {number for number, text in enumerate(texts) if any(holds(other, text) for other in training)}

    assert seen_in(texts, iter(training)) == expected


def test_case_marks_and_forms_of_letters_make_no_other_text():
    texts = ["Straße, nass!", "STRASSE  nass", "ﬁne work", "fine work.", "other"]

    assert without_repeats(texts) == [0, 2, 4]


def test_a_sample_inside_of_a_long_document_is_found_and_a_like_one_is_not():
    document = f"It was a long day. {LONG.upper()}! Nobody was surprised."
    other = LONG.replace("ferry", "bus").replace("seven", "nine").replace("harbour", "town")

    assert seen_in([LONG, other, "lit"], [document]) == {0}


def test_texts_without_words_are_told_apart_by_themselves():
    assert without_repeats(["?!", "...", "?!"]) == [0, 1]
