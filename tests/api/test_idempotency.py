"""`Idempotency-Key`: a request that comes again gets the answer that it had, and acts once."""

import threading
from contextlib import suppress

import httpx
import pytest

from deltareg.db.session import write
from tests.fixtures.registries import SCOPES
from tests.service import rows

MOVES = "/deltas/team/lora/channels/prod/revisions"


@pytest.fixture
def http(local_registry):
    local_registry.line("lora", "lora_v2")
    return local_registry.http(local_registry.token(*SCOPES))


def roll_back(http, key, *, tag='"r2"', reason="why"):
    headers = {"If-Match": tag, **({} if key is None else {"Idempotency-Key": key})}
    return http.post(MOVES, json={"kind": "rollback", "reason": reason}, headers=headers)


def test_the_same_request_again_gets_the_same_answer(http):
    first = roll_back(http, "k1")

    again = roll_back(http, "k1")

    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    assert again.headers["Idempotent-Replay"] == "true"
    assert "Idempotent-Replay" not in first.headers
    assert len(http.get(MOVES).json()["items"]) == 3


def test_without_a_key_the_second_is_stale(http):
    roll_back(http, None)

    assert roll_back(http, None).status_code == 412


def test_without_a_key_no_answer_is_written(http, local_registry):
    http.get(MOVES)  # the token's use is noted

    with rows.asked(local_registry.registry.engine) as asked:
        http.post("/runs", json={"ref": "team/lora"}).raise_for_status()

    assert asked.count("BEGIN IMMEDIATE") == 1


def test_another_request_under_the_key_is_refused(http):
    roll_back(http, "k1")

    for other in (
        roll_back(http, "k1", reason="another"),
        http.post("/runs", json={"ref": "team/lora"}, headers={"Idempotency-Key": "k1"}),
    ):
        assert (other.status_code, other.json()["code"]) == (422, "invalid_input")


def test_a_key_is_one_principals(http, local_registry):
    headers = {"Idempotency-Key": "k1"}
    first = http.post("/runs", json={"ref": "team/lora:v1"}, headers=headers)

    bob = local_registry.http(local_registry.token(*SCOPES, principal="bob"))
    second = bob.post("/runs", json={"ref": "team/lora:v2"}, headers=headers)

    assert first.json()["ref"] != second.json()["ref"]


def test_an_error_is_not_kept(http):
    assert roll_back(http, "k1", tag='"r1"').status_code == 412

    assert roll_back(http, "k1", tag='"r2"').status_code == 200


@pytest.mark.parametrize("key", ["", "x" * 201])
def test_a_key_has_a_length(http, key):
    assert roll_back(http, key).status_code == 422


@pytest.mark.postgres
@pytest.mark.s3
def test_two_at_once_under_one_key_are_both_answered(bucket_registry):
    bucket_registry.line("lora")
    https = [bucket_registry.http(bucket_registry.token(*SCOPES)) for _ in range(4)]
    together, answers = threading.Barrier(4), []

    def run(http):
        together.wait()
        answers.append(http.post("/runs", json={"ref": "team/lora"}, headers={"Idempotency-Key": "k"}))

    threads = [threading.Thread(target=run, args=[http]) for http in https]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_a_move_and_its_answer_are_kept_together_or_not_at_all(local_registry):
    """A server that ends between the two would call a repeated move stale."""
    client = local_registry.line("lora", "lora_v2")
    engine = local_registry.registry.engine
    trigger = "CREATE TRIGGER full BEFORE INSERT ON idempotency BEGIN SELECT RAISE(ABORT, 'no'); END"
    with write(engine) as conn:
        conn.exec_driver_sql(trigger)

    http = local_registry.http(local_registry.token(*SCOPES))
    with suppress(httpx.TransportError):  # an answer of 500 may be cut short
        assert roll_back(http, "k1").status_code >= 400
    before = client.channels.show("team/lora", "prod").revision
    with write(engine) as conn:
        conn.exec_driver_sql("DROP TRIGGER full")
    mended = roll_back(http, "k1")

    assert before == 2
    assert mended.status_code == 200
    assert client.channels.show("team/lora", "prod").revision == 3
