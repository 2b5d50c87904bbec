"""`suite lint`: suites that read well and judge nothing, or ask for what cannot be shown."""

import numpy as np
import pytest

from deltareg.suites.lint import lint
from deltareg.suites.probe_set import Samples
from deltareg.suites.suite import read_suite

SMOKE = [
    "digests",
    "accounting",
    "finite",
    "norm_ratio",
    "idle",
    "overflow",
    "spectral",
    "effect",
    "exercised",
    "attached_equals_folded",
    "reloads",
    "library_agrees",
    "golden",
    "deterministic",
]


def suite(checks, sets=""):
    lines = "".join(f"  - {check}\n" for check in checks)
    return read_suite(f"name: mine\n{sets}checks:\n{lines}".encode())


def samples(count, label=0):
    texts = tuple(f"text number {n} of {count}" for n in range(count))
    return Samples(texts, labels=np.full(count, label, np.int64))


def kept(margin, check="accuracy", term="min_absolute_change"):
    better = "" if check == "accuracy" else ", greater_is_better: false"
    return f"{{check: {check}, probes: own, threshold: {{{term}: {margin}{better}}}}}"


OWN = "sets: {own: {file: own.jsonl}}\n"


def messages(found, severity):
    return [f"{one.where}: {one.message}" for one in found if one.severity == severity]


def test_a_suite_in_which_nothing_can_fail_is_refused():
    found = lint(suite(["resources", "memory"]), {})
    optional = lint(suite(["{check: finite, required: false}"]), {})

    assert "no check can fail" in messages(found, "error")[0]
    assert "no check that can fail is required" in messages(optional, "error")[0]


def test_checks_of_smoke_that_are_missing_are_named():
    found = messages(lint(suite(["digests", "finite"]), {}), "warning")

    assert "accounting" in found[0]
    assert "golden" in found[0]
    assert "digests" not in found[0]


def test_a_margin_that_no_outcome_could_show_is_refused():
    found = lint(suite([*SMOKE, kept(-0.01)], OWN), {"own": samples(60)})
    enough = lint(suite([*SMOKE, kept(-0.01)], OWN), {"own": samples(5_000)})

    assert messages(found, "error") == [
        "accuracy: a margin of 1 point on 60 samples can never be shown, not even of two versions that agree"
    ]
    assert "bring 4" in found[0].fix or "bring 3" in found[0].fix
    assert messages(enough, "error") == []


@pytest.mark.parametrize(
    ("check", "term"), [("accuracy", "min_absolute_change"), ("perplexity", "min_relative_change")]
)
def test_a_margin_that_samples_show_too_seldom_is_warned_of(check, term):
    few = lint(suite([*SMOKE, kept(-0.05, check, term)], OWN), {"own": samples(24)})
    many = lint(suite([*SMOKE, kept(-0.05, check, term)], OWN), {"own": samples(600)})

    told = messages(few, "warning") + messages(few, "error")
    assert any("a margin of 5 " in one for one in told)
    assert not any("a margin of" in one for one in messages(many, "warning"))


def test_samples_that_are_there_twice_are_refused_and_shared_ones_warned_of():
    twice = Samples((*samples(30).texts, "Text number 3 of 30!"))
    sets = "sets: {own: {file: own.jsonl}, other: {file: other.jsonl}}\n"

    found = lint(suite([*SMOKE, kept(0.1)], sets), {"own": twice, "other": samples(30)})

    assert any("1 of 31 samples are there twice" in one for one in messages(found, "error"))
    assert any("shares samples with own" in one for one in messages(found, "warning"))
    assert any("other: no check runs on this set" in one for one in messages(found, "warning"))


def test_a_check_without_a_threshold_is_warned_of():
    found = lint(suite([*SMOKE, "{check: accuracy, probes: own}"], OWN), {"own": samples(30)})

    assert "accuracy: measures and never fails: it has no threshold" in messages(found, "warning")


def test_pictures_that_are_there_twice_are_found():
    pixels = np.zeros((24, 2, 2), np.float32)
    pixels[:, 0, 0] = np.arange(24)
    pixels[5] = pixels[7]
    given = Samples(arrays={"pixel_values": pixels}, labels=np.zeros(24, np.int64))
    sets = "sets: {own: {file: own.safetensors}}\n"

    found = lint(suite([*SMOKE, kept(0.1)], sets), {"own": given})

    assert any("1 of 24 samples are there twice" in one for one in messages(found, "error"))
