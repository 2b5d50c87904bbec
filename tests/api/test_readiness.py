"""`/readyz` asks what a server needs, in a bounded time, and no more often than it has to."""

import threading
import time
from dataclasses import replace

import httpx
import pytest

from deltareg.api.bounded_look import BoundedLook, look_at_store
from deltareg.api.health_checks import HealthChecks
from deltareg.errors import DiskFull, StoreMisconfigured, Unavailable
from deltareg.store.local import LocalStore
from deltareg.store.memory import MemoryStore


class Refuses(MemoryStore):
    def write(self, key, body):
        raise StoreMisconfigured("https://secret.example/bucket refuses the key AKIA123")


class IsFull(MemoryStore):
    def write(self, key, body):
        raise DiskFull("no room")


class Changes(MemoryStore):
    def read(self, key, start=0, stop=None):
        return iter([b"other bytes"])


class Hangs(MemoryStore):
    def __init__(self):
        super().__init__()
        self.goes_on, self.asked = threading.Event(), 0

    def write(self, key, body):
        self.asked += 1
        self.goes_on.wait(30)
        return super().write(key, body)


def asked(local_registry, store, path="/readyz"):
    registry = replace(local_registry.registry, store=store)
    local_registry.app.state.server.health = HealthChecks.of(registry, None)
    return httpx.get(local_registry.url + path, verify=False)


@pytest.mark.parametrize(
    ("store", "told"),
    [
        (Refuses, "the store cannot be written: it refuses what the settings say"),
        (IsFull, "the store cannot be written: there is no room"),
        (Changes, "other bytes than it took"),
    ],
)
def test_a_server_whose_store_refuses_is_not_ready_and_says_no_secret(local_registry, store, told):
    answered = asked(local_registry, store())

    assert (answered.status_code, told in answered.json()["detail"]) == (503, True)
    assert "secret.example" not in answered.text
    assert asked(local_registry, store(), "/readyz?exclude=store").status_code == 200
    assert asked(local_registry, MemoryStore()).text == "ok\n"


def test_a_folder_that_is_gone_is_told_and_nothing_is_left_in_one_that_works(local_registry, tmp_path):
    works, gone = LocalStore(tmp_path / "works"), LocalStore(tmp_path / "gone")
    (tmp_path / "gone" / "tmp").rmdir()

    assert asked(local_registry, works).status_code == 200
    assert list(works.keys()) == []
    assert "cannot be written" in asked(local_registry, gone).json()["detail"]


def test_what_hangs_is_given_up_and_asked_once():
    store = Hangs()
    look = replace(look_at_store(store), within_s=0.05)

    first, again = look.take(), look.take()
    store.goes_on.set()

    assert isinstance(first, Unavailable)
    assert "within 0.05 s" in str(again)
    assert store.asked == 1


def test_an_answer_is_reused_for_some_seconds():
    now, asked_at = [0.0], []

    def fail_first():
        asked_at.append(now[0])
        return Unavailable("no") if len(asked_at) == 1 else None

    look = BoundedLook("it", fail_first, good_s=15, bad_s=5, clock=lambda: now[0])
    for now[0] in (0.0, 4.0, 6.0, 7.0, 20.0, 22.0):
        look.take()

    assert asked_at == [0.0, 6.0, 22.0]


def test_a_flood_of_questions_is_one_for_the_store(local_registry):
    class Counts(MemoryStore):
        number = 0

        def write(self, key, body):
            type(self).number += 1
            time.sleep(0.01)
            return super().write(key, body)

    statuses = {asked(local_registry, Counts()).status_code}
    with httpx.Client(base_url=local_registry.url, verify=False) as http:
        statuses |= {http.get("/readyz").status_code for _ in range(60)}

    assert (statuses, Counts.number) == ({200}, 1)
