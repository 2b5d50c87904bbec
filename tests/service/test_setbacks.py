"""What was rolled back is told where its version is shown, and to who decides on a request."""

import re

import pytest
import sqlalchemy as sa

from deltareg.client import Client
from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.errors import ApprovalDue
from deltareg.refs import LineRef, Ref
from deltareg.service.overview.line import show_line
from deltareg.service.overview.version import show_version_around
from deltareg.wire import TokenCreate
from tests.fixtures.registries import SAMPLES
from tests.pages.conftest import browser
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
    """Have a channel that 61 versions are kept away from, and 60 of these from another one as well."""
    registry_server.line("lora", "lora_v2").rollback("team/lora", "prod", reason="it stutters")
    with write(registry_server.registry.engine) as conn:
        first = conn.execute(sa.select(t.quarantines)).mappings().one()
        line = sa.select(t.channels.c.delta_id).where(t.channels.c.id == first["channel_id"])
        delta_id = conn.execute(line).scalar_one()
        dev = sa.select(t.channels.c.id).where(t.channels.c.delta_id == delta_id, t.channels.c.name == "dev")
        same = {name: value for name, value in first.items() if name != "id"}
        for _ in range(60):
            later = same | {"version_id": rows.add_version(conn, delta_id)}
            conn.execute(sa.insert(t.quarantines), [later, later | {"channel_id": conn.execute(dev).scalar_one()}])
    return registry_server


def test_a_channel_shows_the_newest_of_many_and_says_how_many_there_are(often):
    with browser(often, often.admin_token) as pages:
        text = pages.get("/ui/deltas/team/lora/channels/prod").text

    assert [int(number) for number in re.findall(r"Clear v(\d+)<", text)] == list(range(62, 12, -1))
    assert "The newest 50 of 61." in text
    assert "deltareg channel show team/lora prod" in text


def test_a_version_and_a_page_of_versions_show_their_own(often):
    registry, line = often.registry, LineRef("team", "lora")
    caller = rows.caller(registry.engine)

    told = [show_version_around(registry, caller, Ref(line, version=number)).setbacks for number in (1, 2)]
    newest = show_line(registry, caller, line, cursor=None, limit=40)
    older = show_line(registry, caller, line, cursor=newest.versions.next_cursor, limit=40)

    assert [[each.version for each in setbacks] for setbacks in told] == [[], [2]]
    assert [each.version for each in newest.setbacks] == [number for number in range(62, 22, -1) for _ in range(2)]
    assert [each.version for each in older.setbacks] == [number for number in range(22, 2, -1) for _ in range(2)] + [2]
