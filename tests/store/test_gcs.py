"""The store in a bucket of Cloud Storage, where it differs from others: conditions and refusals."""

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from uuid import uuid4

import pytest

from deltareg.digest import sha256_of
from deltareg.errors import Conflict, StoreMisconfigured, StoreUnavailable
from deltareg.store import fresh_key, open_store
from deltareg.store.gcs import GcsOptions, GcsStore
from tests.fixtures.gcs import GcsEndpoint


@pytest.fixture
def bucket(gcs_endpoint: GcsEndpoint) -> str:
    return f"gs://{gcs_endpoint.make_bucket()}"


def new_key() -> str:
    return fresh_key(sha256_of(b"x"), attempt=uuid4())


def test_of_writers_of_one_key_at_once_one_wins(gcs_endpoint: GcsEndpoint, bucket: str) -> None:
    store, key = open_store(bucket, options=gcs_endpoint.options()), new_key()

    def write(number: int) -> int | None:
        try:
            store.write(key, [b"%d" % number])
        except Conflict:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        won = [number for number in pool.map(write, range(8)) if number is not None]

    assert len(won) == 1
    assert b"".join(store.read(key)) == b"%d" % won[0]


def test_a_write_whose_answer_was_lost_is_no_conflict_with_itself(
    gcs_endpoint: GcsEndpoint, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = pytest.importorskip("google.cloud.storage")
    send = storage.Blob.upload_from_string

    def send_twice(self: object, *args: object, **options: object) -> None:
        send(self, *args, **options)
        send(self, *args, **options)  # as the library does when no answer came

    monkeypatch.setattr(storage.Blob, "upload_from_string", send_twice)
    store = open_store(bucket, options=gcs_endpoint.options())

    assert store.write(new_key(), [b"abc"]) == 3


def test_a_bucket_that_is_not_there_is_a_wrong_setting(gcs_endpoint: GcsEndpoint) -> None:
    store, key = open_store("gs://no-such-bucket", options=gcs_endpoint.options()), new_key()

    for call in (store.size, store.read, store.delete, lambda key: store.write(key, [b"x"])):
        with pytest.raises(StoreMisconfigured, match="404") as refused:
            call(key)
        assert "create the bucket" in refused.value.fix
    with pytest.raises(StoreMisconfigured):
        store.check()


def test_a_server_that_does_not_answer_is_worth_a_retry(
    gcs_endpoint: GcsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deltareg.store.gcs._PATIENCE_S", 0.2)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    store = open_store("gs://bucket", options=GcsOptions(endpoint_url=f"http://127.0.0.1:{port}"))

    with pytest.raises(StoreUnavailable, match="does not answer"):
        store.size(new_key())


def test_who_holds_no_key_signs_no_url(gcs_endpoint: GcsEndpoint, bucket: str) -> None:
    assert open_store(bucket, options=gcs_endpoint.options()).url(new_key(), expires_s=60) is None


def test_a_key_file_that_is_none_is_a_wrong_setting(gcs_endpoint: GcsEndpoint, tmp_path) -> None:
    (tmp_path / "key.json").write_text("{}")

    for name in ("key.json", "absent.json"):
        with pytest.raises(StoreMisconfigured, match=r"cannot be used|no credentials"):
            open_store("gs://bucket", options=GcsOptions(credentials_file=tmp_path / name))


def test_a_long_upload_goes_on_the_condition_that_nothing_has_the_name(gcs_endpoint: GcsEndpoint, bucket: str) -> None:
    store, key = open_store(bucket, options=gcs_endpoint.options()), new_key()
    assert isinstance(store, GcsStore)
    asked: list[str] = []
    store._client._http.hooks["response"].append(lambda answer, **_: asked.append(answer.url))

    store.write(key, [b"x" * (9 << 20)])

    (begun,) = [url for url in asked if "uploadType=resumable" in url and "upload_id" not in url]
    assert "ifGenerationMatch=0" in begun
