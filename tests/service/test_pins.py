"""Whether a channel pins a version: asked of one by its own places, and of many by whole ledgers."""

from random import Random

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import read, write
from deltareg.db.sql.clock import now_us
from deltareg.db.upkeep.pins import PinWindow, is_pinned, pins
from deltareg.store.memory import MemoryStore
from tests.service import rows

DAY_US = 86_400 * 1_000_000
VERSIONS, CHANNELS, MOVES = 6, 3, 14


@pytest.mark.parametrize("seed", range(8))
def test_one_version_is_pinned_as_the_whole_ledgers_say(engine, seed):
    chance = Random(seed)
    maker, store = rows.caller(engine), MemoryStore()
    delta = rows.line(engine, maker=maker)
    made = [rows.push(engine, store, maker, delta, b"%d" % number) for number in range(VERSIONS)]
    with write(engine) as conn:
        for number in range(CHANNELS):
            add_channel(conn, chance, maker, delta, made, name=f"channel-{number}")
    answers = set()

    for window in (PinWindow(moves=5, us=30 * DAY_US), PinWindow(moves=1, us=0), PinWindow(moves=0, us=3 * DAY_US)):
        with read(engine) as conn:
            of_line = sa.select(t.versions.c.id).where(is_pinned(window, lines=sa.select(sa.literal(delta))))
            expected = set(conn.execute(of_line).scalars())
            assert {each for each in made if pins(conn, each, window=window)} == expected
        answers.add(len(expected))

    assert answers != {VERSIONS}


def add_channel(conn, chance, maker, delta, version_ids, *, name):
    """Make a channel with a ledger of moves and freezes, which took so long as chance has it."""
    policy = chance.choice([{}, {"rollback": {"revisions": chance.randint(0, 4), "days": chance.randint(0, 9)}}])
    made = sa.insert(t.channels).values(delta_id=delta, name=name, policy=policy)
    channel_id = conn.execute(made.returning(t.channels.c.id)).scalar_one()
    few = chance.sample(version_ids, chance.randint(1, len(version_ids)))
    served: list[int] = []
    kind = ""
    for number in range(1, MOVES + 1):
        if kind == "freeze":
            kind = "unfreeze"  # both serve on what was served
        else:
            kind = chance.choice(["promote", "rollback", "freeze"]) if served else "promote"
        if kind in {"promote", "rollback"}:
            served.append(chance.choice(few if kind == "promote" else served))
        digest = sa.select(t.versions.c.manifest_digest).where(t.versions.c.id == served[-1])
        conn.execute(sa.update(t.channels).where(t.channels.c.id == channel_id).values(revision=number))
        conn.execute(
            sa.insert(t.revisions).values(
                channel_id=channel_id,
                number=number,
                kind=kind,
                version_id=served[-1],
                digest=digest.scalar_subquery(),
                base_root=rows.BASE_ROOT,
                actor_id=maker.principal_id,
                reason="",
                verdict_ids=[],
                break_glass=False,
                created_at=now_us() - (MOVES - number) * DAY_US,
            )
        )
    if chance.random() < 0.2:
        conn.execute(sa.update(t.channels).where(t.channels.c.id == channel_id).values(deleted_at=now_us()))
