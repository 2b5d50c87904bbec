"""SIGKILL on `deltareg push`, the API server and a worker, over real HTTP.

`make test` forks them from a nursery; `make soak` starts them as they are installed.
"""

import os
import sys
from pathlib import Path

import pytest

from tests.faults.aftermath import settle
from tests.faults.kills import KillHarness
from tests.faults.payloads import objects

SEED = int(os.environ.get("DELTAREG_TEST_SEED", "7"))
KILLS = 3  # one of each victim; the soak's thousand has the figure
MUTANT = (sys.executable, str(Path(__file__).with_name("mutant.py")))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kills_lose_nothing(processes, database_url, figures):
    server = processes.api(database_url=database_url, lease_s=2)

    with KillHarness(processes, server, database_url, seed=SEED) as harness:
        harness.run(KILLS)
        found = settle(harness)

    tell(figures, harness, found)
    assert harness.violations == [], replay(harness)
    assert harness.between() >= len(harness.kills) / 5, harness.histogram()


@pytest.mark.soak
@pytest.mark.parametrize("round_", range(10))
def test_a_thousand_kills_lose_nothing(programs, database_url, figures, round_):
    server = programs.api(database_url=database_url, lease_s=2)

    with KillHarness(programs, server, database_url, seed=SEED + 1 + round_) as harness:
        harness.run(100)
        found = settle(harness)

    tell(figures, harness, found)
    assert harness.violations == [], replay(harness)
    assert harness.between() >= len(harness.kills) / 5, harness.histogram()


@pytest.mark.soak
def test_rows_committed_before_their_bytes_are_found_out(processes, sqlite_url, figures):
    """The harness has teeth: it finds a server that acknowledges what it has not stored."""
    server = processes.api(database_url=sqlite_url, command=(*MUTANT, "rows-first", "run"), lease_s=2)

    with KillHarness(processes, server, sqlite_url, seed=SEED) as harness:
        harness.run(30, victims=("server",), is_enough=lambda seen: seen.violations)

    figures("found", f"by kill {len(harness.kills)}: {harness.violations[:1]}")
    assert any("half-visible" in text for text in harness.violations), replay(harness)


@pytest.mark.soak
def test_bytes_written_before_their_row_are_found_out(processes, sqlite_url, figures):
    """It finds what no collection can, too: only a kill between the two leaves such an object."""
    command = (*MUTANT, "bytes-first", "run")
    server = processes.api(database_url=sqlite_url, command=command, lease_s=2)

    with KillHarness(processes, server, sqlite_url, seed=SEED) as harness:
        harness.run(40, victims=("server",), is_enough=has_nameless_objects)
        settle(harness)

    figures("found", f"after {len(harness.kills)} kills: {len(harness.violations)} violations")
    assert any("left over after collection" in text for text in harness.violations), replay(harness)


def has_nameless_objects(harness):
    """Tell whether a kill has left what the end must find: an object of which no row knows."""
    return bool(objects(harness.server.blobs) - harness.ledger.known_keys())


def tell(figures, harness, found):
    count, between = len(harness.kills), harness.between()
    figures("kills", f"{count}, {between} of them between first byte and commit")
    figures("after them", f"{found.versions} versions, runs {found.runs}")
    figures("collected", f"{found.freed} objects, {found.left} of them left by kills")
    for line in harness.histogram():
        figures("histogram", line)


def replay(harness):
    name = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0]
    again = f"DELTAREG_TEST_SEED={SEED} python -m pytest -m '' '{name}'"
    return "\n".join([f"seed {harness.seed}; again: {again}", *map(str, harness.kills)])
