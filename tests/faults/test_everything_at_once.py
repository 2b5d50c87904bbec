"""Everything at once, for as long as somebody says: nothing is lost, nothing is wrong, nothing stays stuck."""

import os
import shutil
import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.storms.calm import Calm
from tests.faults.storms.crowd import Crowd
from tests.faults.storms.journal import Journal
from tests.faults.storms.links import StoreLink
from tests.faults.storms.site import Site
from tests.faults.storms.storm import Storm
from tests.fixtures.processes import Processes

SECONDS = float(os.environ.get("DELTAREG_TEST_STORM_S", "180"))
SEED = int(os.environ.get("DELTAREG_TEST_SEED", "7"))


@pytest.mark.soak
@pytest.mark.postgres
@pytest.mark.s3
@pytest.mark.timeout(int(SECONDS) + 1_800)
def test_everything_at_once_loses_nothing(nursery, swift_endpoint, fresh_bucket, figures):
    folder = Path(tempfile.mkdtemp(prefix="deltareg-storm-"))  # stays where the test fails
    folder.chmod(0o755)  # PostgreSQL is somebody else
    ride_out(folder, nursery, swift_endpoint, fresh_bucket(), figures)
    shutil.rmtree(folder)


def ride_out(folder, nursery, endpoint, bucket, figures):
    forked, programs = Processes(folder), Processes(folder)
    forked.spawn = nursery.spawn
    try:
        with (
            closing(Journal(folder / "journal")) as journal,
            Site(forked, programs, endpoint, bucket, folder, seed=SEED) as site,
        ):
            with Crowd(site, journal, seed=SEED) as crowd, Storm(site, journal, seed=SEED) as storm:
                site.ended.wait(SECONDS)
            calm = Calm(site, crowd, journal)
            calm.look()
            tell(figures, site, crowd, storm, calm)
    finally:
        forked.end()
        programs.end()

    again = f"{folder}; again: DELTAREG_TEST_SEED={SEED} DELTAREG_TEST_STORM_S={SECONDS:.0f}"
    assert (calm.lost, calm.wrong, calm.stuck) == ([], [], []), again
    assert storm.failed == []
    assert set(storm.done) >= {"partition", "store", "failover", "disk", "kill"}


def tell(figures, site, crowd, storm, calm):
    figures(f"{SECONDS:.0f} s, acts", words(crowd.done))
    figures("failed as they may", words(crowd.failed))
    figures("faults", words(storm.done) + f"; {site.pair.failovers} failovers")
    figures("answers of the store", words(sum((Counter(link.counts) for link in stores(site)), Counter())))
    figures("started again", words({name: number for name, number in site.restarts.items() if number}))
    for name, seen in calm.seen.items():
        figures(name, str(seen))
    for text in [*calm.lost, *calm.wrong, *calm.stuck, *storm.failed]:
        figures("!", text[:1000])
    figures("lost, wrong, stuck", f"{len(calm.lost)}, {len(calm.wrong)}, {len(calm.stuck)}")


def stores(site):
    return [link for link in site.links.values() if isinstance(link, StoreLink)]


def words(counts):
    return ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
