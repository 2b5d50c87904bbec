"""What the tests of followers share: a line that has moved once, and a host that follows it. And two registries."""

import shutil
from contextlib import ExitStack

import pytest

from tests.client.agents import SCOPES
from tests.fixtures.registries import running


@pytest.fixture
def maker(local_registry):
    """Put v1 and then v2 of `team/lora` on prod."""
    return local_registry.line("lora", "lora_v2")


@pytest.fixture
def host(local_registry, maker):
    """Give the client of a host that may read and serve; the line is there."""
    return local_registry.client(SCOPES, principal="host")


@pytest.fixture
def two(tmp_path, sqlite_template):
    """Run two registries that know nothing of each other."""
    with ExitStack() as stack:
        servers = []
        for name in ("here", "there"):
            folder = tmp_path / name
            folder.mkdir()
            shutil.copyfile(sqlite_template, folder / "registry.db")
            url = f"sqlite:///{folder / 'registry.db'}"
            servers.append(stack.enter_context(running(url, (folder / "store").as_uri(), folder)))
        yield servers
