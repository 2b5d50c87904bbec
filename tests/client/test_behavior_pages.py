"""The page of a comparison of behavior: what it tells, and what others cannot make of it."""

import re

import pytest
from lxml import html as lxml_html

from deltareg.client.report_files.behavior_html import to_html
from deltareg.drawing.sample_plots import draw_ranked_bars, interval
from deltareg.drawing.side_by_side import MOST_CHARS, mark_differences, plain
from tests.client.behavior_values import behavior, document
from tests.client.report_values import HOSTILE, HUGE, NOW


def words(page):
    """Give what a page shows, on one line."""
    return " ".join(lxml_html.fromstring(page).text_content().split())


def test_a_page_tells_totals_measures_samples_and_what_they_say():
    page = to_html(behavior(), now=NOW)

    told = words(page)
    assert "same first choice50.0%[40.0%, 60.0%], n = 4" in told
    assert "two different ones, both loaded" in told
    assert "×1.2[1.1, 1.3]" in told  # noqa: RUF001  # a change is a factor
    assert "does not apply" in told
    assert "The 2 that differ most of 4" in told
    assert '<mark class="a">says</mark>' in page
    assert '<mark class="b">said</mark>' in page
    assert "both the same" in told


def test_every_sample_has_its_bar_the_largest_first():
    page = lxml_html.fromstring(to_html(behavior(), now=NOW))

    titles = [title.text for title in page.iterfind(".//rect/title")]

    assert titles[:4] == [f"{5 - n} of 4: The film was {n}, {n / 10:.4g}" for n in (4, 3, 2, 1)]
    assert len(titles) == 8


def test_of_very_many_samples_the_worst_is_there_and_bars_are_few():
    plot = draw_ranked_bars([(str(n), float(n)) for n in range(10_000)], label="many")

    assert plot.count("<rect") == 120
    assert "1 of 10000: 9999, 9999" in plot


def test_hidden_states_are_told_by_their_cosine():
    samples = [{"set": "s", "number": 1, "kl": None, "agreement": None, "cosine": 0.75}]
    told = to_html(behavior(kl=None, agreement=None, by_sample=samples, prompts=[], measures=[]), now=NOW)

    assert "Apart by sample" in told
    assert "s 1, 0.25" in told
    assert "Divergence" not in told


def test_samples_that_cannot_be_compared_have_no_bar():
    none = dict.fromkeys(("kl", "agreement", "cosine"))
    samples = [{"set": "s", "number": 1, **none}]

    told = to_html(behavior(by_sample=samples), now=NOW)

    assert "<rect" not in told
    assert "by sample" not in told


@pytest.mark.parametrize("text", [HOSTILE, HUGE])
def test_a_page_is_safe_and_short_whatever_others_write(text):
    page = to_html(behavior(text), now=NOW)

    root = lxml_html.fromstring(page)
    assert not root.xpath("//script | //img | //a | //iframe | //*[@onerror or @href or @src]")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", page)
    assert len(page) < 120_000


def test_words_that_the_other_has_not_are_marked():
    a, b = mark_differences("one two  three\nfour", "one 2  three\nfour five")

    assert a == [("", "one "), ("a", "two"), ("", "  "), ("", "three\n"), ("a", "four")]
    assert b == [("", "one "), ("b", "2"), ("", "  "), ("", "three\n"), ("b", "four five")]


def test_line_ends_are_seen_where_nothing_else_differs():
    a, b = mark_differences("\n\n", "\n")

    assert a == [("a", "⏎"), ("", "\n")] * 2
    assert b == [("b", "⏎"), ("", "\n")]


def test_many_line_ends_take_one_line():
    assert plain("end\n\n" + "\n" * 20) == [("", "end⏎×22\n")]  # noqa: RUF001  # so many times


def test_texts_are_cut_and_long_differences_are_marked_as_a_whole():
    a, b = mark_differences("x " * 1_000, "y " * 1_000)

    assert ([style for style, _ in a], [style for style, _ in b]) == (["a", ""], ["b", ""])
    assert len(plain("x" * 100_000)[0][1]) == MOST_CHARS


@pytest.mark.parametrize(("ends", "none"), [((1.0, float("inf"), 2.0), 1.0), ((0.0, 0.0, 1.0), 1.0)])
def test_an_interval_without_ends_is_not_drawn(ends, none):
    value, low, high = ends

    assert interval(value, low, high, none=none, label="x") == ""


def test_no_change_at_all_is_drawn_in_the_middle():
    assert interval(0.0, 0.0, 0.0, none=0.0, label="x").count('cx="66.0"') == 1


def test_fields_of_a_newer_release_are_left_aside():
    found = document() | {"new": 1}

    assert behavior().model_validate(found) == behavior()
