"""Registries that answer clients of the Hugging Face Hub.

A shelf is what most tests look at: the base `tinyllama`, which is `org/Tiny-Llama` on the hub;
`team/lora:v1` and `:v2`, which is on `prod`; the fine-tune `team/full:v1`, stored against the base;
and `den/secret:v1`, whose namespace is private.
"""

import shutil
from contextlib import contextmanager

import httpx
import pytest

from deltareg.client import Client
from deltareg.wire import Scope, TokenCreate
from tests.fixtures.databases import BOTH
from tests.fixtures.registries import SAMPLES, SCOPES, running

LORA = SAMPLES / "deltas" / "tinyllama" / "lora"
LORA_2 = SAMPLES / "deltas" / "tinyllama" / "lora_v2"
FULL = SAMPLES / "deltas" / "tinyllama" / "full"
BASE = SAMPLES / "bases" / "tinyllama"
HUB_ID = "org/Tiny-Llama"
REVISION = "a1b2c3d4e5f60718293a4b5c6d7e8f9001122334"


@pytest.fixture(autouse=True)
def on_line(monkeypatch):
    """Let the hub's client ask: all that it is told of here listens on this machine."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="needs huggingface-hub")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def fill(server):
    """Put on the shelf what the docstring of this module says."""
    server.line("lora", "lora_v2")
    server.step("shelf", lambda: _fill(server))


def _fill(server):
    with Client(server._config(server.token(*SCOPES, principal="owner"))) as client:
        client.bases.push(BASE, "tinyllama", hub_ids=[HUB_ID, f"{HUB_ID}@{REVISION}"])
        client.push(FULL, "team/full", base="tinyllama")
        client.namespaces.create("den", visibility="private")
        client.push(LORA, "den/secret", base="tinyllama")


def member(server, principal, *scopes, also_read=True):
    """Make a token that allows what is everybody's who is somebody here, and no more."""
    also: list[Scope] = ["read"] if also_read else []
    wanted = TokenCreate(principal=principal, scopes=[*scopes, *also], everywhere=False)
    with Client(server._config(server.admin_token)) as admin:
        return admin.tokens.create(wanted).token


@contextmanager
def open_hub(url, folder, stock, **options):
    """Run a registry with the interface over a folder of blobs."""
    store = (folder / "blobs").as_uri()
    with running(url, store, folder, stock=stock, **{"hub_main": "prod"} | options) as server:
        yield server


@pytest.fixture
def local_hub(sqlite_url, tmp_path, local_stock):
    """Run one that is still empty, on SQLite."""
    with open_hub(sqlite_url, tmp_path, local_stock) as server:
        yield server


@pytest.fixture(scope="module")
def shelf(sqlite_template, tmp_path_factory, local_stock):
    """Run one with a shelf, on SQLite."""
    folder = tmp_path_factory.mktemp("shelf")
    shutil.copyfile(sqlite_template, folder / "registry.db")
    with open_hub(f"sqlite:///{folder / 'registry.db'}", folder, local_stock) as server:
        fill(server)
        yield server


@pytest.fixture
def postgresql_hub(postgresql_url, tmp_path, postgresql_stock):
    """Run one that is still empty, on PostgreSQL."""
    with open_hub(postgresql_url, tmp_path, postgresql_stock) as server:
        yield server


@pytest.fixture(params=BOTH)
def hub(request):
    """Run one that is still empty, on each of both databases."""
    name = "local_hub" if request.param == "sqlite" else "postgresql_hub"
    return request.getfixturevalue(name)


@pytest.fixture
def ask():
    """Give what asks a server, by a token or without."""
    with httpx.Client(timeout=30) as client:

        def ask(server, path, *, token=None, method="GET", **given):
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            headers |= given.pop("headers", {})
            return client.request(method, server.url + path, headers=headers, **given)

        yield ask
