"""What was rolled back is told to who decides on a request, also of the same bytes elsewhere."""

import pytest
import sqlalchemy as sa

from deltareg.client import Client
from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.errors import ApprovalDue
from deltareg.wire import TokenCreate
from tests.fixtures.registries import SAMPLES

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
