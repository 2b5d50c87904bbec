"""A registry that people sign in to with a real provider."""

import shutil
from contextlib import contextmanager

import pytest

from deltareg.db.access.grants import add_grant
from deltareg.db.access.groups import add_group, group_row
from deltareg.db.session import write
from tests.fixtures.registries import running

GROUPS = {"ml-engineers": "engineers", "deltareg-*": "*"}


@contextmanager
def registry_with(sqlite_template, folder, providers):
    """Run a registry with providers until the block ends."""
    shutil.copyfile(sqlite_template, folder / "registry.db")
    url = f"sqlite:///{folder / 'registry.db'}"
    with running(url, (folder / "blobs").as_uri(), folder, providers=providers) as server:
        yield server


@pytest.fixture(scope="module")
def desk(sqlite_template, tmp_path_factory, openid):
    """Run a registry for a module; `engineers` are the provider's `ml-engineers`."""
    with registry_with(sqlite_template, tmp_path_factory.mktemp("desk"), (openid.open(groups=GROUPS),)) as server:
        openid.serves(server.url)
        yield server


def let_group(desk, name, role):
    """Give a group that the provider keeps a role everywhere."""
    with write(desk.registry.engine) as conn:
        group = group_row(conn, name) or add_group(conn, name, source="acme", created_by=None)
        assert group is not None
        add_grant(conn, group.id, role=role, namespace_id=None, created_by=None)
