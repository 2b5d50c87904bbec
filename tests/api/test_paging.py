"""Lists: limits, cursors that go on where they stopped, cursors that are nobody's."""

import base64

import pytest

from deltareg.client import Client
from tests.fixtures.registries import SAMPLES, SCOPES

LISTS = [
    "/bases",
    "/deltas",
    "/deltas/team",
    "/deltas/team/lora/versions",
    "/deltas/team/lora/log",
    "/deltas/team/lora/channels/prod/revisions",
    "/runs",
    "/verdicts",
    "/tokens",
    "/audit",
]
GARBAGE = [
    "x",
    "====",
    "AAAA",
    "é",
    "%00",
    "-1",
    "0" * 4000,
    *(
        base64.urlsafe_b64encode(raw).decode()
        for raw in (
            b"\x00",
            b"\xff\xfe",
            b"a\x00b",
            b"-1",
            b"1e9",
            b"9" * 19,
            b"9" * 5000,
            b"1/\x00",
            "٣".encode(),
            b"9999999999999999999/x",
            b"'; drop table bases; --\n",
        )
    ),
]


@pytest.fixture(scope="module")
def http(shared_registry):
    client = shared_registry.client()
    client.bases.push(SAMPLES / "bases" / "tinyllama_sharded", "a-sharded")
    client.bases.push(SAMPLES / "bases" / "tinygpt2", "tinygpt2")
    for delta in ("lora_v2", "lora_qv", "lora_dora"):
        path = SAMPLES / "deltas" / "tinyllama" / delta
        ref = client.push(path, "team/lora", base="tinyllama").version.ref
        client.push(path, f"team/{delta}", base="tinyllama")
        shared_registry.verified(ref)
        client.promote(ref, "prod")
    return shared_registry.http(shared_registry.token(*SCOPES))


@pytest.mark.parametrize("path", LISTS)
def test_pages_make_up_the_list(http, path):
    whole = http.get(path, params={"limit": 200}).json()

    items, cursor = [], None
    while True:
        query = {"limit": 2} | ({} if cursor is None else {"cursor": cursor})
        page = http.get(path, params=query).json()
        assert len(page["items"]) <= 2
        items += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert len(items) >= 3
    assert items == whole["items"]
    assert whole["next_cursor"] is None


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("limit", ["0", "-1", "201", "1e3", "x", "", "9" * 30])
def test_a_limit_is_1_to_200(http, path, limit):
    assert http.get(path, params={"limit": limit}).status_code == 422


@pytest.mark.parametrize("path", LISTS)
def test_a_cursor_of_nobodys_is_refused_or_finds_its_place(http, path):
    by_name = path in {"/bases", "/deltas", "/deltas/team"}
    for cursor in GARBAGE:
        answer = http.get(path, params={"cursor": cursor})
        assert answer.status_code in ({200, 422} if by_name else {422}), cursor


@pytest.mark.parametrize("path", LISTS)
def test_a_cursor_of_another_list_does_no_harm(http, path):
    for other in LISTS:
        cursor = http.get(other, params={"limit": 1}).json()["next_cursor"]
        assert http.get(path, params={"cursor": cursor}).status_code in {200, 422}


def test_a_list_goes_on_though_something_is_added_in_front(http, shared_registry):
    first = http.get("/deltas/team/lora/log", params={"limit": 2}).json()
    shared_registry.client().channels.create("team/lora", "canary")
    with Client(shared_registry.client().config) as client:
        client.verify("team/lora", again=True)
        shared_registry.verified("team/lora_qv")

    second = http.get("/deltas/team/lora/log", params={"cursor": first["next_cursor"]}).json()

    assert not [item for item in second["items"] if item in first["items"]]
