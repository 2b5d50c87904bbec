"""A registry that answers clients of the Hugging Face Hub, on each of both databases."""

import pytest

from tests.fixtures.databases import BOTH
from tests.fixtures.registries import SAMPLES, running

LORA = SAMPLES / "deltas" / "tinyllama" / "lora"
BASE = SAMPLES / "bases" / "tinyllama"


@pytest.fixture
def local_hub(sqlite_url, tmp_path, local_stock):
    url = (tmp_path / "blobs").as_uri()
    with running(sqlite_url, url, tmp_path, stock=local_stock, hub_main="prod") as server:
        yield server


@pytest.fixture
def postgresql_hub(postgresql_url, tmp_path, postgresql_stock):
    url = (tmp_path / "blobs").as_uri()
    with running(postgresql_url, url, tmp_path, stock=postgresql_stock, hub_main="prod") as server:
        yield server


@pytest.fixture(params=BOTH)
def hub(request):
    name = "local_hub" if request.param == "sqlite" else "postgresql_hub"
    return request.getfixturevalue(name)
