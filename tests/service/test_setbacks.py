"""What was rolled back is told where its version is shown, and to who decides on a request."""

import pytest
import sqlalchemy as sa

from deltareg.client import Client
from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.errors import ApprovalDue
from deltareg.refs import LineRef, Ref
from deltareg.service.overview.channel import show_ledger
from deltareg.service.overview.line import show_line
from deltareg.service.overview.version import show_version_around
from deltareg.wire import TokenCreate
from tests.fixtures.registries import SAMPLES
from tests.service import rows

SAME = SAMPLES / "deltas" / "tinyllama" / "lora_v2"


@pytest.fixture
def copied(registry_server):
    """Serve the same bytes in two lines, roll one back, and ask for approval of the other."""
    maker = registry_server.line("lora", "lora_v2")
    maker.push(SAME, "other/copy", base="tinyllama")
    registry_server.verified("other/copy:v1")
    maker.rollback("team/lora", "prod", reason="it stutters")
    with write(registry_server.registry.engine) as conn:
        prods = sa.update(t.channels).where(t.channels.c.name == "prod")
        conn.execute(prods.values(policy={"suites": ["smoke"], "approvals": 1}))
    with pytest.raises(ApprovalDue):
        maker.promote("other/copy:v1", "prod")
    return registry_server


def test_the_same_bytes_in_another_line_were_rolled_back(copied):
    told = copied.client().requests.show(1).setbacks

    assert [(one.line, one.channel, one.version, one.reason) for one in told] == [
        ("team/lora", "prod", 2, "it stutters")
    ]


def test_a_line_that_somebody_may_not_read_is_not_told_of(copied):
    only = TokenCreate(principal="dan", scopes=["read", "approve"], namespaces=["other"])
    with Client(copied._config(copied.admin_token)) as admin:
        token = admin.tokens.create(only).token

    with Client(copied._config(token)) as dan:
        assert dan.requests.show(1).setbacks == []


@pytest.fixture
def often(registry_server):
    """Have a channel that 61 versions are kept away from, the second of its line the first."""
    registry_server.line("lora", "lora_v2").rollback("team/lora", "prod", reason="it stutters")
    with write(registry_server.registry.engine) as conn:
        first = conn.execute(sa.select(t.quarantines)).mappings().one()
        line = sa.select(t.channels.c.delta_id).where(t.channels.c.id == first["channel_id"])
        delta_id = conn.execute(line).scalar_one()
        for _ in range(60):
            same = {name: value for name, value in first.items() if name != "id"}
            conn.execute(sa.insert(t.quarantines).values(same | {"version_id": rows.add_version(conn, delta_id)}))
    return registry_server.registry


def test_a_channel_shows_the_newest_of_many_and_says_how_many_there_are(often):
    ledger = show_ledger(
        often, rows.caller(often.engine), LineRef("team", "lora"), "prod", at=None, cursor=None, limit=5
    )

    assert ledger.quarantined == list(range(62, 12, -1))
    assert ledger.now is not None
    assert ledger.now.quarantined == 61


def test_a_version_and_a_page_of_versions_show_their_own(often):
    line, caller = LineRef("team", "lora"), rows.caller(often.engine)

    told = [show_version_around(often, caller, Ref(line, version=number)).setbacks for number in (1, 2)]
    newest = show_line(often, caller, line, cursor=None, limit=20)
    older = show_line(often, caller, line, cursor=newest.versions.next_cursor, limit=20)

    assert [[each.version for each in setbacks] for setbacks in told] == [[], [2]]
    assert [each.version for each in newest.setbacks] == list(range(62, 42, -1))
    assert [each.version for each in older.setbacks] == list(range(42, 22, -1))
