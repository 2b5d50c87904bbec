"""Packs are read through what needs them: ranges, redirects, and one answer for all that is not."""

import pytest

from deltareg.identity.storage_map import StorageMap
from tests.fixtures.registries import SAMPLES, SCOPES

UNKNOWN = f"sha256:{'0' * 64}"


def packs(client, ref="team/lora:v1"):
    info = client.show(ref)
    line, _, version = info.ref.partition(":v")
    raw = client._api.send("GET", f"/deltas/{line}/versions/{version}/storage").content
    return [(str(pack.digest), pack.size_bytes) for pack in StorageMap.decode(raw).packs]


@pytest.fixture(scope="module")
def pack(shared_registry):
    """Give digest, size and bytes of a pack."""
    (found,) = packs(shared_registry.client())
    http = shared_registry.http(shared_registry.token("read"))
    data = http.get(f"/blobs/{found[0]}", params={"of": "team/lora:v1"}).content
    return *found, data


@pytest.fixture
def read(shared_registry, pack):
    http = shared_registry.http(shared_registry.token("read"))

    def get(header=None, *, of="team/lora:v1", if_range=None):
        headers = {} if header is None else {"Range": header}
        headers |= {} if if_range is None else {"If-Range": if_range}
        return http.get(f"/blobs/{pack[0]}", params={"of": of}, headers=headers)

    return get


def test_the_whole_pack(read, pack):
    answer = read()

    assert answer.status_code == 200
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert int(answer.headers["Content-Length"]) == len(answer.content) == pack[1]


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        ("bytes=7-", 7, None),
        ("bytes=-4", -4, None),
        ("bytes=0-99999999999", 0, None),
        ("bytes=-99999999999", 0, None),
    ],
)
def test_a_range_of_it(read, pack, header, start, stop):
    size, data = pack[1:]

    answer = read(header)

    expected = data[start:stop]
    first = size + start if start < 0 else start
    assert answer.status_code == 206
    assert answer.content == expected
    assert answer.headers["Content-Range"] == f"bytes {first}-{first + len(expected) - 1}/{size}"


@pytest.mark.parametrize("header", ["bytes=99999999999-", "bytes=-0"])
def test_a_range_outside_of_it(read, pack, header):
    answer = read(header)

    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == f"bytes */{pack[1]}"


@pytest.mark.parametrize("header", ["", "bytes=", "bytes=-", "lines=1-2", "bytes=1-2,4-5", "bytes=9-5", "bytes=a-b"])
def test_a_range_that_is_none_is_ignored(read, pack, header):
    answer = read(header)

    assert (answer.status_code, len(answer.content)) == (200, pack[1])


def test_a_range_of_a_pack_that_is_still_the_same(read):
    tag = read("bytes=5-9").headers["ETag"]

    same = read("bytes=5-9", if_range=tag)
    others = [read("bytes=5-9", if_range=text) for text in (f"W/{tag}", f'"{UNKNOWN}"', "junk")]

    assert (same.status_code, len(same.content)) == (206, 5)
    assert [answer.status_code for answer in others] == [200, 200, 200]


def test_a_digest_is_no_capability(local_registry):
    client = local_registry.line("lora")
    path = SAMPLES / "deltas" / "tinyllama" / "lora_qv"
    client.push(path, "other/qv", base="tinyllama")
    http = local_registry.http(local_registry.token("read", principal="eve"))
    ((mine, _),) = packs(client)
    ((others, _),) = packs(client, "other/qv:v1")

    answers = [
        http.get(f"/blobs/{digest}", params={"of": of})
        for digest, of in (
            (others, "team/lora:v1"),
            (mine, "other/qv:v1"),
            (UNKNOWN, "team/lora:v1"),
            (mine, "base:tinyllama"),
            (mine, "team/absent:v1"),
            (mine, "team/lora:v7"),
            (mine, "base:absent"),
        )
    ]

    assert {(a.status_code, a.json()["code"]) for a in answers} == {(404, "not_found")}
    texts = {a.json()["detail"].replace(others[7:19], "X").replace("0" * 12, "X") for a in (answers[0], answers[2])}
    assert len(texts) == 1, "an unknown digest and a foreign one read alike"


def test_what_was_collected_is_gone(local_registry):
    client = local_registry.line("lora", "lora_v2")
    path = SAMPLES / "deltas" / "tinyllama" / "lora_qv"
    client.push(path, "team/qv", base="tinyllama")
    ((digest, _),) = packs(client, "team/qv:v1")
    admin = local_registry.client()
    admin.versions.delete("team/qv:v1")
    admin.storage.collect(dry_run=False, grace_s=0)
    http = local_registry.http(local_registry.token("read"))

    answer = http.get(f"/blobs/{digest}", params={"of": "team/qv:v1"})

    assert (answer.status_code, answer.json()["code"]) == (409, "blocked")
    assert "collection has freed its bytes" in answer.json()["detail"]


def test_a_pack_that_the_store_lost_is_the_stores_fault(local_registry):
    client = local_registry.line("lora")
    ((digest, _),) = packs(client)
    for key, _ in list(local_registry.registry.store.keys("blobs/")):
        local_registry.registry.store.delete(key)
    http = local_registry.http(local_registry.token("read"))

    answer = http.get(f"/blobs/{digest}", params={"of": "team/lora:v1"})

    assert (answer.status_code, answer.json()["code"]) == (502, "blob_missing")


@pytest.mark.postgres
@pytest.mark.s3
def test_a_bucket_serves_its_packs_itself(bucket_registry):
    client = bucket_registry.line("lora")
    ((digest, size),) = packs(client)
    http = bucket_registry.http(bucket_registry.token(*SCOPES))
    http.headers["Range"] = "bytes=4-7"

    answer = http.get(f"/blobs/{digest}", params={"of": "team/lora:v1"})
    followed = http.get(f"/blobs/{digest}", params={"of": "team/lora:v1"}, follow_redirects=True)

    assert answer.status_code == 307
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Signature" in answer.headers["Location"]
    assert followed.history
    assert "authorization" not in followed.request.headers
    assert (followed.status_code, len(followed.content)) == (206, 4)
    assert size > 8
