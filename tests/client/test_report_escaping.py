"""No text of others becomes markup: every text of a report is one that tries to."""

import re
from dataclasses import fields, is_dataclass, replace
from functools import cache
from itertools import cycle, product

from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import html as lxml_html
from pydantic import BaseModel

from deltareg.client.report_files.behavior_html import to_html as behavior_to_html
from deltareg.client.report_files.difference_html import to_html as diff_to_html
from deltareg.client.report_files.facts import MetricHistory, MetricPoint, ReportComparison, ReportWaiver, SuiteOutcome
from deltareg.client.report_files.html import to_html
from deltareg.delta.compare import FieldChange, FileChange
from tests.client.behavior_values import behavior
from tests.client.report_values import NOW, answer, check, diff, report, run, verdict, weights

# What is not text of others: words that the code chooses from, and a name that is parsed.
OURS = {"ref", "change_is", "source"}
FRAGMENTS = (
    "<script>alert(1)</script>",
    "<zzz zzz=1>",
    '" onzzz="alert(1)" x="',
    "' onzzz='1",
    "</title>",
    "</style>",
    "</textarea>",
    "-->",
    "<!--",
    "]]>",
    "{{ 7 * 191 }}",
    "{% raw %}",
    "{#",
    "#}",
    "&lt;zzz&gt;",
    "&#60;zzz&#62;",
    "&amp;",
    "\x00",
    "\x1b[31m",
    "\u202e",
    "\ud800",
    "\r\n",
    "`",
    "javascript:zzz",
    "\\",
    "</svg>",
    "<svg/onload=zzz>",
    "<wbr>",
    "a.b_c",
)
TEXT = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=8), min_size=1, max_size=4).map("".join)
TEXTS = st.lists(TEXT, min_size=1, max_size=12)


def filled(value, texts):
    """Give a value with every text in it replaced by the next of these."""
    if isinstance(value, str):
        return next(texts)
    if isinstance(value, BaseModel):
        found = {name: filled_field(name, getattr(value, name), texts) for name in type(value).model_fields}
        return value.model_copy(update=found)
    if is_dataclass(value) and not isinstance(value, type):
        found = {f.name: filled_field(f.name, getattr(value, f.name), texts) for f in fields(value)}
        return replace(value, **found)
    if isinstance(value, dict):
        return {next(texts): filled(item, texts) for item in value.values()}
    if isinstance(value, list | tuple):
        return type(value)(filled(item, texts) for item in value)
    return value


def filled_field(name, value, texts):
    """Fill a field, unless it is one that the code chooses."""
    return value if name in OURS else filled(value, texts)


def gate_report():
    """Make a report with something in every place."""
    checks = [
        check(word, word, code="code", detail="told", value="value")
        for word in ("pass", "fail", "warn", "skipped", "n/a")
    ]
    suites = (SuiteOutcome("smoke", verdict("fail", *checks)), SuiteOutcome("deep", None, run(error="died")))
    history = (MetricHistory("smoke", "loss", (MetricPoint(1, 1.0), MetricPoint(3, 2.0)), 5.0),)
    waiver = ReportWaiver("what", "reason", "until", "actor")
    return report(
        status=8,
        gate=answer("failed", "missing"),
        suites=suites,
        history=history,
        waivers=(waiver,),
        compared=ReportComparison("prod", difference(), "note"),
    )


def difference():
    """Make a comparison with something in every place."""
    head = weights(1)[0].__class__("lm_head.weight", 0.5, 0.9, 1.0, 1.0)
    made = diff(weights(3, more=[head]), note="note")
    tensors = replace(made.tensors, added=("x", "y"), removed=("z",))
    return replace(
        made, tensors=tensors, config=(FieldChange("rank", "4", "8"),), files=(FileChange("README.md", "changed"),)
    )


PAGES = {
    "gate": lambda texts: to_html(filled(gate_report(), texts)),
    "difference": lambda texts: diff_to_html(filled(difference(), texts), now=NOW),
    "behavior": lambda texts: behavior_to_html(filled(behavior(), texts), now=NOW),
}


def elements(page):
    """Give each element as it can be told apart from one of ours: tag, attributes, classes."""
    return {
        (element.tag, tuple(sorted(element.keys())), element.get("class", ""))
        for element in lxml_html.fromstring(page.encode()).iter()
    }


@cache
def known(name):
    """Give what a page has with words, without, and with texts that put every mark on it."""
    marks = (["pass"], ["fail"], ["warn"], ["a.b_c"], ["one two", "one 2"], [""])
    layers = product(("word", "0", "7", "a.0.b"), repeat=2)  # a number in a name is a layer's
    texts = (*marks, *layers)
    return set().union(*(elements(PAGES[name](cycle(words))) for words in texts))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(PAGES)), TEXTS)
def test_no_element_and_no_attribute_comes_from_text_of_others(name, texts):
    page = PAGES[name](cycle(texts))

    assert elements(page) <= known(name)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", page)
    assert "1337" not in page


def test_text_that_looks_like_a_template_is_shown_as_it_is():
    for make in PAGES.values():
        page = make(cycle(["{{ 7 * 191 }}"]))

        assert "{{ 7 * 191 }}" in lxml_html.fromstring(page).text_content()
        assert "1337" not in page
