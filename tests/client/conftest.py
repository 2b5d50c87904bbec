"""What the tests of followers share: a line that has moved once, and a host that follows it."""

import pytest

from tests.client.agents import SCOPES


@pytest.fixture
def maker(local_registry):
    """Put v1 and then v2 of `team/lora` on prod."""
    return local_registry.line("lora", "lora_v2")


@pytest.fixture
def host(local_registry, maker):
    """Give the client of a host that may read and serve; the line is there."""
    return local_registry.client(SCOPES, principal="host")
