"""Each pack counts for the oldest that needs it, and lines store what their versions do, whatever happens.

A model adds everything up from the rows of versions and shares alone; fsck's own count is held to it as well.
"""

import random
import threading
from collections import Counter
from functools import partial

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import read, write
from deltareg.db.storage import settling as queries
from deltareg.db.storage.settling import has_changes, next_changes
from deltareg.service.upkeep import settling
from deltareg.service.upkeep.counts import mend_counts, wrong_counts
from deltareg.service.upkeep.settling import settle_some_storage, settle_storage
from tests.service.stored_life import StoredLife, model_of, owners_of


def kept_of(engine):
    with read(engine) as conn:
        found = conn.execute(sa.select(t.line_storage)).mappings().all()
    lines = {(row["delta_id"], row["kind"]): +Counter({name: row[name] for name in t.STORAGE_FIGURES}) for row in found}
    return {line: figures for line, figures in lines.items() if figures}


def check(engine):
    owners, lines = model_of(engine)
    assert owners_of(engine) == owners
    assert kept_of(engine) == lines
    assert [one for one in wrong_counts(engine) if "storage" in one.detail] == []


@pytest.mark.parametrize("seed", range(4))
def test_what_is_kept_is_what_a_model_adds_up_after_any_history(engine, monkeypatch, seed):
    monkeypatch.setattr(settling, "_BATCH", 3)  # histories end in the middle of a batch
    rng, life = random.Random(seed), StoredLife(engine)
    needs = [life.pack(100 + number) for number in range(6)]

    for _ in range(40):
        live_on(life, rng, rng.sample(needs, rng.randint(0, 3)))
        if rng.random() < 0.2:
            settle_some_storage(engine)

    settle_storage(engine)

    check(engine)


def live_on(life, rng, needs):
    """Do one thing of all that can be done now."""
    can = [
        *[partial(life.push, line, needs) for line in life.lines] * 4,
        *[partial(life.store_base, needs)] * 2,
        *(partial(life.drop_base, base_id) for base_id in life.bases),
        *(partial(life.delete, version_id) for version_id in life.live),
        *(partial(life.restore, version_id) for version_id in life.deleted),
        *(partial(life.take_form, version_id, needs) for version_id in life.live),
        *(partial(life.fold, version_id, needs) for version_id in life.live),
    ]
    rng.choice(can)()


def test_an_older_holder_takes_a_pack_from_a_younger_one(engine):
    life = StoredLife(engine)
    needs = [life.pack()]
    older, younger = life.push(life.lines[0], needs), life.push(life.lines[1], needs)
    life.delete(older)
    settle_storage(engine)
    before = owners_of(engine)

    life.restore(older)
    settle_storage(engine)

    pack = needs[0][0]
    assert before == {(0, older, pack): None, (0, younger, pack): True}
    assert owners_of(engine) == {(0, older, pack): True, (0, younger, pack): False}
    check(engine)


def test_what_is_pushed_and_deleted_while_others_settle_is_counted_once(engine):
    life = StoredLife(engine, lines=3)
    needs = [life.pack(), life.pack()]
    failed = []

    def live(line):
        try:
            for _ in range(8):
                version_id = life.push(line, needs)
                settle_some_storage(engine)
                life.delete(version_id)
                settle_some_storage(engine)
                life.push(line, needs)
        except Exception as error:  # told by the assertion below
            failed.append(error)
            raise

    threads = [threading.Thread(target=live, args=(line,)) for line in life.lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    settle_storage(engine)

    assert failed == []
    check(engine)


def test_what_was_settled_wrongly_is_found_and_mended(engine):
    life = StoredLife(engine)
    needs = [life.pack()]
    life.push(life.lines[0], needs)
    life.push(life.lines[1], needs)
    life.store_base([life.pack()])
    settle_storage(engine)
    with write(engine) as conn:
        conn.execute(sa.update(t.version_shares).values(is_owner=True))
        conn.execute(sa.update(t.base_shares).values(is_owner=False))
        conn.execute(sa.delete(t.line_storage).where(t.line_storage.c.delta_id == life.lines[0]))

    found = [(one.holder, one.detail) for one in wrong_counts(engine) if "storage" in one.detail]
    mend_counts(engine)

    bytes_differ = "storage counts other bytes than its versions have"
    assert found == [
        ("lab/l0", bytes_differ),
        ("lab/l1", bytes_differ),
        ("bases", "storage counts 1 of their packs for the wrong one"),
    ]
    check(engine)


def test_changes_of_one_that_dies_are_taken_up_by_the_next(engine, monkeypatch):
    life = StoredLife(engine)
    life.push(life.lines[0], [life.pack()])
    with read(engine) as conn:
        before = next_changes(conn, limit=9)

    def die(*_):
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(queries, "drop_changes", die)
        with pytest.raises(RuntimeError, match="killed"):
            settle_some_storage(engine)
    with read(engine) as conn:
        left = next_changes(conn, limit=9)

    assert left == before != []
    assert settle_some_storage(engine) == len(before)
    with read(engine) as conn:
        assert not has_changes(conn)
    check(engine)


def test_a_pack_that_many_need_is_settled_by_its_owner_alone(engine):
    life = StoredLife(engine)
    needs = [life.pack()]
    for _ in range(30):
        life.push(life.lines[0], needs)
    settle_storage(engine)
    life.push(life.lines[1], needs)

    with write(engine) as conn:
        sought = queries.sought_shares(conn, {pack for pack, _ in needs})

    assert [share.is_owner for share in sought] == [True, None]
