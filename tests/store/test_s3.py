"""The S3 store: wrong settings, an endpoint that is down, prefixes and signed URLs."""

import socket
import time
from collections.abc import Callable
from contextlib import closing
from uuid import uuid4

import httpx
import pytest

from deltareg.digest import sha256_of
from deltareg.errors import InvalidInput, StoreMisconfigured, StoreUnavailable
from deltareg.store import BlobStore, fresh_key, open_store
from deltareg.store.s3 import S3Options
from tests.fixtures.swift import S3Endpoint

MIB = 1 << 20
DEADLINE_S = 30.0
ON_SWIFT = pytest.mark.s3


def new_key() -> str:
    return fresh_key(sha256_of(b"x"), attempt=uuid4())


@pytest.fixture(scope="module")
def bucket(fresh_bucket: Callable[[], str]) -> str:
    return fresh_bucket()


@pytest.fixture(scope="module")
def store(swift_endpoint: S3Endpoint, bucket: str) -> BlobStore:
    return open_store(f"s3://{bucket}", options=swift_endpoint.options())


CALLS: dict[str, Callable[[BlobStore], object]] = {
    "write": lambda store: store.write(new_key(), [b"x"]),
    "write in parts": lambda store: store.write(new_key(), [b"x" * (9 * MIB)]),
    "read": lambda store: list(store.read(new_key())),
    "size": lambda store: store.size(new_key()),
    "delete": lambda store: store.delete(new_key()),
    "keys": lambda store: list(store.keys()),
    "check": lambda store: store.check(),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


# Wrong settings, on the real server


@pytest.fixture(scope="module")
def wrong_secret(swift_endpoint: S3Endpoint, bucket: str) -> BlobStore:
    return open_store(f"s3://{bucket}", options=swift_endpoint.options(secret_access_key="wrong"))


@pytest.fixture(scope="module")
def wrong_id(swift_endpoint: S3Endpoint, bucket: str) -> BlobStore:
    return open_store(f"s3://{bucket}", options=swift_endpoint.options(access_key_id="no:body"))


@pytest.fixture(scope="module")
def wrong_bucket(swift_endpoint: S3Endpoint) -> BlobStore:
    return open_store("s3://no-such-bucket", options=swift_endpoint.options())


@ON_SWIFT
@every_call
def test_a_wrong_secret_is_a_wrong_setting(
    wrong_secret: BlobStore, swift_endpoint: S3Endpoint, call: Callable[[BlobStore], object]
) -> None:
    with pytest.raises(StoreMisconfigured, match="403 SignatureDoesNotMatch") as caught:
        call(wrong_secret)

    assert "the secret" in caught.value.fix
    assert swift_endpoint.secret_access_key not in str(caught.value)


@ON_SWIFT
@every_call
def test_an_unknown_access_key_is_a_wrong_setting(wrong_id: BlobStore, call: Callable[[BlobStore], object]) -> None:
    with pytest.raises(StoreMisconfigured, match="403"):
        call(wrong_id)


@ON_SWIFT
@every_call
def test_a_missing_bucket_is_a_wrong_setting_and_not_a_missing_object(
    wrong_bucket: BlobStore, call: Callable[[BlobStore], object]
) -> None:
    with pytest.raises(StoreMisconfigured, match="404 NoSuchBucket") as caught:
        call(wrong_bucket)

    assert "create the bucket" in caught.value.fix


@ON_SWIFT
def test_a_wrong_region_is_a_wrong_setting_since_signed_urls_would_not_work(
    swift_endpoint: S3Endpoint, bucket: str
) -> None:
    store = open_store(f"s3://{bucket}/mars", options=swift_endpoint.options(region="mars-1"))
    if httpx.get(signed(store, new_key())).status_code == 404:
        pytest.skip("needs an S3 server that looks at the region: this one takes any")

    with pytest.raises(StoreMisconfigured, match="a signed URL does not") as caught:
        store.check()

    assert "region" in caught.value.fix
    assert list(store.keys()) == []


# A server that does not answer


@pytest.fixture(scope="module")
def closed_port() -> int:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def down(closed_port: int) -> BlobStore:
    return open_store("s3://bucket", options=options_for(closed_port))


def options_for(port: int) -> S3Options:
    return S3Options(
        endpoint_url=f"http://127.0.0.1:{port}",
        access_key_id="id",
        secret_access_key="secret",
        max_attempts=1,
        connect_timeout_s=0.5,
        read_timeout_s=0.5,
    )


@every_call
def test_an_endpoint_that_is_down_is_worth_a_retry(down: BlobStore, call: Callable[[BlobStore], object]) -> None:
    with pytest.raises(StoreUnavailable, match="does not answer") as caught:
        call(down)

    assert caught.value.retryable


@every_call
def test_an_endpoint_that_is_silent_is_worth_a_retry(call: Callable[[BlobStore], object]) -> None:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        silent = open_store("s3://bucket", options=options_for(listener.getsockname()[1]))

        with pytest.raises(StoreUnavailable, match="does not answer"):
            call(silent)


# Prefixes and foreign objects


@ON_SWIFT
def test_stores_under_two_prefixes_do_not_see_each_other(swift_endpoint: S3Endpoint, bucket: str) -> None:
    one, other = (
        open_store(f"s3://{bucket}/{prefix}", options=swift_endpoint.options())
        for prefix in ("team/one", "team/one/nested/")
    )
    key = new_key()

    one.write(key, [b"x"])

    assert list(one.keys()) == [(key, 1)]
    assert list(other.keys()) == []
    assert other.size(key) is None


@ON_SWIFT
def test_objects_that_others_put_into_the_bucket_are_not_listed(
    swift_endpoint: S3Endpoint, fresh_bucket: Callable[[], str]
) -> None:
    bucket, client = fresh_bucket(), swift_endpoint.client()
    for name in ("README", "blobs/notes", f"other/{new_key()}", f"{new_key()}/more"):
        client.put_object(Bucket=bucket, Key=name, Body=b"x")
    store, key = open_store(f"s3://{bucket}", options=swift_endpoint.options()), new_key()

    store.write(key, [b"x"])

    assert list(store.keys()) == [(key, 1)]


# Signed URLs


@pytest.fixture(scope="module")
def object_key(store: BlobStore) -> str:
    key = new_key()
    store.write(key, [bytes(range(256)) * 4])
    return key


def signed(store: BlobStore, key: str, expires_s: int = 60) -> str:
    url = store.url(key, expires_s=expires_s)
    assert url is not None
    return url


@ON_SWIFT
def test_a_signed_url_gives_the_object_and_ranges_of_it_without_credentials(store: BlobStore, object_key: str) -> None:
    url, data = signed(store, object_key), bytes(range(256)) * 4

    whole = httpx.get(url)
    part = httpx.get(url, headers={"Range": "bytes=10-299"})

    assert (whole.status_code, whole.content) == (200, data)
    assert (part.status_code, part.content) == (206, data[10:300])
    assert part.headers["Content-Range"] == "bytes 10-299/1024"


@ON_SWIFT
def test_a_signed_url_opens_nothing_else(store: BlobStore, object_key: str) -> None:
    other = new_key()
    store.write(other, [b"secret"])
    url = signed(store, object_key)

    answers = {
        "tampered": httpx.get(url[:-4] + ("0000" if not url.endswith("0000") else "1111")),
        "another object": httpx.get(url.replace(object_key, other)),
        "another method": httpx.put(url, content=b"x"),
        "longer": httpx.get(url.replace("X-Amz-Expires=60", "X-Amz-Expires=6000")),
    }

    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(answers, 403)


@ON_SWIFT
def test_a_signed_url_ends_when_it_says(store: BlobStore, object_key: str) -> None:
    url, deadline = signed(store, object_key, expires_s=1), time.monotonic() + DEADLINE_S

    while httpx.get(url).status_code == 200 and time.monotonic() < deadline:
        time.sleep(0.1)

    assert httpx.get(url).status_code == 403


@pytest.mark.parametrize("expires_s", [0, -1, 604_801])
def test_a_url_that_lives_too_long_or_not_at_all_is_refused(down: BlobStore, expires_s: int) -> None:
    with pytest.raises(InvalidInput, match="1 to 604800 seconds"):
        down.url(new_key(), expires_s=expires_s)


def test_signing_sends_nothing(down: BlobStore) -> None:
    assert "X-Amz-Expires=604800" in signed(down, new_key(), expires_s=604_800)
