"""What every blob store promises, run against memory, a local folder and a real S3 server."""

import hashlib
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest

from deltareg.digest import Digest, sha256_of
from deltareg.errors import BlobMissing, Conflict, IntegrityFailure, InvalidInput
from deltareg.store import BlobStore, fresh_key, open_store
from deltareg.store.blob_store import CHUNK_BYTES
from tests.fixtures.swift import S3Endpoint
from tests.store.test_keys import HOSTILE

MIB = 1 << 20
PART = 8 * MIB
BLOCK = hashlib.shake_256(b"blob store").digest(MIB)
ZERO = Digest("sha256", "0" * 64)


@dataclass(frozen=True)
class Opened:
    """A store, a look behind it at what a failed write left there, and how many keys fill pages."""

    store: BlobStore
    leftovers: Callable[[], list[str]]
    many_keys: int = 1100


def open_memory(request: pytest.FixtureRequest) -> Opened:
    return Opened(open_store("memory://"), leftovers=list)


def open_local(request: pytest.FixtureRequest) -> Opened:
    root: Path = request.getfixturevalue("tmp_path") / "store"
    store = open_store(root.as_uri())
    return Opened(store, leftovers=lambda: [path.name for path in (root / "tmp").iterdir()])


def open_s3(request: pytest.FixtureRequest) -> Opened:
    opened: Opened = request.getfixturevalue("opened_bucket")
    for key, _ in list(opened.store.keys()):
        opened.store.delete(key)
    return opened


@pytest.fixture(scope="module")
def opened_bucket(swift_endpoint: S3Endpoint, fresh_bucket: Callable[[], str]) -> Opened:
    bucket, client = fresh_bucket(), swift_endpoint.client()

    def uploads() -> list[str]:
        return [it["Key"] for it in client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]

    # Opening takes a third of a second, and pages of the S3 server of the tests have ten keys.
    store = open_store(f"s3://{bucket}/a/prefix", options=swift_endpoint.options())
    return Opened(store, leftovers=uploads, many_keys=25)


STREAMING = [pytest.param(open_local, id="local"), pytest.param(open_s3, id="s3", marks=pytest.mark.s3)]
EVERY = [pytest.param(open_memory, id="memory"), *STREAMING]


@pytest.fixture(params=EVERY)
def opened(request: pytest.FixtureRequest) -> Opened:
    return request.param(request)


@pytest.fixture
def store(opened: Opened) -> BlobStore:
    return opened.store


def new_key(digest: Digest = ZERO) -> str:
    return fresh_key(digest, attempt=uuid4())


def stored(store: BlobStore, data: bytes) -> str:
    key = new_key(sha256_of(data))
    store.write(key, [data])
    return key


def content(size: int) -> bytes:
    return (BLOCK * (size // MIB + 1))[:size]


def cut(data: bytes, step: int) -> Iterator[bytes]:
    return (data[at : at + step] for at in range(0, len(data), step))


def digest_of(chunks: Iterator[bytes]) -> str:
    hasher = hashlib.sha256()
    for chunk in chunks:
        hasher.update(chunk)
    return hasher.hexdigest()


class BodyError(Exception):
    """What a body raises when its client goes away."""


def failing_body(size: int) -> Iterator[bytes]:
    yield from cut(content(size), MIB)
    raise BodyError


# Round trips


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 20 * MIB])
def test_bytes_come_back_as_they_went_in(store: BlobStore, size: int) -> None:
    data = content(size)
    key = new_key(sha256_of(data))

    written = store.write(key, cut(data, 300_001))

    assert written == size
    assert store.size(key) == size
    assert digest_of(store.read(key)) == hashlib.sha256(data).hexdigest()


def test_a_body_of_one_huge_chunk_is_stored(store: BlobStore) -> None:
    data = content(2 * PART + 5)

    key = stored(store, data)

    assert digest_of(store.read(key)) == hashlib.sha256(data).hexdigest()


def test_empty_chunks_in_a_body_are_harmless(store: BlobStore) -> None:
    key = new_key()

    written = store.write(key, [b"", b"ab", b"", b"c", b""])

    assert written == 3
    assert b"".join(store.read(key)) == b"abc"


def test_a_body_without_chunks_is_an_empty_object(store: BlobStore) -> None:
    key = new_key()

    written = store.write(key, iter(()))

    assert written == 0
    assert list(store.keys()) == [(key, 0)]


def test_no_chunk_read_is_longer_than_a_mebibyte(store: BlobStore) -> None:
    key = stored(store, content(3 * MIB + 1))

    lengths = [len(chunk) for chunk in store.read(key)]

    assert max(lengths) <= CHUNK_BYTES
    assert sum(lengths) == 3 * MIB + 1


def test_two_attempts_at_the_same_bytes_are_two_objects(store: BlobStore) -> None:
    first, second = stored(store, b"same"), stored(store, b"same")

    store.delete(first)

    assert store.size(first) is None
    assert b"".join(store.read(second)) == b"same"


# Ranges


