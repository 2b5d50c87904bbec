"""Two requests that make the same name on PostgreSQL at one moment: each is answered by the rules."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from deltareg.db.session import as_writer, read
from deltareg.db.tables import principals
from tests.signers import key_of

pytestmark = pytest.mark.postgres

TOKEN = {"principal": "team-ci", "kind": "ci", "scopes": ["read"], "acts_for": "ada"}
TRUST = {
    "provider": "github",
    "audience": "https://registry.example",
    "namespace": "team",
    "scopes": ["push"],
    "principal": "team-ci",
    "source_id": "1",
    "owner_id": "2",
    "ref": "refs/heads/main",
}
KEY = {"name": "gpu-1", "key": str(key_of("gpu-1").public), "host": "rack"}


@pytest.mark.parametrize(
    ("path", "body", "name", "kind", "status"),
    [
        ("/tokens", TOKEN, "team-ci", "service", 201),
        ("/tokens", TOKEN, "team-ci", "user", 409),
        ("/tokens", TOKEN, "team-ci", "group", 422),
        ("/trusts", TRUST, "team-ci", "service", 201),
        ("/trusts", TRUST, "team-ci", "user", 409),
        ("/keys", KEY, "gpu-1", "worker", 201),
        ("/keys", KEY, "gpu-1", "user", 409),
    ],
)
def test_who_waits_for_the_same_name_sees_what_the_other_wrote(postgresql_registry, path, body, name, kind, status):
    http = postgresql_registry.http(postgresql_registry.token("read", "push", "promote", "admin"))
    assert http.post("/namespaces", json={"name": "team"}).status_code == 201
    engine = postgresql_registry.registry.engine

    with ThreadPoolExecutor(1) as pool, engine.connect() as rival:
        as_writer(rival)
        with rival.begin():
            rival.execute(sa.insert(principals).values(name=name, kind=kind))
            waiting = pool.submit(http.post, path, json=body)
            until_it_waits(engine, waiting)
        answer = waiting.result()

    assert answer.status_code == status, answer.text
    if status != 201:
        assert answer.json()["fix"]


@pytest.mark.parametrize(("path", "body"), [("/tokens", TOKEN), ("/trusts", TRUST), ("/keys", KEY)])
def test_many_that_make_the_same_at_once_get_no_error_of_the_server(postgresql_registry, path, body):
    http = postgresql_registry.http(postgresql_registry.token("read", "push", "promote", "admin"))
    assert http.post("/namespaces", json={"name": "team"}).status_code == 201

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: http.post(path, json=body), range(8)))

    assert {answer.status_code for answer in answers} == {201}


def until_it_waits(engine, request):
    """Wait until a connection waits for a lock that another one holds."""
    waiting = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    for _ in range(100_000):
        with read(engine) as conn:
            if conn.execute(waiting).scalar_one():
                return
        assert not request.done(), request.result().text
    raise AssertionError("nobody waits")
