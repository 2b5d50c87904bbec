"""Who pulled a version and when last: counted once an hour, written later, named only to some."""

import time

import pytest

from deltareg.api.noting import noting
from deltareg.db.lines.pulls import APART_US, add_pulls
from deltareg.db.session import create_engine, read, with_retry
from deltareg.db.tables import pulls
from deltareg.errors import Misconfigured, NotFound
from deltareg.service.pull_notes import HOUR_S, PullNotes
from deltareg.wire import TokenCreate

V1 = "team/lora:v1"


@pytest.fixture
def line(registry_server):
    """Push a version."""
    return registry_server.line("lora")


def test_a_pull_is_counted_with_who_and_when(line, registry_server, tmp_path):
    assert line.versions.pulls(V1).to_dict() == {"pulls": 0, "pullers": 0, "last_at": None, "by": []}
    ci = registry_server.client(["read"], principal="ci")

    ci.pull(V1, tmp_path / "a")
    again = registry_server.client(["read"], principal="ci")
    again.pull(V1, tmp_path / "b")

    seen = line.versions.pulls(V1)
    assert (seen.pulls, seen.pullers) == (1, 1), "two pulls within an hour count as one"
    assert [each.principal for each in seen.by] == ["ci"]
    assert seen.by[0].last_at == seen.last_at


def test_looking_at_a_version_is_no_pull(line, registry_server):
    reader = registry_server.client(["read"], principal="looker")
    reader.show(V1)
    reader.versions.lineage(V1)

    assert line.versions.pulls(V1).pulls == 0


def test_readers_see_how_many_and_not_who(line, registry_server, tmp_path):
    registry_server.client(["read"], principal="ci").pull(V1, tmp_path / "a")
    outsider = registry_server.client(["read"], principal="eve")

    seen = outsider.versions.pulls(V1)
    assert (seen.pulls, seen.pullers, seen.by) == (1, 1, [])
    outsider.pull(V1, tmp_path / "b")
    assert [each.principal for each in outsider.versions.pulls(V1).by] == ["eve"], "their own they see"


def test_who_may_not_read_a_version_learns_nothing_of_its_pulls(line, registry_server, tmp_path):
    registry_server.client(["read"], principal="ci").pull(V1, tmp_path / "a")
    line.namespaces.change("team", visibility="private")
    wanted = TokenCreate(principal="outsider", scopes=["read"], everywhere=False)
    token = registry_server.client(principal="root").tokens.create(wanted).token
    outsider = registry_server._client(token, ["read"], "outsider", "pat")

    with pytest.raises(NotFound):
        outsider.versions.pulls(V1)
    assert registry_server.http(token).get("/deltas/team/lora/versions/1/pulls").status_code == 404
    assert registry_server.http().get("/deltas/team/lora/versions/1/pulls").status_code == 401


def test_two_servers_count_an_hour_once(line, registry_server):
    engine = registry_server.registry.engine
    line.versions.pulls(V1)
    pull = {(1, 2)}

    for _ in range(3):
        with_retry(engine, lambda conn: add_pulls(conn, pull))
    with_retry(engine, lambda conn: conn.execute(pulls.update().values(last_at=pulls.c.last_at - APART_US)))
    with_retry(engine, lambda conn: add_pulls(conn, {*pull, (999, 2)}))

    with read(engine) as conn:
        assert conn.execute(pulls.select()).all() == [(1, 2, 2, conn.execute(pulls.select()).one().last_at)]


def test_notes_wait_for_a_database_that_does_not_answer(registry_server, line, tmp_path):
    now = [0.0]
    notes = PullNotes(clock=lambda: now[0])
    notes.note(1, 2)
    notes.note(1, 2)

    with pytest.raises(Misconfigured):
        notes.write(create_engine(f"sqlite:///{tmp_path}/missing/registry.db"))
    assert notes.write(registry_server.registry.engine) == 1
    assert notes.write(registry_server.registry.engine) == 0
    notes.note(1, 2)
    assert notes.write(registry_server.registry.engine) == 0
    now[0] += HOUR_S
    notes.note(1, 2)
    assert notes.write(registry_server.registry.engine) == 1


def test_a_server_writes_its_notes_while_it_runs_and_at_its_end(line, registry_server):
    registry, engine = registry_server.registry, registry_server.registry.engine
    version_id = 1

    def written():
        with read(engine) as conn:
            return {row.principal_id for row in conn.execute(pulls.select())}

    with noting(registry, every_s=0.02):
        registry.pulls.note(version_id, 2)
        deadline = time.monotonic() + 30
        while written() != {2}:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    with noting(registry, every_s=3600):
        registry.pulls.note(version_id, 0)

    assert written() == {0, 2}
    assert "anonymous" in {each.principal for each in line.versions.pulls(V1).by}