RANGES = [
    (0, 1),
    (0, None),
    (0, 0),
    (5, 5),
    (7, None),
    (100, 4096),
    (PART - 3, PART + 3),
    (PART, None),
    (PART + 9, PART + 10),
    (PART + 10, None),
    (PART + 10, PART + 10),
    (0, PART + 10),
    (1, PART),
]


def test_a_range_gives_exactly_its_bytes(store: BlobStore) -> None:
    data = content(PART + 10)
    key = stored(store, data)

    wrong = [(start, stop) for start, stop in RANGES if b"".join(store.read(key, start, stop)) != data[start:stop]]

    assert wrong == []


@pytest.mark.parametrize(("start", "stop"), [(0, 11), (10, 11), (11, None), (11, 11), (4, 1000)])
def test_a_range_past_the_end_is_an_error_and_not_short(store: BlobStore, start: int, stop: int | None) -> None:
    key = stored(store, b"0123456789")

    with pytest.raises(IntegrityFailure, match="which has 10"):
        store.read(key, start, stop)


@pytest.mark.parametrize(("start", "stop"), [(-1, None), (5, 4), (-3, -1)])
def test_a_range_that_runs_backwards_is_refused(store: BlobStore, start: int, stop: int | None) -> None:
    key = stored(store, b"0123456789")

    with pytest.raises(InvalidInput, match="not a range"):
        store.read(key, start, stop)


def test_an_abandoned_read_leaves_the_store_usable(store: BlobStore) -> None:
    data = content(4 * MIB)
    key = stored(store, data)

    never_begun, begun = store.read(key), store.read(key)
    first = next(begun)
    del never_begun, begun

    assert data.startswith(first)
    assert digest_of(store.read(key)) == hashlib.sha256(data).hexdigest()


# What is missing, and deletion


def test_reading_a_missing_object_fails_before_the_first_byte(store: BlobStore) -> None:
    key = new_key()

    with pytest.raises(BlobMissing) as caught:
        store.read(key)

    assert caught.value.key == key


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (3, 9)])
def test_a_range_of_a_missing_object_is_missing(store: BlobStore, start: int, stop: int) -> None:
    with pytest.raises(BlobMissing):
        store.read(new_key(), start, stop)


def test_a_missing_object_has_no_size(store: BlobStore) -> None:
    assert store.size(new_key()) is None


def test_deleting_twice_is_no_error(store: BlobStore) -> None:
    key = stored(store, b"x")

    store.delete(key)
    store.delete(key)

    assert store.size(key) is None
    assert list(store.keys()) == []
    with pytest.raises(BlobMissing):
        store.read(key)


def test_deleting_what_never_was_is_no_error(store: BlobStore) -> None:
    store.delete(new_key())

    assert list(store.keys()) == []


# Objects never change


@pytest.mark.parametrize("size", [3, PART + 1])
def test_a_second_write_to_a_key_is_refused(opened: Opened, size: int) -> None:
    key = stored(opened.store, b"first")

    with pytest.raises(Conflict, match="fresh key"):
        opened.store.write(key, cut(content(size), MIB))

    assert b"".join(opened.store.read(key)) == b"first"
    assert opened.leftovers() == []


@pytest.mark.parametrize("size", [0, MIB, PART, 2 * PART + MIB])
def test_a_body_that_raises_leaves_nothing_behind(opened: Opened, size: int) -> None:
    key = new_key()

    with pytest.raises(BodyError):
        opened.store.write(key, failing_body(size))

    assert opened.store.size(key) is None
    assert list(opened.store.keys()) == []
    assert opened.leftovers() == []


def test_a_key_whose_body_raised_can_still_be_written(store: BlobStore) -> None:
    key = new_key()
    with pytest.raises(BodyError):
        store.write(key, failing_body(MIB))

    store.write(key, [b"whole"])

    assert b"".join(store.read(key)) == b"whole"


def test_an_object_is_not_visible_while_it_is_written(store: BlobStore) -> None:
    key = new_key()
    seen: list[object] = []

    def watched_body() -> Iterator[bytes]:
        for chunk in cut(content(PART + MIB), MIB):
            yield chunk
            seen.append(store.size(key))

    store.write(key, watched_body())

    assert set(seen) == {None}
    assert store.size(key) == PART + MIB


# Threads


def test_writers_of_distinct_keys_do_not_disturb_each_other(opened: Opened) -> None:
    bodies = [content(MIB)[at:] for at in range(16)]
    keys = [new_key(sha256_of(body)) for body in bodies]

    def write(key: str, body: bytes) -> int:
        return opened.store.write(key, cut(body, 65_537))

    with ThreadPoolExecutor(8) as pool:
        sizes = list(pool.map(write, keys, bodies))
        got = list(pool.map(lambda key: b"".join(opened.store.read(key)), keys))

    assert sizes == [len(body) for body in bodies]
    assert got == bodies
    assert dict(opened.store.keys()) == dict(zip(keys, sizes, strict=True))
    assert opened.leftovers() == []


