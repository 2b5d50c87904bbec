"""What lines may be narrowed by is counted anew when anything has changed, for each who asks."""

import pytest

from deltareg.client import Client
from deltareg.db.lines.deltas import LineFilter
from deltareg.service.access.tokens import authenticate
from deltareg.service.overview.deltas import look_for_lines
from deltareg.wire import TokenCreate
from tests.fixtures.registries import SAMPLES

LORA = SAMPLES / "deltas" / "tinyllama" / "lora_v2"


@pytest.fixture
def server(registry_server):
    registry_server.line("lora")
    return registry_server


def kinds(server, token):
    caller = authenticate(server.registry, token, request_id="")
    found = look_for_lines(server.registry, caller, only=LineFilter(), cursor=None, limit=10)
    return {one.value: one.lines for one in found.kinds}


def test_every_change_shows_at_once(server):
    client, seen = server.client(), []
    seen.append(kinds(server, server.admin_token))
    client.push(LORA, "other/copy", base="tinyllama")
    seen.append(kinds(server, server.admin_token))
    client.versions.delete("other/copy:v1")
    seen.append(kinds(server, server.admin_token))
    client.versions.restore("other/copy:v1")
    seen.append(kinds(server, server.admin_token))

    assert seen == [{"lora": 1}, {"lora": 2}, {"lora": 1}, {"lora": 2}]


def test_what_others_may_read_is_not_recalled_for_somebody_else(server):
    server.client().push(LORA, "other/copy", base="tinyllama")
    only = TokenCreate(principal="dan", scopes=["read"], namespaces=["other"])
    with Client(server._config(server.admin_token)) as admin:
        token = admin.tokens.create(only).token

    assert kinds(server, server.admin_token) == {"lora": 2}
    assert kinds(server, token) == {"lora": 1}
    assert kinds(server, server.admin_token) == {"lora": 2}
