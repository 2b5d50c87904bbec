"""With the store down, whatever needs no bytes works, and a rollback needs none."""

import pytest

from deltareg.errors import StoreUnavailable
from deltareg.store.s3 import S3Options
from tests.fixtures.registries import running

NOBODY = S3Options(endpoint_url="http://127.0.0.1:1", region="us-east-1", access_key_id="x", secret_access_key="x")
PROD = ("team/lora", "prod")


@pytest.fixture
def line(registry_server, tmp_path):
    """Give a client whose cache holds v1, while v2 and v3 of its line were promoted as well."""
    client = registry_server.line("lora", "lora_v2", "lora_qv")
    client.pull("team/lora:v1", tmp_path / "before")
    return client


@pytest.fixture
def down(line, registry_server, tmp_path):
    """Run a server beside it on the same database, whose store is at an address of nobody's."""
    url = registry_server.registry.engine.url.render_as_string(hide_password=False)
    (tmp_path / "down").mkdir()
    with running(url, "s3://bucket/registry", tmp_path / "down", s3=NOBODY) as server:
        yield server


def test_moves_need_no_store(line, down):
    client = down.client(principal="maker")
    for _ in range(3):
        assert client.rollback(*PROD, steps=2).version == 1
        assert client.channels.show(*PROD).quarantined == [3]
        assert not client.gate("team/lora:v3", "prod").allowed
        client.channels.clear_quarantine(*PROD, 3, reason="it was the store")
        assert client.gate("team/lora:v2", "prod").allowed
        client.promote("team/lora:v2", "prod")
        client.channels.freeze(*PROD, reason="the store is down")
        assert client.channels.show(*PROD).is_frozen
        client.channels.unfreeze(*PROD, reason="go on")
        client.promote("team/lora:v3", "prod")

    assert len(client.channels.history(*PROD, limit=200).items) == 3 + 3 * 5


def test_a_target_that_was_pulled_before_is_pulled_again(line, down, tmp_path):
    cache = line._context.config.cache_dir
    client = down.client(principal="maker", cache_dir=cache)
    client.rollback(*PROD, version=1)

    client.pull("team/lora@prod", tmp_path / "after")

    assert content(tmp_path / "after") == content(tmp_path / "before")


def test_what_nobody_has_says_that_the_store_is_down(line, down, tmp_path):
    client = down.client(principal="maker", retries=0)

    with pytest.raises(StoreUnavailable, match=r"the store at .* does not answer") as failed:
        client.pull("team/lora@prod", tmp_path / "none")

    assert "pulled before" in failed.value.fix


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
