"""A token made on the server's host, past the API, when all others are lost."""

import pytest
from click.testing import CliRunner

from deltareg.api.serve import server
from deltareg.db.session import create_engine, read
from deltareg.service.access.audit import list_audit
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
    trail = list_audit(
        registry, grace, actor=None, action=None, subject=None, cursor=None, limit=9
    ).items
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

    assert authenticate(registry, done.stdout.strip(), request_id="r").may(
        Right.BREAK_GLASS, on=EVERYTHING
    )


def test_it_makes_no_registry_in_a_wrong_folder(tmp_path):
    done = create(tmp_path / "typo", "--admin")

    assert done.exit_code == 2
    assert "there is no registry in" in done.stderr
    assert not (tmp_path / "typo").exists()


def test_it_has_to_be_said_that_an_admin_is_meant(lost):
    _, folder = lost

    assert create(folder).exit_code == 2
