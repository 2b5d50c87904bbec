"""The tests' own power: a worker that answers pass makes many of them fail.

Each run puts one mistake of `seeded_bugs.py` into the worker, in a process of its own.
"""

import os
import re
import subprocess
import sys

import pytest

from tests.verify.seeded_bugs import BUGS

AT_LEAST = 10
NOTICING = {
    "always_pass": ["test_verdict.py"],
    "answer_pass": ["test_worker.py"],
    "optimist": ["test_verdict.py", "test_worker.py"],
}
QUICK = "not outage and not misbehaves"  # those wait: for the server, for a budget to run out


@pytest.fixture(autouse=True)
def forked_runs(nursery):
    """Have the runs forked: each would import torch."""
    with nursery.forking(runs_tests=True):
        yield


def run_with(bug, repository, files):
    """Run some tests with a mistake in the worker, until enough fail; gives failed and passed."""
    paths = [str(repository / "tests" / "verify" / name) for name in files]
    environment = {**os.environ, "DELTAREG_TEST_SEEDED_BUG": bug}
    options = ["-q", "-p", "no:cacheprovider", "--tb=no", "-k", QUICK, f"--maxfail={AT_LEAST}"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *paths],
        env=environment,
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (failed|passed|error)", run.stdout)}
    assert "error" not in counts, run.stdout[-2_000:]
    return counts.get("failed", 0), counts.get("passed", 0)


def test_every_mistake_is_tried():
    assert set(NOTICING) == set(BUGS)


@pytest.mark.soak
@pytest.mark.parametrize("bug", NOTICING)
def test_a_worker_that_answers_pass_is_noticed(bug, repository):
    failed, _ = run_with(bug, repository, NOTICING[bug])

    assert failed >= AT_LEAST


@pytest.mark.soak
def test_without_a_mistake_the_same_tests_pass(repository):
    failed, passed = run_with("", repository, ["test_verdict.py"])

    assert (failed, passed > AT_LEAST) == (0, True)
