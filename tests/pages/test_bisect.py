"""A bisection in the browser: by links alone it tries the versions that a run would try."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltareg.errors import InvalidInput, NotFound
from deltareg.gate.bisection import Mark, bisect, progress_of
from deltareg.refs import LineRef
from deltareg.service.overview.bisection import search_by_hand
from deltareg.service.registry import Registry
from deltareg.store.memory import MemoryStore
from tests.service import rows

LINE = "/ui/deltas/team/lora"
LAB = LineRef("lab", "x")


def links(text):
    """Give the addresses that judge the version to try, by the last word of what they say."""
    part = text.partition('id="try"')[2].partition("</section>")[0]
    found = re.findall(r'<a class="btn" href="([^"]*)">(?:<svg.*?</svg>)?([^<]*)</a>', part)
    return {words.split()[-1]: link.replace("&amp;", "&") for link, words in found}


@given(st.integers(2, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(2, n))))
def test_by_hand_the_same_versions_are_tried_as_by_a_run(line):
    length, first_bad = line
    asked = []

    def judge(number):
        asked.append(number)
        return "bad" if number >= first_bad else "good"

    bisect(range(1, length + 1), judge)
    marks: dict[int, Mark] = {1: "good", length: "bad"}
    progress = progress_of("a/b", range(1, length + 1), marks)
    tried = []
    while progress.next is not None:
        tried.append(progress.next)
        marks[progress.next] = "bad" if progress.next >= first_bad else "good"
        progress = progress_of("a/b", range(1, length + 1), marks)

    assert [1, length, *tried] == asked
    assert progress.bounds is not None
    assert (progress.bounds.good, progress.bounds.bad) == (first_bad - 1, first_bad)


def test_what_was_proposed_stays_while_it_can_be():
    marks: dict[int, Mark] = {1: "good", 9: "bad"}

    assert progress_of("a/b", range(1, 10), marks, proposed=3).next == 3
    assert progress_of("a/b", [1, 2, 4, 9], marks, proposed=3).next in (2, 4)
    assert progress_of("a/b", [1, 2, 4, 9], marks).deleted == (3, 5, 6, 7, 8)


def test_links_lead_to_the_first_bad_version(pages):
    begun = pages.get(f"{LINE}/bisect")
    good = pages.get(f"{LINE}/bisect?v1=good")
    both = pages.get(links(good.text)["bad"])
    found = pages.get(links(both.text)["bad"])

    assert "Name a good version and a bad version" in begun.text
    assert "Is v3, the newest, bad?" in good.text
    assert "Try v2" in both.text
    assert "deltareg pull team/lora:v2 --to DIR" in both.text
    assert str(found.url).endswith("?v1=good&v2=bad&v3=bad")
    assert "v2 is the first bad version" in found.text
    assert "deltareg bisect start team/lora --good v1 --bad v2" in found.text
    assert f'data-hx-get="{LINE}/diff?a=v1&amp;b=v2"' in found.text
    skipped = pages.get(links(both.text)["tell"])
    assert "It is among v2 to v3" in skipped.text
    assert "deltareg bisect skip team/lora:v2" in skipped.text


def test_what_contradicts_itself_is_said_and_can_be_mended(pages):
    wrong = pages.get(f"{LINE}/bisect?v1=bad&v3=good")

    assert wrong.status_code == 200
    assert "v3 cannot be good while v1, which is older, is bad" in wrong.text
    assert '<option value="good" selected>' in wrong.text


@pytest.mark.parametrize(("asked", "status"), [("v1=fine", 422), ("v99=bad", 404), ("v=bad", 200)])
def test_what_is_no_judgement_is_refused(pages, asked, status):
    assert pages.get(f"{LINE}/bisect?{asked}").status_code == status


def test_of_a_long_line_what_is_near_is_listed(engine):
    maker = rows.caller(engine)
    rows.base(engine)
    line = rows.line(engine, maker=maker)
    ids = [rows.version(engine, line) for _ in range(120)]
    for number in (60, 61):
        rows.delete(engine, ids[number - 1])
    registry = Registry(engine, MemoryStore())

    found = search_by_hand(registry, maker, LAB, {2: "good", 119: "bad", 59: "skip"})

    listed = [one.version for one in found.versions]
    assert found.progress.next in listed
    assert {2, 59, 119} <= set(listed)
    assert found.progress.deleted == (60, 61)
    assert len(listed) - 3 + found.more == 113
    begun = search_by_hand(registry, maker, LAB, {60: "good", 90: "skip"})
    assert {one.version for one in begun.versions} == {60, *range(82, 121)}
    assert begun.more == 118 - 39  # none of the newest, nor the judged one that is not deleted
    assert begun.hint == 120
    with pytest.raises(NotFound):
        search_by_hand(registry, maker, LAB, {121: "bad"})
    with pytest.raises(InvalidInput):
        progress_of("lab/x", range(1, 5), {3: "good", 2: "bad"})
