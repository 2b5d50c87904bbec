"""Reports in their four forms: what each must tell, and that no text of others gets out of it."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from deltareg.client.report_files.difference_html import to_html as diff_to_html
from deltareg.client.report_files.document import MOST_MODULES, to_json
from deltareg.client.report_files.facts import MetricHistory, MetricPoint, ReportComparison, ReportWaiver, SuiteOutcome
from deltareg.client.report_files.html import to_html
from deltareg.client.report_files.junit import to_junit
from deltareg.client.report_files.markdown import MOST, to_markdown
from tests.client.report_values import (
    HOSTILE,
    HUGE,
    NOW,
    answer,
    check,
    diff,
    hostile,
    junit,
    report,
    run,
    verdict,
    weights,
)

WAIVED = ReportWaiver("effect", "known, see the ticket", "2026-03-01", "bo")


class Page(HTMLParser):
    """Reads a page: its elements, the text of each, and whether all that opens closes."""

    VOID = frozenset({"meta", "wbr", "rect", "circle", "line", "polyline"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.words = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(self.words)


# JUnit


def test_a_check_is_a_testcase_and_a_suite_a_testsuite():
    checks = [
        check("digests"),
        check("effect", "fail", code="no_effect", detail="nothing changed"),
        check("golden", "n/a", detail="none was pushed"),
        check("perplexity", "warn", value=3.5),
    ]
    told = report(status=8, gate=answer("failed"), suites=(SuiteOutcome("smoke", verdict("fail", *checks)),))

    smoke, policy = junit(to_junit(told))

    assert [smoke.get(k) for k in ("name", "tests", "failures", "errors", "skipped")] == ["smoke", "4", "1", "0", "1"]
    failure = smoke.find("testcase[@name='effect']/failure")
    assert (failure.get("type"), failure.text) == ("no_effect", "nothing changed")
    assert smoke.find("testcase[@name='effect']").get("classname") == "smoke"
    assert smoke.find("testcase[@name='effect']").get("time") == "0.250"
    assert "perplexity: warning" in smoke.findtext("system-out")
    assert [case.get("name") for case in policy.iter("testcase")] == [
        "failed",
        "not revoked",
        "not quarantined",
        "not deleted",
        "not frozen",
    ]


@pytest.mark.parametrize(
    "judged",
    [
        SuiteOutcome("smoke", verdict("inconclusive", check("effect", "skipped", detail="no memory"))),
        SuiteOutcome("smoke", verdict("inconclusive", check("effect"))),
        SuiteOutcome("smoke", None, run("dead", error="the worker died")),
        SuiteOutcome("smoke"),
    ],
    ids=["skipped", "unshown", "dead", "missing"],
)
def test_what_was_not_judged_is_an_error_and_never_a_pass(judged):
    (suite,) = junit(to_junit(report(status=11, suites=(judged,), answer=None)))

    assert (suite.get("errors"), suite.get("failures")) == ("1", "0")


@pytest.mark.parametrize(
    ("rule", "mark"),
    [
        ("failed", "failure"),
        ("frozen", "failure"),
        ("kind", "failure"),
        ("base", "failure"),
        ("missing", "error"),
        ("inconclusive", "error"),
        ("new_rule", "error"),
    ],
)
def test_an_unmet_rule_is_marked_with_its_fix(rule, mark):
    *_, policy = junit(to_junit(report(status=9, gate=answer(rule))))

    assert policy.find(f"testcase[@name='{rule}']/{mark}").text == "it is so\nfix: do this"


@pytest.mark.parametrize("text", [HOSTILE, HUGE], ids=["hostile", "huge"])
def test_junit_stays_valid_and_short_whatever_others_write(text):
    told = to_junit(hostile(text))

    suites = junit(told)
    names = [case.get("name") for case in suites[-1].iter("testcase")]
    assert names[:3] == ["failed", "missing", "failed 2"]
    assert "\u202e" not in told
    assert len(told) < 120_000


# Markdown


def test_markdown_begins_with_its_marker_and_the_verdict():
    marker, first, *_ = to_markdown(report()).splitlines()

    assert marker == "<!-- deltareg:gate me/chat@prod -->"
    assert first == "✅ **Allowed** · me/chat:v3 may go to prod"


def test_markdown_of_a_verification_has_a_marker_of_its_own():
    marker, first, *_ = to_markdown(report(answer=None)).splitlines()

    assert marker == "<!-- deltareg:verify me/chat smoke -->"
    assert first.startswith("✅ **Passed** · me/chat:v3: verification of suite smoke gave pass")


def test_markdown_tells_checks_rules_modules_bytes_evidence_and_waivers():
    fix = "deltareg verify me/chat:v3 --suite smoke --wait"
    text = to_markdown(report(status=9, gate=answer(("missing", "no verdict", fix)), waivers=(WAIVED,)))

    assert "⏳ **Pending** · me/chat:v3 may not go to prod: 1 rule is unmet" in text
    assert f"→ `{fix}`" in text
    assert "| `effect` | ✅ pass | 1.5 | 0.1 | - | 0.2 s |" in text
    assert "### Change from what prod serves (`me/chat:v1`)" in text
    assert "2.0 kB of 4.0 kB pushed; a full copy of the model is 1.0 MB: 998 kB saved" in text
    assert "base evidence exact · sandbox network files" in text
    assert "| effect | known, see the ticket | 2026-03-01 | bo |" in text


MIXED = SuiteOutcome(
    "smoke", verdict("pass", *[check(f"c{n}") for n in range(11)], check("loss", "warn"), check("g", "n/a"))
)


def test_a_pass_hides_no_warning():
    told = report(suites=(MIXED,))

    assert "### Suite smoke: pass (11 pass, 1 warn, 1 n/a)" in to_markdown(told)
    assert "pass: 11 pass, 1 warn, 1 n/a in 3 s" in Page(to_html(told)).text.replace("3.2", "3")


def test_markdown_shows_ten_modules_and_counts_the_others():
    told = report(compared=ReportComparison("what prod serves", diff(weights(20))))

    text = to_markdown(told)

    assert len(re.findall(r"^\| `model\.layers", text, flags=re.M)) == 10
    assert "_and 30 more modules_" in text


def test_markdown_lets_nobody_mention_link_or_break_out():
    text = to_markdown(hostile())

    assert "@ada" not in re.sub(r"(`+).*?\1", "", text)
    assert "<script" not in re.sub(r"(`+).*?\1", "", text)
    assert "://" not in re.sub(r"(`+).*?\1", "", text)
    assert "\u202e" not in text
    assert "\x00" not in text
    assert text.count("<!--") == 1 + len(re.findall(r"`[^\n]*<!--", text))
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in tables} <= {3, 6, 7}


def test_markdown_fits_into_a_comment():
    text = to_markdown(hostile(HUGE))

    assert len(text) <= MOST
    many = tuple(
        SuiteOutcome(f"s{n}", verdict("fail", *[check(f"c{i}", "fail", detail="d" * 900) for i in range(60)]))
        for n in range(9)
    )
    cut = to_markdown(report(status=8, suites=many))
    assert MOST - 2_000 < len(cut) <= MOST
    assert cut.endswith("has the rest._\n")


# JSON


def test_the_document_has_its_fields():
    told = json.loads(to_json(report(waivers=(WAIVED,))))

    assert list(told) == [
        "schema_version",
        "report",
        "standing",
        "verdict",
        "exit_status",
        "made_at",
        "ref",
        "version",
        "digest",
        "kind",
        "base",
        "signatures",
        "gate",
        "suites",
        "waivers",
        "sizes",
        "diff",
        "history",
    ]
    assert (told["standing"], told["verdict"], told["exit_status"]) == ("allowed", "pass", 0)
    assert told["gate"]["unmet"] == []
    assert told["suites"][0]["judgement"]["checks"][0]["name"] == "effect"
    assert told["sizes"]["saved_bytes"] == 998_000
    assert (told["diff"]["modules_total"], told["diff"]["a"]["ref"]) == (8, "me/chat:v1")


def test_the_document_is_json_whatever_others_write_and_measure():
    told = json.loads(to_json(hostile()), parse_constant=pytest.fail)

    assert told["diff"]["modules"][0]["relative_norm"] is None
    assert told["verdict"] == "fail"


def test_the_document_holds_a_bounded_number_of_modules():
    told = json.loads(to_json(report(compared=ReportComparison("x", diff(weights(500))))))

    assert (len(told["diff"]["modules"]), told["diff"]["modules_total"]) == (MOST_MODULES, 1000)


# HTML


def test_a_page_needs_nothing_beside_it():
    page = Page(to_html(report()))

    assert not page.open
    assert {tag for tag, _ in page.tags} & {"script", "img", "link", "iframe", "object"} == set()
    assert not [a for _, attrs in page.tags for a in attrs if a in {"src", "href"}]
    policy = [a["content"] for _, a in page.tags if a.get("http-equiv")]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_a_page_tells_what_was_found():
    history = (MetricHistory("smoke", "perplexity", (MetricPoint(1, 9.5), MetricPoint(3, 8.25)), 12.0),)
    told = report(status=9, gate=answer("missing"), history=history, waivers=(WAIVED,))

    page = Page(to_html(told))

    for words in (
        "pending",
        "do this",
        "effect",
        "8.25",
        "threshold 12",
        "998 kB saved",
        "base evidence",
        "torch",
        "known, see the ticket",
        "network files",
    ):
        assert words in page.text, words
    labels = [attrs["aria-label"] for tag, attrs in page.tags if tag == "svg"]
    assert len(labels) == 3
    assert all(labels)


def test_the_heat_map_has_a_cell_for_each_layer_and_module():
    page = diff_to_html(diff(weights(4, more=weights(2, prefix="vision.blocks"))), now=NOW)

    assert page.count("<rect") == 4 * 2 + 2 * 2 + 2 * 9  # both maps, and the scale of each
    assert "self_attn.q_proj, 3: 0.4" in page


def test_modules_outside_of_layers_are_bars():
    head = weights(1)[0].__class__("lm_head.weight", 0.5, 0.9, 1.0, 1.0)

    page = Page(diff_to_html(diff([head]), now=NOW))

    assert "lm_head" in page.text
    assert "outside the layers" in page.text


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_norms_that_are_no_numbers_are_drawn_all_the_same(number):
    broken = replace(weights(1)[0], relative_norm=number, norm_b=number)

    page = Page(diff_to_html(diff([broken, *weights(3)]), now=NOW))

    assert not page.open


@pytest.mark.parametrize("text", [HOSTILE, HUGE], ids=["hostile", "huge"])
def test_a_page_is_safe_and_short_whatever_others_write(text):
    told = to_html(hostile(text))

    page = Page(told)
    assert not page.open
    assert "script" not in {tag for tag, _ in page.tags}
    assert "\u202e" not in told
    assert len(told) < 150_000


def test_nothing_to_compare_with_shows_the_norms_of_its_own_change():
    alone = replace(diff(), a=diff().b)

    page = Page(to_html(report(compared=ReportComparison(diff=alone, note="prod serves nothing yet"))))

    assert "Norm of the change by layer and module" in page.text
    assert "prod serves nothing yet" in page.text
    assert "relative change" not in page.text


def test_a_verification_without_a_comparison_says_nothing_of_one():
    alone = replace(diff(), a=diff().b)

    page = Page(to_html(report(answer=None, compared=ReportComparison(diff=alone))))

    assert "Norm of the change by layer and module" in page.text
    assert not re.search(r"(^|\s)\.\s", page.text)


def test_two_that_are_the_same_say_so():
    same = replace(diff([]), a=diff().b, tensors=replace(diff().tensors, changed=()))

    page = Page(diff_to_html(same, now=NOW))

    assert "The two are the same." in page.text
