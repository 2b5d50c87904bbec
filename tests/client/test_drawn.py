"""Versions, verdicts and channels in a notebook: what they say, and that texts stay texts."""

import re
from itertools import cycle

import pytest
from hypothesis import given, settings
from lxml import html as lxml_html

from deltareg.wire import ChannelInfo, Comparison, VersionDetail
from tests.client.report_values import check, verdict
from tests.client.test_report_escaping import FRAGMENTS, TEXTS, filled

COMPARED = Comparison(against="incumbent", decision="missed", low=0.75, high=0.85, confidence=0.95, margin=0.01, n=200)
TAGS = {
    "div",
    "style",
    "h4",
    "span",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "br",
    "svg",
    "line",
    "circle",
    "caption",
}


@pytest.fixture(scope="module")
def answers(shared_registry):
    """Give one of each as a server gives it, and one with something in every place."""
    client = shared_registry.client()
    compared = check("accuracy", "fail", detail="lost").model_copy(
        update={"value": 0.8, "baseline": 0.9, "comparison": COMPARED}
    )
    return {
        "version": client.show("team/lora:v1"),
        "channel": client.channels.show("team/lora", "prod"),
        "verdict": verdict("fail", check("finite", "pass"), compared),
    }


def test_a_version_says_what_became_of_it(answers):
    drawn = answers["version"]._repr_html_()

    assert "team/lora:v1" in drawn
    assert ">pass</span>" in drawn
    assert "for a cold pull" in drawn
    assert "prod" in drawn


def test_a_verdict_shows_what_failed_first_and_how_surely(answers):
    drawn = answers["verdict"]._repr_html_()

    page = lxml_html.fromstring(drawn)
    names = [row.text_content() for row in page.xpath("//tbody/tr/td[1]")]
    assert names.index("accuracy") < names.index("finite")
    assert len(page.xpath("//svg")) == 1
    assert "from 0.75 to 0.85, beside 0.9" in page.xpath("//svg/@aria-label")[0]
    assert "from 0.75 to 0.85" in page.text_content()


def test_a_channel_shows_what_it_serves_and_what_holds_it(answers):
    plain = answers["channel"]._repr_html_()
    held = answers["channel"].model_copy(update={"is_frozen": True, "frozen_because": "a holiday", "is_revoked": True})

    assert "team/lora:v1" in plain
    assert "frozen" not in plain
    assert ">frozen</span>" in held._repr_html_()
    assert ">revoked</span>" in held._repr_html_()
    assert "a holiday" in held._repr_html_()


def test_one_that_is_made_of_another_is_shown_as_that(answers):
    assert isinstance(answers["version"], VersionDetail)
    assert isinstance(answers["channel"], ChannelInfo)
    assert answers["version"]._repr_html_().startswith('<div class="deltareg">')


@pytest.mark.soak
@given(texts=TEXTS)
@settings(max_examples=500, deadline=None)
def test_no_text_of_others_becomes_markup(answers, texts):
    for answer in answers.values():
        hold(filled(answer, cycle(texts))._repr_html_())


@pytest.mark.parametrize("text", FRAGMENTS)
def test_none_of_the_known_ones_becomes_markup(answers, text):
    for answer in answers.values():
        hold(filled(answer, cycle([text]))._repr_html_())


def hold(drawn):
    page = lxml_html.fragment_fromstring(drawn, create_parent="section")
    found = [element for element in page.iter() if isinstance(element.tag, str)][1:]
    assert {element.tag for element in found} <= TAGS
    assert not [name for one in found for name in one.attrib if name.startswith("on")]
    assert not [name for one in found for name in one.attrib if name in {"href", "src"}]
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", drawn)
    assert "zzz" not in {name for one in found for name in one.attrib}
