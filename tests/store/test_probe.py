"""The check of a store finds each way in which one can break its contract."""

from collections.abc import Iterable, Iterator
from contextlib import suppress

import pytest

from deltareg.errors import BlobMissing, StoreMisconfigured, StoreUnavailable
from deltareg.store.memory import MemoryStore
from deltareg.store.probe import probe


class ChangesBytes(MemoryStore):
    def write(self, key: str, body: Iterable[bytes]) -> int:
        return super().write(key, (chunk.replace(chunk[:1], b"\0") for chunk in body))


class DropsTheEnd(MemoryStore):
    def write(self, key: str, body: Iterable[bytes]) -> int:
        return super().write(key, list(body)[:-1])


class IgnoresRanges(MemoryStore):
    def read(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        return super().read(key)


class ShiftsRanges(MemoryStore):
    def read(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        return super().read(key, start and start + 1, stop and stop + 1)


class ForgetsToList(MemoryStore):
    def keys(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        return iter(())


class ListsWrongSizes(MemoryStore):
    def keys(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        return ((key, 0) for key, _ in super().keys(prefix))


class KeepsTheDeleted(MemoryStore):
    def delete(self, key: str) -> None:
        return None


class ServesTheDeletedFromACache(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.cache: dict[str, bytes] = {}

    def read(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        with suppress(BlobMissing):
            self.cache[key] = b"".join(super().read(key))
        return iter([self.cache[key][start:stop]])


class IsDown(MemoryStore):
    def size(self, key: str) -> int | None:
        raise StoreUnavailable("down")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (ChangesBytes, "reads back changed"),
        (DropsTheEnd, "another size"),
        (IgnoresRanges, "a range"),
        (ShiftsRanges, "a range"),
        (ForgetsToList, "not listed"),
        (ListsWrongSizes, "not listed"),
        (KeepsTheDeleted, "after its deletion"),
        (ServesTheDeletedFromACache, "after its deletion"),
    ],
)
def test_a_store_that_breaks_its_contract_is_found(broken: type[MemoryStore], said: str) -> None:
    with pytest.raises(StoreMisconfigured, match=said) as caught:
        probe(broken(), where="here")

    assert "here" in caught.value.message
    assert caught.value.fix


class Signs(MemoryStore):
    """Has URLs that `fetch` understands."""

    def url(self, key: str, *, expires_s: int) -> str | None:
        return f"signed:{key}"

    def fetch(self, url: str, start: int, stop: int) -> bytes:
        return b"".join(self.read(url.removeprefix("signed:"), start, stop))


def refused(url: str, start: int, stop: int) -> bytes:
    return b"<Error/>"


def test_a_signed_url_is_fetched_as_a_client_would() -> None:
    store = Signs()

    probe(store, where="here", fetch=store.fetch)

    assert list(store.keys()) == []


def test_a_signed_url_that_gives_something_else_is_found() -> None:
    store = Signs()

    with pytest.raises(StoreMisconfigured, match="a signed URL does not"):
        probe(store, where="here", fetch=refused)

    assert list(store.keys()) == []


def test_a_store_that_is_down_is_not_called_misconfigured_and_is_cleaned_up() -> None:
    store = IsDown()

    with pytest.raises(StoreUnavailable):
        probe(store, where="here")

    assert list(store.keys()) == []
