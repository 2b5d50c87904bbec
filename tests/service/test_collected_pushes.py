"""A collection between the last pack of a push and the reading back of it."""

import pytest

from deltareg.api.app import create_app
from deltareg.client import Client, ClientConfig
from deltareg.service import collect
from deltareg.service.registry import Registry
from deltareg.service.tokens import bootstrap_token
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
    store = CollectedStore(engine)
    registry = Registry(engine, store)
    token = bootstrap_token(registry, principal="admin", kind="pat", scopes=["admin"])
    with serving(create_app(registry)) as url:
        config = ClientConfig(server=url, token=token, cache_dir=tmp_path / "cache")
        with Client(config) as client:
            yield client, store


def test_a_push_whose_packs_are_collected_starts_again(served, tmp_path):
    client, store = served
    client.push_base(BASE, "tiny")
    store.times = 2

    report = client.push(payload(tmp_path, 1), "lab/x", base="tiny")

    assert store.times == 0
    assert report.created
    client.pull(report.version.ref, tmp_path / "pulled")


def test_a_base_whose_packs_are_collected_starts_again(served):
    client, store = served
    store.times = 2

    info = client.push_base(BASE, "tiny")

    assert store.times == 0
    assert info.is_stored
