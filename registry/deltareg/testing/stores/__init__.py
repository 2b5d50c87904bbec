"""What every blob store must do: the contract of `deltareg.store.blob_store`, as tests.

A store is written, read, cut off, raced and asked for what is missing; keys that are none of ours
are refused by every call.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from deltareg.testing.stores import names, reads, writes
from deltareg.testing.stores.opened import OpenedStore

__all__ = ["OpenedStore", "StoreTests"]

_CASES = reads.CASES | writes.CASES | names.CASES


class CaseParametrizer(Protocol):
    """The part of pytest's `Metafunc` that gives a test its cases."""

    fixturenames: Sequence[str]

    def parametrize(self, name: str, values: Iterable[object], /, *, ids: Iterable[str]) -> None:
        """Run a test once for each value."""
        ...


class StoreTests(reads.ReadTests, writes.WriteTests, names.NameTests):
    """The tests; a subclass has a fixture `opened` that gives an `OpenedStore`, empty each time."""

    def pytest_generate_tests(self, metafunc: CaseParametrizer) -> None:
        """Run a test on every case of what it takes."""
        for name in sorted(_CASES.keys() & set(metafunc.fixturenames)):
            ids = [f"{name}{number}" for number in range(len(_CASES[name]))]
            metafunc.parametrize(name, _CASES[name], ids=ids)
