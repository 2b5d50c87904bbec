"""Fixtures of the services' tests: their rules are the databases', and a folder keeps the bytes.

Where the store matters, a file asks for `both_stacks`; stores have a suite of their own.
"""

import pytest


@pytest.fixture
def registry_server(both_databases):
    """Run a fresh registry on each of both databases."""
    return both_databases
