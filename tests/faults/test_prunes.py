"""Pruning that is killed anywhere, alone and beside backups that are killed as well."""

import random
import shutil
import sys
import threading
import time
from uuid import uuid4

import pytest

from deltareg.digest import sha256_of
from deltareg.service.backup.archive import Archive
from deltareg.service.backup.manifest import sign_manifest
from deltareg.service.backup.place_hold import while_taking
from deltareg.service.backup.verify import verify_backup
from deltareg.signing.age_keys import AgeKeys
from deltareg.signing.keys import SigningKey
from deltareg.store import fresh_key, open_store
from tests.faults.backup_drill import BackupDrill

DAY_US = 86_400_000_000
KEY = SigningKey.of_seed(b"b" * 32)
KILLS, LEFTOVERS = 6, 1_500
ROUNDS = 15


def quiet(_line):
    pass


def make_old(store, *, is_newest):
    """Make backups older by two days, as if that time had passed; the newest one only where it is said."""
    archive = Archive(store)
    backups = archive.all()
    for name, one in backups if is_newest else backups[:-1]:
        aged = one.model_copy(update={"taken_us": one.taken_us - 2 * DAY_US, "signed_by": str(KEY.public)})
        archive.add_manifest(aged, sign_manifest(aged, KEY))
        store.delete(name)


def verify_all(store):
    """Read all backups that are there; give the newest."""
    archive = Archive(store)
    backups = [one for _, one in archive.all()]
    for one in backups:
        verify_backup(archive, one, quiet)
    return backups[-1].name


def clear_holds(store):
    """As their lease would."""
    for what in (b"backup", b"prune"):
        for key, _ in store.keys(f"blobs/{sha256_of(what).hex}/"):
            store.delete(key)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_killed_run_leaves_what_is_kept_and_the_next_ends_the_work(processes, sqlite_url, figures, tmp_path):
    server = processes.api(database_url=sqlite_url).start()
    seed = random.Random(5)
    with BackupDrill(processes, server, tmp_path, database_url=sqlite_url, seed=5) as drill:
        for _ in range(3):
            drill.back_up(0)
            make_old(drill.store, is_newest=False)
    server.stop()
    for _ in range(LEFTOVERS):
        drill.store.write(fresh_key(sha256_of(uuid4().bytes), attempt=AgeKeys().mark), [b"x"])
    newest = verify_all(drill.store)
    halves, whole = [], 0

    for number in range(KILLS):
        copy = tmp_path / f"copy-{number}"
        shutil.copytree(drill.place, copy)
        store = open_store(copy.as_uri())
        whole = len(dict(store.keys()))
        prune_command = (sys.executable, "-m", "deltareg.api", "prune-backups", "--from", str(copy), "--keep-days", "1")
        left = whole - seed.randrange(1, LEFTOVERS)
        running = processes.start("prune", *prune_command, environ=drill.environ)
        while running.status is None and len(list((copy / "blobs").iterdir())) > left:
            time.sleep(0.001)
        if running.kill():
            halves.append(whole - len(dict(store.keys())))
        clear_holds(store)
        kept = [one for _, one in Archive(store).all() if one.name == newest]
        verify_backup(Archive(store), kept[0], quiet)

        again = processes.start("prune", *prune_command, environ=drill.environ)
        assert again.wait() == 0, again.errors
        assert verify_all(store) == newest
        assert len(Archive(store).all()) == 1
        assert len(dict(store.keys())) < whole - LEFTOVERS

    figures("prune", f"{len(halves)} killed, after {sorted(halves)} of {whole} objects were gone")
    assert len(halves) > KILLS // 2
    assert drill.problems == []


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_backups_beside_pruning_are_whole_wherever_both_are_killed(processes, sqlite_url, figures, tmp_path):
    server = processes.api(database_url=sqlite_url).start()
    ended, seed, turns = threading.Event(), random.Random(7), []

    with BackupDrill(processes, server, tmp_path, database_url=sqlite_url, seed=7) as drill:

        def prune_on():
            while not ended.is_set():
                with while_taking(drill.store, quiet):
                    make_old(drill.store, is_newest=bool(seed.getrandbits(1)))
                drill.prune(is_killed=seed.random() < 0.5)
                turns.append(1)

        known = drill.back_up(0)
        pruner = threading.Thread(target=prune_on)
        pruner.start()
        try:
            for _ in range(ROUNDS):
                known = drill.back_up(seed.randrange(3))
        finally:
            ended.set()
            pruner.join()
        verify_all(drill.store)
        again = drill.restore("host", f"sqlite:///{tmp_path / 'host.db'}", kills=1).start()
        with again.client(tmp_path / "cache", token=server.token) as client:
            drill.compare(client, known, tmp_path / "pulled")
        again.stop()

    figures("prune", f"{drill.kills} kills, {len(turns)} prunes beside {ROUNDS} backups that ended")
    assert drill.problems == []
    assert drill.kills["prune-backups"] > 0
    assert drill.kills["backup"] > 0