def test_attempts_at_one_digest_may_come_and_go_at_once(store: BlobStore) -> None:
    digest = sha256_of(b"same")

    def come_and_go(_: int) -> bytes:
        key = new_key(digest)
        store.write(key, [b"same"])
        got = b"".join(store.read(key))
        store.delete(key)
        return got

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(come_and_go, range(24)))

    assert set(got) == {b"same"}
    assert list(store.keys()) == []


# Listing


def test_listing_finds_every_object_once_over_many_pages(opened: Opened) -> None:
    count = opened.many_keys
    keys = [new_key(sha256_of(str(number % 40).encode())) for number in range(count)]
    for number, key in enumerate(keys):
        opened.store.write(key, [b"x" * (number % 7)])

    listed = list(opened.store.keys())

    assert sorted(listed) == sorted((key, number % 7) for number, key in enumerate(keys))


def test_listing_an_empty_store_gives_nothing(store: BlobStore) -> None:
    assert list(store.keys()) == []


def test_listing_by_prefix_gives_those_objects_only(store: BlobStore) -> None:
    one, two = Digest("sha256", "ab" + "0" * 62), Digest("sha256", "ac" + "0" * 62)
    keys = [new_key(one), new_key(one), new_key(two)]
    for key in keys:
        store.write(key, [b"x"])

    def listed(prefix: str) -> set[str]:
        return {key for key, _ in store.keys(prefix)}

    assert listed("") == listed("blobs/") == listed("blobs/a") == set(keys)
    assert listed("blobs/ab") == listed(f"blobs/{one.hex}/") == set(keys[:2])
    assert listed(keys[2]) == listed(keys[2][:-3]) == {keys[2]}
    assert listed("blobs/f") == listed(f"{keys[2]}0") == listed("other/") == set()


@pytest.mark.parametrize("prefix", ["../", "/", "blobs/../", "blobs//", "blobs/%2e%2e/", "BLOBS", "a b"])
def test_a_prefix_that_no_key_has_is_refused(store: BlobStore, prefix: str) -> None:
    with pytest.raises(InvalidInput):
        store.keys(prefix)


# Signed URLs


def test_a_url_is_signed_for_a_time_or_left_to_the_api(store: BlobStore) -> None:
    key = stored(store, b"x")

    url = store.url(key, expires_s=60)

    if url is not None:
        query = parse_qs(urlsplit(url).query)
        assert query["X-Amz-Expires"] == ["60"]
        assert len(query["X-Amz-Signature"][0]) == 64
        assert urlsplit(url).path.endswith(key)


# Hostile keys


def test_every_call_refuses_keys_not_of_the_layout(store: BlobStore) -> None:
    calls: list[Callable[[str], object]] = [
        lambda key: store.write(key, [b"x"]),
        store.read,
        store.size,
        store.delete,
        lambda key: store.url(key, expires_s=60),
    ]

    accepted = [(key, at) for key in HOSTILE for at, call in enumerate(calls) if not refuses(call, key)]

    assert accepted == []


def refuses(call: Callable[[str], object], key: str) -> bool:
    try:
        call(key)
    except InvalidInput:
        return True
    return False


# Memory, and the store's own check


@pytest.mark.parametrize("opening", STREAMING)
def test_a_long_stream_takes_little_memory(
    opening: Callable[[pytest.FixtureRequest], Opened], request: pytest.FixtureRequest
) -> None:
    store, key, blocks = opening(request).store, new_key(), 48
    store.check()  # what a library loads once is not the stream's

    tracemalloc.start()
    written = store.write(key, (BLOCK for _ in range(blocks)))
    _, write_peak = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    length = sum(len(chunk) for chunk in store.read(key))
    _, read_peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert written == length == blocks * MIB
    assert write_peak < 20 * MIB
    assert read_peak < 8 * MIB


def test_the_check_passes_and_leaves_nothing(opened: Opened) -> None:
    opened.store.check()

    assert list(opened.store.keys()) == []
    assert opened.leftovers() == []


# Evidence: kept beside the objects, out of the reach of collection.

NAMES = [f"log/0a-{log}/{size:018}-{'ab' * 8}" for log, size in (("1", 3), ("1", 20), ("2", 7))]


def test_evidence_is_given_in_its_order_and_is_no_object(store: BlobStore) -> None:
    for name in reversed(NAMES):
        store.keep(name, name.encode())

    assert [each.decode() for each in store.read_log("0a-1")] == NAMES[:2]
    assert list(store.read_log("0a-3")) == []
    assert list(store.keys()) == []


def test_evidence_is_never_replaced(store: BlobStore) -> None:
    assert store.keep(NAMES[0].replace("0a-1", "0a-4"), b"first") is False

    store.keep(NAMES[0].replace("0a-1", "0a-4"), b"second")

    assert list(store.read_log("0a-4")) == [b"first"]


@pytest.mark.parametrize("name", ["", "log/1/2", "blobs/x", NAMES[0] + "/..", "log/../" + NAMES[0][4:], "/" + NAMES[0]])
def test_a_name_that_is_none_of_evidence_is_refused(store: BlobStore, name: str) -> None:
    with pytest.raises(InvalidInput):
        store.keep(name, b"x")
    with pytest.raises(InvalidInput):
        list(store.read_log("../" + name))
