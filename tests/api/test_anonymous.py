"""What is public is read without a token, where the server allows that, and nothing else is."""

import shutil

import pytest

from deltareg.client import Client, ClientConfig
from deltareg.errors import NotFound, Unauthenticated
from tests.fixtures.registries import running


@pytest.fixture(scope="module")
def open_registry(sqlite_template, tmp_path_factory, local_stock):
    """Run a registry that anybody may read what is public of: `team/lora:v1`, on `prod`."""
    folder = tmp_path_factory.mktemp("open")
    shutil.copyfile(sqlite_template, folder / "registry.db")
    url, store = f"sqlite:///{folder / 'registry.db'}", (folder / "blobs").as_uri()
    with running(url, store, folder, stock=local_stock, anonymous_reading=True) as server:
        server.line("lora")
        yield server


@pytest.fixture
def anybody(open_registry, tmp_path):
    config = ClientConfig(server=open_registry.url, token=None, cache_dir=tmp_path, retries=1)
    with Client(config) as client:
        yield client


def make(server, visibility):
    with server.client() as admin:
        admin.namespaces.change("team", visibility=visibility)


def test_what_is_public_is_listed_and_pulled_by_anybody(open_registry, anybody, tmp_path):
    make(open_registry, "public")

    pulled = anybody.pull("team/lora@prod", tmp_path / "out")

    assert [line.ref for line in anybody.lines.list()] == ["team/lora"]
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()
    assert pulled.ref == "team/lora:v1"


@pytest.mark.parametrize("visibility", ["internal", "private"])
def test_what_is_not_public_needs_a_token(open_registry, anybody, visibility):
    make(open_registry, visibility)

    for ask in (
        lambda: anybody.show("team/lora:v1"),
        lambda: anybody.show("none/there:v1"),
        lambda: anybody.bases.show("tinyllama"),
        anybody.suites.list,
        anybody.tokens.list,
        anybody.meta,
    ):
        with pytest.raises(Unauthenticated):
            ask()
    assert list(anybody.lines.list()) == []


def test_nobody_writes_without_a_token(open_registry, anybody):
    make(open_registry, "public")

    for act in (
        lambda: anybody.promote("team/lora:v1", "prod"),
        lambda: anybody.versions.revoke("team/lora:v1", reason="x"),
        lambda: anybody.verify("team/lora:v1"),
        lambda: anybody.namespaces.create("mine"),
    ):
        with pytest.raises(Unauthenticated):
            act()


def test_what_is_public_and_not_there_is_not_found(open_registry, anybody):
    make(open_registry, "public")

    with pytest.raises(NotFound):
        anybody.show("team/other:v1")


def test_a_bad_token_is_not_nobody(open_registry):
    make(open_registry, "public")
    http = open_registry.http("drg_pat_nonsense")

    assert http.get("/deltas").status_code == 401
    assert http.get("/resolve", params={"ref": "team/lora:v1"}).status_code == 401
