"""What a check shows, what failed and what to do: said on the pages, the important part first."""

from importlib.resources import files

import pytest

from deltareg.errors import NotFound
from deltareg.pages.diff import CheckPair
from deltareg.pages.explain import explain_code
from deltareg.pages.version import VerdictsPage
from deltareg.wire import CheckResult
from tests.pages.test_pages import LINE

CODES = sorted(
    each.name.removesuffix(".md") for each in (files("deltareg") / "explain").iterdir() if each.name.endswith(".md")
)


def result(verdict, value=None):
    return CheckResult(name="rows", verdict=verdict, value=value)


def test_what_passed_beside_a_failure_is_folded(pages):
    failed = pages.get(f"{LINE}/v3/verdicts").text
    passed = pages.get(f"{LINE}/v2/verdicts").text
    twin = pages.get(f"{LINE}/v3/verdicts?format=json").json()
    (verdict,) = twin["verdicts"]["items"]
    count = sum(check["verdict"] == "pass" for check in verdict["checks"])

    assert count > 20
    assert f"<summary>{count} passed</summary>" in failed
    assert failed.index("<code>effect</code>") < failed.index(f"{count} passed")
    assert "outputs change by more than rounding hides" in failed
    assert "passed</summary>" not in passed


def test_what_said_nothing_is_folded_with_why(pages):
    page = VerdictsPage.model_validate(pages.get(f"{LINE}/v3/verdicts?format=json").json())
    (verdict,) = page.verdicts.items
    skipped = [CheckResult(name=f"c{n}", verdict="skipped", detail="norm_ratio failed before it") for n in range(20)]
    checks = [*skipped, result("pass"), result("warn"), result("fail"), result("n/a")]
    listed = page.verdicts.model_copy(update={"items": [verdict.model_copy(update={"checks": checks})]})

    (shown,) = page.model_copy(update={"verdicts": listed}).shown

    assert [check.verdict for check in shown.checks] == ["fail", "warn"]
    assert len(shown.passed) == 1
    assert (len(shown.silent), shown.why_silent) == (21, "norm_ratio failed before it")


@pytest.mark.parametrize(
    ("a", "b", "differs"),
    [
        (result("pass", 1), result("pass", 2), True),
        (result("pass"), result("fail"), True),
        (result("pass", 1), result("pass", 1), False),
        (result("pass"), None, True),
        (result("pass"), result("skipped"), False),
        (result("skipped"), None, False),
    ],
)
def test_a_check_that_was_skipped_says_nothing_of_a_difference(a, b, differs):
    assert CheckPair(suite="smoke", check="rows", a=a, b=b).is_different is differs


def test_a_suite_says_what_its_checks_show_and_go_by(pages):
    shown = pages.get("/ui/suites/smoke").text

    assert "no weight changes out of proportion to itself or to its like" in shown
    assert '<span class="dim">fail above</span> 30' in shown
    assert ">Against<" not in shown  # of none of its checks anything is said there


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_a_page(code):
    page = explain_code(code)

    assert page.title
    assert page.sections
    assert all(section.title and section.text for section in page.sections)


@pytest.mark.parametrize("code", ["none", "../secrets", "NORM_RATIO", ""])
def test_what_is_no_code_has_no_page(code):
    with pytest.raises(NotFound):
        explain_code(code)


def test_a_refusal_leads_to_what_its_code_means(pages):
    refused = pages.get(f"{LINE}/v99").text

    assert 'href="/ui/explain/not_found"' in refused
    assert "<h2>What to do</h2>" in pages.get("/ui/explain/norm_ratio").text
