"""Backups that are killed anywhere beside pushes and collections, and restored on another host."""

import pytest
import sqlalchemy as sa

from deltareg.db.session import create_engine
from deltareg.service.upkeep.fsck import check
from deltareg.store import open_store
from tests.faults.backup_drill import BackupDrill

ROUNDS, KILLS = 5, 10


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_fifty_kills_lose_nothing_that_was_acknowledged(processes, database_url, figures, tmp_path, request):
    kind = sa.make_url(database_url).get_backend_name()
    server = processes.api(database_url=database_url).start()

    with BackupDrill(processes, server, tmp_path, database_url=database_url, seed=11) as drill:
        known = {}
        for round_ in range(ROUNDS):
            known = drill.back_up(KILLS)
            url = f"sqlite:///{tmp_path / f'host-{round_}.db'}"
            if kind == "postgresql" and round_ == ROUNDS - 1:
                url = request.getfixturevalue("empty_postgresql_url")
            again = drill.restore(f"host-{round_}", url, kills=2)
            engine = create_engine(url)
            found = check(engine, open_store(again.blobs.as_uri()), read_data=True).findings
            engine.dispose()
            again.start()
            with again.client(tmp_path / f"cache-{round_}", token=server.token) as client:
                drill.compare(client, known, tmp_path / f"pulled-{round_}")
            again.stop()
            drill.problems += [f"fsck: {one}" for one in found]

    figures("backups", f"{drill.kills} kills, {len(known)} versions compared in the last of {ROUNDS} rounds")
    figures("beside", f"{len(drill.acknowledged)} pushes, {drill.collections} collections, {drill.freed} objects freed")
    assert drill.problems == []
    assert drill.kills["backup"] >= ROUNDS * KILLS * 0.7
    assert drill.freed > 0
    assert len(known) > 0
