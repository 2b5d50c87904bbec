"""A name is one principal's, of one kind: what is made for a service never reaches a person of the name."""

import pytest

from deltareg.db.access.grants import holdings_of
from deltareg.db.access.principals import add_principal, live_tokens, principal_row
from deltareg.db.session import read, write
from deltareg.db.sql.row_protocols import present
from deltareg.errors import Conflict
from deltareg.service.access.tokens import KINDS, bootstrap_token
from tests.signers import key_of

NAME = "release-bot"
TOKEN = {"principal": NAME, "scopes": ["read", "push"], "everywhere": True}
TRUST = {
    "provider": "github",
    "audience": "https://registry.example",
    "namespace": "team",
    "scopes": ["push"],
    "principal": NAME,
    "source_id": "1",
    "owner_id": "2",
    "ref": "refs/heads/main",
}
WAYS = {
    "a token of a person": ("user", "/tokens", {**TOKEN, "kind": "pat"}),
    "a token of a script": ("service", "/tokens", {**TOKEN, "kind": "ci", "acts_for": "ada"}),
    "a token of a worker": ("worker", "/tokens", {**TOKEN, "kind": "wrk", "scopes": ["read", "verify"]}),
    "a trust in a workflow": ("service", "/trusts", TRUST),
    "a key of a worker": ("worker", "/keys", {"name": NAME, "key": str(key_of(NAME).public), "host": "rack"}),
    "a group": ("group", "/groups", {"name": NAME}),
    "a service of a file": ("service", "/access:apply", {"document": {"services": {NAME: {"owner": "ada"}}}}),
    "a group of a file": ("group", "/access:apply", {"document": {"groups": {NAME: {"members": []}}}}),
}
CLASHES = [(way, kind) for way, (own, _, _) in WAYS.items() for kind in ("user", "service", "worker") if kind != own]


@pytest.fixture
def registry_server(both_databases):
    """Run a fresh registry on each of both databases."""
    return both_databases


@pytest.mark.parametrize(("way", "kind"), CLASHES)
def test_what_is_made_for_one_kind_is_refused_for_a_principal_of_another(registry_server, way, kind):
    _, path, body = WAYS[way]
    admin = registry_server.http(registry_server.token("read", "push", "admin"))
    assert admin.post("/namespaces", json={"name": "team"}).status_code == 201
    with write(registry_server.registry.engine) as conn:
        add_principal(conn, NAME, kind=kind)

    answer = admin.post(path, json=body)

    assert answer.status_code == 409, answer.text
    assert f"{NAME} is" in answer.json()["detail"]
    assert answer.json()["fix"]
    with read(registry_server.registry.engine) as conn:
        row = present(principal_row(conn, NAME))
        assert (row.kind, holdings_of(conn, row.id), list(live_tokens(conn, [row.id]))) == (kind, "", [])


@pytest.mark.parametrize("way", WAYS)
def test_what_is_made_for_the_same_kind_is_taken(registry_server, way):
    kind, path, body = WAYS[way]
    admin = registry_server.http(registry_server.token("read", "push", "admin"))
    assert admin.post("/namespaces", json={"name": "team"}).status_code == 201
    with write(registry_server.registry.engine) as conn:
        add_principal(conn, NAME, kind=kind)

    answer = admin.post(path, json=body)

    assert answer.is_success, answer.text


@pytest.mark.parametrize("token_kind", KINDS)
def test_a_token_that_is_made_on_the_host_is_of_the_kind_of_its_principal(registry_server, token_kind):
    registry = registry_server.registry
    kinds = {"user", "service", "worker"} - {KINDS[token_kind]}
    with write(registry.engine) as conn:
        for kind in kinds:
            add_principal(conn, f"a-{kind}", kind=kind)

    for kind in kinds:
        with pytest.raises(Conflict, match=f"a-{kind} is a {kind}"):
            bootstrap_token(registry, principal=f"a-{kind}", kind=token_kind, scopes=["read"])
