"""A collection in the middle of a push: while it asks what is there, or before it is read back."""

from contextlib import contextmanager
from threading import Thread

import pytest
import sqlalchemy as sa

from deltareg.api.app import create_app
from deltareg.client import Client, ClientConfig
from deltareg.service.access.tokens import bootstrap_token
from deltareg.service.registry import Registry
from deltareg.service.upkeep import collect
from deltareg.store.memory import MemoryStore
from tests.faults.payloads import BASE, payload
from tests.fixtures.registries import serving


class CollectedStore(MemoryStore):
    """A store of which everything idle is collected before a reading, `times` times."""

    def __init__(self, engine):
        super().__init__()
        self._engine = engine
        self.times = 0

    def read(self, key, start=0, stop=None):
        if self.times:
            self.times -= 1
            collect.run(self._engine, self, grace_s=0)
        return super().read(key, start, stop)


@pytest.fixture
def served(engine, tmp_path):
    with serving_over(engine, tmp_path) as (client, store):
        yield client, store


@contextmanager
def serving_over(engine, tmp_path):
    store = CollectedStore(engine)
    registry = Registry(engine, store)
    token = bootstrap_token(registry, principal="admin", kind="pat", scopes=["admin"])
    with serving(create_app(registry)) as url:
        config = ClientConfig(
            server=url, token=token, cache_dir=tmp_path / "cache", golden="never", retries=3, patience_s=0.0
        )
        with Client(config) as client:
            yield client, store


def test_a_push_whose_packs_are_collected_starts_again(served, tmp_path):
    client, store = served
    client.bases.push(BASE, "tiny")
    store.times = 2

    report = client.push(payload(tmp_path, 1), "lab/x", base="tiny")

    assert store.times == 0
    assert report.created
    client.pull(report.version.ref, tmp_path / "pulled")


def test_a_base_whose_packs_are_collected_starts_again(served):
    client, store = served
    store.times = 2

    info = client.bases.push(BASE, "tiny")

    assert store.times == 0
    assert info.is_stored


@pytest.mark.postgres
def test_a_collection_while_a_push_asks_what_is_there(postgresql_engine, tmp_path):
    """What is offered lies in packs that are offered too, though each statement looks anew."""
    with serving_over(postgresql_engine, tmp_path) as (client, store):
        client.bases.push(BASE, "tiny")
        first = client.push(payload(tmp_path, 1), "lab/x", base="tiny")
        client.versions.delete(first.version.ref)
        collected = collect_after(postgresql_engine, store, "FROM pieces")

        again = client.push(payload(tmp_path, 1), "lab/x", base="tiny")

        (collection,) = collected
        collection.join(30)
        assert not collection.is_alive()
        assert again.created
        client.pull(again.version.ref, tmp_path / "pulled")


def collect_after(engine, store, words):
    """Collect everything once, after the first statement that has these words.

    A collection that waits for what the push has locked goes on with the push, as on a server.
    """
    collected: list[Thread] = []

    @sa.event.listens_for(engine, "after_cursor_execute")
    def collect_now(conn, cursor, statement, *_):
        if words in statement and not collected:
            collected.append(Thread(target=collect.run, args=(engine, store), kwargs={"grace_s": 0}))
            collected[0].start()
            collected[0].join(1.0)

    return collected
