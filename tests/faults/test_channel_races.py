"""Channels moved by many at once, who are killed at it: every history is linearizable.

`make test` plays a few on PostgreSQL, until one has a kill that came after the move took effect;
`make soak` plays 5,000 on each database.
"""

import json
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.channel_mutants import BUGS

SEED = int(os.environ.get("DELTAREG_TEST_SEED", "7"))
HISTORIES, AT_MOST, SOAKED, ROUNDS = 3, 40, 250, 10
# Every kind of kill comes early in the histories of this seed.
RICH = SEED + 4
# One bug is shown always, and in the soak all on both databases; a lost update where writers do not
# wait for each other.
SHOWN = {bug: "postgresql" if bug == "lost update" else "sqlite" for bug in sorted(BUGS)}
PAIRS = [
    pytest.param(bug, where, marks=[] if bug == "lost update" and shown == where else pytest.mark.soak)
    for bug, shown in SHOWN.items()
    for where in ("sqlite", "postgresql")
]
# So many histories are enough for each bug to show, by far: most do in the first.
ENOUGH = 80


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_moves_under_kills_are_linearizable(processes, database_url, figures):
    found = race(processes, database_url, "--count", HISTORIES, "--at-most", AT_MOST, "--seed", RICH)

    tell(figures, found)
    assert len(found) >= HISTORIES
    assert [one for one in found if one["wrong"]] == [], f"seed {RICH}"
    assert sum(one["unknown"] for one in found) > len(found) / 4
    assert sum(one["took_effect"] for one in found) > 0


@pytest.mark.soak
@pytest.mark.parametrize("round_", range(ROUNDS))
def test_five_thousand_histories_are_linearizable(processes, database_url, figures, round_):
    found = race(processes, database_url, "--count", SOAKED, "--seed", SEED + 1 + round_)

    tell(figures, found)
    assert len(found) == SOAKED
    assert [one for one in found if one["wrong"]] == [], f"seed {SEED + 1 + round_}"


@pytest.mark.slow
@pytest.mark.parametrize(("bug", "database_url"), PAIRS, indirect=["database_url"])
def test_bugs_are_found_out(processes, database_url, figures, bug):
    """The harness has teeth: by the order of the answers alone, whatever the books say."""
    found = race(processes, database_url, "--count", ENOUGH, "--bug", bug)

    figures(bug, f"found out by history {len(found)}: {found[-1]['wrong'][0][:120]}")
    assert not found[-1]["is_linearizable"]


def race(processes, database_url, *options):
    """Play histories in a process of their own, and give what it tells of each."""
    repository = Path(__file__).parents[2]
    command = (sys.executable, "-m", "tests.faults.channel_race", database_url, "--seed", SEED)
    environ = processes.environ("race", PYTHONPATH=str(repository))
    running = processes.start("race", *map(str, (*command, *options)), environ=environ)
    assert running.wait(1_200) == 0, running.errors
    assert running.errors == ""
    return [json.loads(line) for line in running.output.splitlines()]


def tell(figures, found):
    total = {
        name: sum(one[name] for one in found)
        for name in ("operations", "revisions", "overlapping", "unknown", "took_effect")
    }
    kills = Counter(point for one in found for point in one["kills"])
    figures("histories", f"{len(found)}, violations {sum(bool(one['wrong']) for one in found)}")
    figures(
        "operations",
        f"{total['operations']}, of them {total['overlapping']} moves beside another's move;"
        f" {total['revisions']} revisions",
    )
    points = ", ".join(f"{count} {point}" for point, count in sorted(kills.items()))
    figures("kills", f"{sum(kills.values())} ({points})")
    figures("unknown", f"{total['unknown']}, of which {total['took_effect']} took effect")
