"""A token made on the server's host, past the API, when all others are lost."""

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from deltareg.api.serve import server
from deltareg.db.access.principals import add_principal, count_tokens
from deltareg.db.session import create_engine, read, write
from deltareg.db.tables import principals
from deltareg.service.access.audit import AuditQuery, list_audit
from deltareg.service.access.tokens import authenticate
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.registry import Registry
from deltareg.store.memory import MemoryStore


@pytest.fixture
def lost(sqlite_url, tmp_path):
    """Give a folder with a registry whose tokens nobody has."""
    engine = create_engine(sqlite_url)
    yield Registry(engine, MemoryStore()), tmp_path
    engine.dispose()


def create(folder, *args):
    line = ["token", "create", *args, "--data-dir", str(folder)]
    return CliRunner().invoke(server, line)


def test_it_is_for_an_admin_and_written_down(lost):
    registry, folder = lost

    done = create(folder, "--admin", "--for", "grace")

    grace = authenticate(registry, done.stdout.strip(), request_id="r")
    trail = list_audit(registry, grace, AuditQuery(), cursor=None, limit=9).items
    assert grace.may(Right.ADMIN, on=EVERYTHING)
    assert not grace.may(Right.BREAK_GLASS, on=EVERYTHING)
    assert [(row.actor, row.action) for row in trail] == [("registry", "token.bootstrap")]
    assert "deltareg auth login --token-stdin" in done.stderr
    with read(registry.engine) as conn:
        found = conn.exec_driver_sql("SELECT expires_at - created_at FROM tokens").scalar_one()
    assert abs(found / 1_000_000 - 86_400) < 5


def test_it_can_be_for_breaking_the_glass(lost):
    registry, folder = lost

    done = create(folder, "--admin", "--scope", "break-glass")

    assert authenticate(registry, done.stdout.strip(), request_id="r").may(Right.BREAK_GLASS, on=EVERYTHING)


def test_each_call_makes_one_more_and_names_those_that_are_live_still(lost):
    registry, folder = lost

    first, second = (create(folder, "--admin", "--for", "grace") for _ in range(2))

    assert first.stdout != second.stdout
    assert "for grace, who is new here, for 1 day:" in first.stderr
    assert "made before" not in first.stderr
    assert "for grace, for 1 day:" in second.stderr
    assert "made before in this way for grace, and live: 1;" in second.stderr
    assert "deltareg token revoke 1" in second.stderr
    for made in (first, second):
        assert authenticate(registry, made.stdout.strip(), request_id="r").principal == "grace"


def test_it_is_for_no_worker_and_nobody_who_is_disabled(lost):
    registry, folder = lost
    with write(registry.engine) as conn:
        add_principal(conn, "gpu-1", kind="worker")
        gone = add_principal(conn, "eve", kind="user")
        conn.execute(sa.update(principals).where(principals.c.id == gone).values(disabled_at=1))

    worker, disabled = (create(folder, "--admin", "--for", name) for name in ("gpu-1", "eve"))

    assert "gpu-1 is a worker" in worker.stderr
    assert "eve is disabled" in disabled.stderr
    assert {worker.exit_code, disabled.exit_code} == {5}
    with read(registry.engine) as conn:
        assert count_tokens(conn) == 0


def test_it_makes_no_registry_in_a_wrong_folder(tmp_path):
    done = create(tmp_path / "typo", "--admin")

    assert done.exit_code == 2
    assert "there is no registry in" in done.stderr
    assert not (tmp_path / "typo").exists()


def test_it_has_to_be_said_that_an_admin_is_meant(lost):
    _, folder = lost

    assert create(folder).exit_code == 2
