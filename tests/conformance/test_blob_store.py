"""What every blob store promises, run against memory, a local folder and real servers."""

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest

from deltareg.store import open_store
from deltareg.store.watched import WatchedStore
from deltareg.testing import OpenedStore, StoreTests
from deltareg.testing.stores.opened import new_key
from tests.fixtures.gcs import GcsEndpoint
from tests.fixtures.swift import S3Endpoint


class TestMemory(StoreTests):
    @pytest.fixture
    def opened(self):
        return OpenedStore(open_store("memory://"), is_streaming=False)


class TestLocal(StoreTests):
    @pytest.fixture
    def opened(self, tmp_path):
        root = tmp_path / "store"
        store = open_store(root.as_uri())
        return OpenedStore(store, lambda: [path.name for path in (root / "tmp").iterdir()])


class TestWatched(StoreTests):
    @pytest.fixture
    def opened(self):
        return OpenedStore(WatchedStore(open_store("memory://")), is_streaming=False)


@pytest.mark.s3
class TestS3(StoreTests):
    # Opening takes a third of a second, and pages of the S3 server of the tests have ten keys.
    @pytest.fixture(scope="class")
    @classmethod
    def bucket(cls, swift_endpoint: S3Endpoint, fresh_bucket: Callable[[], str]):
        bucket, client = fresh_bucket(), swift_endpoint.client()

        def uploads():
            found = client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
            return [upload["Key"] for upload in found]

        store = open_store(f"s3://{bucket}/a/prefix", options=swift_endpoint.options())
        return OpenedStore(store, uploads, many_keys=25)

    @pytest.fixture
    def opened(self, bucket):
        return emptied(bucket)

    def test_a_url_is_signed_for_a_time(self, opened):
        query = parse_qs(urlsplit(opened.store.url(new_key(), expires_s=60)).query)

        assert query["X-Amz-Expires"] == ["60"]
        assert len(query["X-Amz-Signature"][0]) == 64


class TestGcs(StoreTests):
    @pytest.fixture(scope="class")
    @classmethod
    def bucket(cls, gcs_endpoint: GcsEndpoint):
        store = open_store(f"gs://{gcs_endpoint.make_bucket()}/a/prefix", options=gcs_endpoint.options())
        return OpenedStore(store, many_keys=25)

    @pytest.fixture
    def opened(self, bucket):
        return emptied(bucket)


def emptied(opened):
    """Take out of a store what the test before left there."""
    for key, _ in list(opened.store.keys()):
        opened.store.delete(key)
    return opened
