"""Those who wait for news are sent home, with an answer, when the server is to end."""

import threading
import time

import httpx
import pytest

from tests.fixtures.processes import until
from tests.fixtures.registries import SAMPLES
from tests.signers import key_of

KEY = str(key_of("waiter").public)
LORA = SAMPLES / "deltas" / "tinyllama" / "lora"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/runs/{run}?wait=50&seen=done", None),
        ("GET", "/runs/{run}/log?wait=50", None),
        ("POST", "/leases", {"worker": "w", "wait_s": 50, "key": KEY}),
    ],
    ids=["run", "log", "lease"],
)
def test_a_wait_ends_with_an_answer_when_the_server_ends(local_registry, method, path, body):
    client = local_registry.client()
    client.bases.push(SAMPLES / "bases" / "tinyllama", "tinyllama")
    ref = client.push(LORA, "me/chat", base="tinyllama").version.ref
    local_registry.verified(ref)  # so that nothing is left to be leased
    path = path.format(run=client.verify(ref).id)
    http = local_registry.http(local_registry.token("read", "verify", principal="waiter", kind="wrk"))
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(http.request(method, path, json=body, timeout=60)))
    waiting.start()
    time.sleep(0.5)  # by then it waits; and if not, it is sent home all the same
    assert not answers

    local_registry.app.state.server.is_closing = True
    waiting.join(30)

    assert [answer.status_code for answer in answers] == [200]


def test_a_worker_that_hangs_up_while_it_waits_is_gone(local_registry):
    client = local_registry.client()
    http = local_registry.http(local_registry.token("read", "verify", principal="waiter", kind="wrk"))
    with pytest.raises(httpx.ReadTimeout):
        http.post("/leases", json={"worker": "w", "wait_s": 50, "key": KEY}, timeout=0.5)

    http.close()

    until(lambda: not client.runs.workers().items[0].is_live, "the server notices", timeout_s=20)
    again = local_registry.http(local_registry.token("read", "verify", principal="waiter", kind="wrk"))
    again.post("/leases", json={"worker": "w", "wait_s": 0, "key": KEY})
    assert client.runs.workers().items[0].is_live
