"""A registry that trainings push to: the base `tinyllama` is there, and nothing else."""

import shutil
import socket

import pytest

from deltareg.client import Client
from tests.fixtures.registries import SAMPLES, running

BASE = SAMPLES / "bases" / "tinyllama"


@pytest.fixture(scope="module")
def site(sqlite_template, tmp_path_factory, local_stock):
    """Run it on SQLite and a folder for a module; each test has a line of its own."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copyfile(sqlite_template, folder / "registry.db")
    url = f"sqlite:///{folder / 'registry.db'}"
    with running(url, (folder / "blobs").as_uri(), folder, stock=local_stock) as server:
        with server.client() as client:
            client.bases.push(BASE, "tinyllama")
        yield server


@pytest.fixture
def client(site):
    """Give what a trainer has: a token that reads and pushes."""
    with Client(site._config(site.token("read", "push", principal="trainer"))) as made:
        yield made


@pytest.fixture
def line(request):
    """Name a line of the test's own."""
    return "team/" + "".join(c if c.isalnum() else "-" for c in request.node.name[5:60]).strip("-")


@pytest.fixture
def free_port():
    """Name a port of this machine on which nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
