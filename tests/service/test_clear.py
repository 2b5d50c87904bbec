"""The end of a quarantine: one person ends it, and never in the middle of a move."""

import threading
from contextlib import suppress

import pytest

from deltareg.db.channels import channels as queries
from deltareg.db.session import write
from deltareg.errors import NotFound
from deltareg.refs import LineRef
from deltareg.service.channels.channels import clear_quarantine
from deltareg.service.registry import Registry
from deltareg.store.memory import MemoryStore
from tests.service import rows

LINE = LineRef.parse("lab/x")


@pytest.mark.postgres
def test_of_two_that_clear_at_once_one_does(postgresql_engine):
    """Both were told that they had, and the second overwrote who had and why."""
    ada, delta, version = quarantined(postgresql_engine)
    registry, cleared = Registry(postgresql_engine, MemoryStore()), []

    def clear(reason):
        with suppress(NotFound):
            clear_quarantine(registry, ada, LINE, "prod", 1, reason=reason)
            cleared.append(reason)

    with write(postgresql_engine) as conn:  # as a move of the channel would, which is under way
        queries.channel_row(conn, delta, "prod", lock=True)
        threads = [threading.Thread(target=clear, args=[reason]) for reason in ("one", "two")]
        for thread in threads:
            thread.start()
        threads[0].join(0.3)
        assert cleared == []
    for thread in threads:
        thread.join()

    assert len(cleared) == 1
    with write(postgresql_engine) as conn:
        assert queries.standing_quarantine(conn, 1, version) is None


def quarantined(engine):
    """Insert a channel on which v1 is quarantined; give the caller, the line and the version."""
    ada = rows.caller(engine)
    rows.base(engine)
    delta = rows.line(engine, maker=ada)
    version = rows.version(engine, delta)
    with write(engine) as conn:
        queries.add_channel(conn, delta, "prod", policy={"suites": []})
        channel = next(iter(queries.channel_rows(conn, delta)))
        queries.advance(conn, channel.id, seen=0)
        revision = queries.add_revision(
            conn,
            channel_id=channel.id,
            number=1,
            kind="freeze",
            actor_id=ada.principal_id,
            reason="x",
            verdict_ids=[],
            break_glass=False,
        )
        queries.add_quarantine(conn, channel.id, version, revision_id=revision)
    return ada, delta, version
