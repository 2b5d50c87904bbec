"""Each property that is proven of a store is missed where a store lacks it."""

import time

import pytest

from deltareg.errors import StoreUnavailable
from deltareg.store import open_store
from deltareg.store.buckets import fetch_signed
from deltareg.store.local import LocalStore
from deltareg.store.memory import MemoryStore
from deltareg.store.proofs import prove_store
from tests.store.test_probe import (
    ChangesBytes,
    ForgetsToList,
    IgnoresRanges,
    IsDown,
    KeepsTheDeleted,
    ServesTheDeletedFromACache,
    Signs,
    refused,
)


class TakesItTwice(MemoryStore):
    def write(self, key, body):
        self.delete(key)
        return super().write(key, body)


class KeepsHalves(MemoryStore):
    def write(self, key, body):
        sent = []
        try:
            sent.extend(body)
        except Exception:
            super().write(key, sent)
            raise
        return super().write(key, sent)


class TakesNothingLong(MemoryStore):
    def write(self, key, body):
        body = list(body)
        if sum(map(len, body)) > 8 << 20:
            raise StoreUnavailable("no multipart here")
        return super().write(key, body)


class IsLate(MemoryStore):
    def clock(self):
        return time.time() - 3 * 86_400


@pytest.mark.parametrize(
    ("broken", "lacks"),
    [
        (ChangesBytes, "read after write"),
        (IgnoresRanges, "ranges"),
        (ForgetsToList, "list after write"),
        (TakesItTwice, "written once"),
        (KeepsHalves, "nothing by halves"),
        (TakesNothingLong, "long objects"),
        (IsLate, "clock"),
        (KeepsTheDeleted, "gone after deletion"),
        (ServesTheDeletedFromACache, "gone after deletion"),
        (IsDown, "read after write"),
    ],
)
def test_what_a_store_lacks_is_named_with_what_to_do(broken, lacks):
    wrong = {proof.name: proof for proof in prove_store(broken()) if proof.wrong}

    assert lacks in wrong
    assert wrong[lacks].fix


def test_a_signed_address_that_gives_something_else_is_named():
    signs = Signs()

    assert [each.name for each in prove_store(signs, fetch=refused) if each.wrong] == ["signed addresses"]
    assert [each for each in prove_store(signs, fetch=signs.fetch) if each.wrong] == []
    assert list(signs.keys()) == []


def test_a_folder_has_all_of_them_and_keeps_nothing(tmp_path):
    store = LocalStore(tmp_path)

    proofs = list(prove_store(store))

    assert [proof for proof in proofs if proof.wrong] == []
    assert {"clock", "long objects", "nothing by halves"} <= {proof.name for proof in proofs}
    assert list(store.keys()) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.s3
@pytest.mark.soak
def test_a_bucket_has_all_of_them(swift_endpoint, fresh_bucket):
    store = open_store(f"s3://{fresh_bucket()}/a/prefix", options=swift_endpoint.options())

    proofs = list(prove_store(store, fetch=fetch_signed))

    assert [proof for proof in proofs if proof.wrong] == []
    assert {"clock", "signed addresses"} <= {proof.name for proof in proofs}
