"""What a child says: bounded, strictly read, and worth nothing without its last line."""

import io
import json
import math
import subprocess
import sys

import pytest

from deltareg.errors import Inconclusive
from deltareg.wire import CheckResult
from deltareg_verify.messages.report import MOST_BYTES, ReportWriter, listen

PASS = CheckResult(name="effect", value=0.25, threshold=1e-6, verdict="pass", seconds=0.1)


def spoken(*results, ends=True):
    out = io.BytesIO()
    speaker = ReportWriter(out)
    for result in results:
        speaker.check(result)
    if ends:
        speaker.end(dtype="F32", sandbox="limits", environment={"torch": "2"})
    return out.getvalue()


def test_a_report_comes_through_as_it_was_said():
    report = listen(spoken(PASS, PASS))

    assert report.checks == (PASS, PASS)
    assert report.surroundings.environment == {"torch": "2"}
    assert report.surroundings.sandbox == "limits"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_become_words(value):
    report = listen(spoken(PASS.model_copy(update={"value": value})))

    assert report.checks[0].value == str(value)


def test_long_details_are_cut():
    report = listen(spoken(PASS.model_copy(update={"detail": "x" * 5_000})))

    assert len(report.checks[0].detail) == 1_000


def test_a_child_that_ends_without_its_last_line_has_said_nothing():
    with pytest.raises(Inconclusive, match="after check effect without a report"):
        listen(spoken(PASS, ends=False))


def test_a_silent_child_has_said_nothing():
    with pytest.raises(Inconclusive, match="before the first check"):
        listen(b"")


def test_a_child_that_gives_up_says_why():
    out = io.BytesIO()
    ReportWriter(out).give_up("not enough memory")

    with pytest.raises(Inconclusive, match="not enough memory"):
        listen(out.getvalue())


@pytest.mark.parametrize(
    "line",
    [
        b"not json",
        b"[]",
        b"{}",
        b'{"check": {"name": "a"}}',
        b'{"check": {"name": "a", "verdict": "splendid"}}',
        b'{"check": {"name": "a", "verdict": "pass", "value": NaN}}',
        b'{"check": {"name": "a", "verdict": "pass"}, "end": {}}',
        b'{"check": {"name": "a", "verdict": "fail", "verdict": "pass"}}',
        b'{"verdict": "pass"}',
        b'{"end": {"dtype": "F32", "sandbox": "", "environment": {"a": 1}}}',
        b'{"end": {"dtype": "F32", "sandbox": "", "environment": {}, "verdict": "pass"}}',
        b"\xff\xfe",
        b"{" * 100,
    ],
    ids=lambda line: line[:40].decode("latin-1"),
)
def test_nonsense_is_never_a_report(line):
    with pytest.raises(Inconclusive):
        listen(line + b"\n" + spoken(PASS))


def test_a_flood_is_not_read():
    line = json.dumps({"check": PASS.model_dump()}).encode() + b"\n"

    with pytest.raises(Inconclusive, match="more than a report may hold"):
        listen(line * (MOST_BYTES // len(line) + 1) + spoken(PASS))


def test_nothing_after_the_last_line_counts():
    later = PASS.model_copy(update={"name": "later"})

    assert listen(spoken(PASS) + spoken(later)).checks == (PASS,)


GREEDY = """
import resource, sys
from deltareg_verify.messages.report import ReportWriter
{before}
resource.setrlimit(resource.RLIMIT_DATA, (3 << 30, 3 << 30))
with ReportWriter(sys.stdout.buffer).giving_up():
    {takes}
"""
BY_TORCH = ("import torch", "torch.ones(8 << 30, dtype=torch.uint8)")


@pytest.mark.parametrize(
    ("before", "takes"), [("", "bytearray(8 << 30)"), pytest.param(*BY_TORCH, marks=pytest.mark.soak)]
)
def test_who_takes_more_memory_than_it_may_is_told_how_much_that_is(before, takes):
    program = GREEDY.format(before=before, takes=takes)
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    with pytest.raises(Inconclusive, match="it took the 3,221,225,472 bytes of memory of a run"):
        listen(run.stdout)
