"""Fixtures of the worker's tests, and the seeded bugs that show what these tests notice.

`DELTAREG_TEST_SEEDED_BUG` names a bug that is put into the worker for the whole run. Only
`test_power.py` sets it: it counts how many tests then fail.
"""

import json
import os

import pytest

from deltareg_verify.sandbox.zygote import Zygote
from tests.verify import finding, seeded_bugs


@pytest.fixture(scope="session", autouse=True)
def seeded_bug():
    """Put in the bug that the environment names, if any."""
    name = os.environ.get("DELTAREG_TEST_SEEDED_BUG", "")
    with pytest.MonkeyPatch.context() as patch:
        if name:
            seeded_bugs.BUGS[name](patch)
        yield


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory):
    """Keep fingerprints of bases for all tests of a run."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def zygote(nursery, tmp_path_factory):
    """Keep a zygote with torch for a module; it is forked, and imports nothing anew."""
    scratch = tmp_path_factory.mktemp("scratch")
    with Zygote(scratch, environment=os.environ) as made:
        with nursery.forking():
            described = {"device": "cpu", "scratch": str(scratch)}
            made.run(b"describe " + json.dumps(described).encode(), wall_s=60)
        yield made


@pytest.fixture
def find(local_registry, zygote, tmp_path):
    """Let a worker carry out runs that find something out, and give each as it ended."""
    return finding.finder(local_registry, zygote, tmp_path)
