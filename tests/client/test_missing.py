"""Which verifications `gate check --wait` queues: those that the answer's own commands name."""

import pytest

from deltareg.client.resources.missing import MissingVerification, missing_verifications
from tests.client.report_values import answer

VERIFY = "deltareg verify me/chat:v3 --suite {} --wait"


@pytest.mark.parametrize("rule", ["missing", "stale", "inconclusive"])
def test_a_suite_without_a_verdict_that_counts_is_queued(rule):
    found = missing_verifications(answer((rule, "", VERIFY.format("deep"))))

    assert found == [MissingVerification("deep", again=rule == "stale")]


def test_a_suite_is_queued_once():
    rules = [("missing", "", VERIFY.format("smoke")), ("stale", "", VERIFY.format("smoke"))]

    assert missing_verifications(answer(*rules)) == [MissingVerification("smoke", again=True)]


@pytest.mark.parametrize(
    ("rule", "fix"),
    [
        ("failed", VERIFY.format("smoke")),
        ("frozen", "wait, or: deltareg channel unfreeze me/chat prod -m REASON"),
        ("missing", "ask somebody"),
        ("missing", 'deltareg verify "me/chat'),
        ("missing", "deltareg promote me/chat:v3 --channel prod"),
        ("missing", "rm -rf / ; deltareg verify x"),
    ],
)
def test_nothing_else_is(rule, fix):
    assert missing_verifications(answer((rule, "", fix))) == []


@pytest.mark.parametrize(
    ("fix", "wanted"),
    [
        ("deltareg verify me/chat:v3 --wait", MissingVerification("smoke")),
        ("deltareg verify me/chat:v3 --suite", MissingVerification("smoke")),
        ("deltareg verify me/chat:v3 --suite deep --again --wait", MissingVerification("deep", again=True)),
    ],
)
def test_a_command_is_read_as_the_command_line_reads_it(fix, wanted):
    assert missing_verifications(answer(("missing", "", fix))) == [wanted]
