"""A channel's name and two agents in a real vLLM: right after each move, and nothing to say at rest.

It takes the program that DELTAREG_TEST_VLLM names (`make soak-vllm`). What is right is what vLLM says
with the folder that was pushed, loaded by hand. Prompts are long, so that prefixes are cached.
"""

import logging
import os
import threading
import time
from collections import Counter
from contextlib import contextmanager

import httpx
import pytest

from tests.client.agents import PROD, SCOPES, running_agent
from tests.fixtures.processes import until
from tests.vllm.models import make_base, make_lora
from tests.vllm.real_server import PROGRAM, program, start

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(0),
    pytest.mark.skipif(program() is None, reason=f"{PROGRAM} names no vLLM: make soak-vllm"),
]

LINE = "team/lora"
MOVES = int(os.environ.get("DELTAREG_SOAK_MOVES", "100"))
CLIENTS, REST_S = 8, 60.0
PROMPT = [5 + 7 * step % 350 for step in range(306)]
OPTIONS = ("--max-loras", "2", "--max-cpu-loras", "4", "--max-lora-rank", "8")
QUIET = ("--disable-access-log-for-endpoints", "/health,/v1/models")
CHANNELS = ("--middleware", "deltareg.integrations.vllm.ChannelNames")


class Clients:
    """Clients that ask for one constant name, as fast as they are answered."""

    def __init__(self, url):
        self.url, self.newest, self.stopped = url, 0, threading.Event()
        self.answers: list[tuple[int, int, str]] = []
        self.errors: list[str] = []

    def be_one(self):
        with httpx.Client(base_url=self.url, timeout=60, verify=False) as http:
            while not self.stopped.is_set():
                before, answer = self.newest, complete(http, PROD)
                if answer.is_error:
                    self.errors.append(f"{answer.status_code} {answer.text[:200]}")
                    continue
                revision = int(answer.json()["model"].partition("#")[2])
                self.newest = max(self.newest, revision)
                self.answers.append((before, revision, text_of(answer)))

    def judge(self, right):
        """Count what is right by its revision, and not older than what was answered before it was asked."""
        is_right = [revision >= before and text == right[revision] for before, revision, text in self.answers]
        return Counter("right" if each else "wrong" for each in is_right)


@contextmanager
def asking(url):
    clients = Clients(url)
    threads = [threading.Thread(target=clients.be_one) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield clients
    finally:
        clients.stopped.set()
        for thread in threads:
            thread.join(90)


def complete(http, name):
    body = {"model": name, "prompt": PROMPT, "max_tokens": 12, "temperature": 0}
    return http.post("/v1/completions", json=body)


def text_of(answer):
    return answer.json()["choices"][0]["text"]


def by_hand(url, folders):
    found = {}
    with httpx.Client(base_url=url, timeout=60, verify=False) as http:
        for version, folder in folders.items():
            body = {"lora_name": f"by-hand-{version}", "lora_path": str(folder)}
            http.post("/v1/load_lora_adapter", json=body).raise_for_status()
            found[version] = text_of(complete(http, body["lora_name"]).raise_for_status())
            http.post("/v1/unload_lora_adapter", json=body).raise_for_status()
    assert len(set(found.values())) == len(found)
    return found


def test_one_constant_name_is_right_after_each_move_and_two_agents_are_quiet(local_registry, tmp_path, figures, caplog):
    base = make_base(tmp_path / "base", seed=1)
    folders = {version: make_lora(base, tmp_path / f"lora-{version}", seed=version) for version in (1, 2)}
    maker = local_registry.client(principal="maker")
    maker.bases.push(base, "a")
    for version, folder in folders.items():
        maker.push(folder, LINE, base="a")
        local_registry.verified(f"{LINE}:v{version}")
        maker.promote(f"{LINE}:v{version}", "prod")
    surroundings = {
        "DELTAREG_SERVER": local_registry.url,
        "DELTAREG_TOKEN": local_registry.token("read", principal="host"),
        "DELTAREG_CACHE_DIR": str(tmp_path / "cache"),
    }
    server = start(base, tmp_path / "logs", *OPTIONS, *QUIET, *CHANNELS, environ=surroundings)
    try:
        server.wait()
        right = by_hand(server.url, folders)
        _move_under_load(server.url, right, maker, figures)
        _rest(server, local_registry, tmp_path, figures, caplog)
    finally:
        server.stop()


def _move_under_load(url, right, maker, figures):
    took = []
    with asking(url) as clients:
        until(lambda: len(clients.answers) > CLIENTS, "the name is served", timeout_s=60)
        for step in range(MOVES):
            began = time.monotonic()
            if step % 2 == 0:
                maker.rollback(LINE, "prod")
                maker.channels.clear_quarantine(LINE, "prod", 2, reason="for the test")
            else:
                maker.promote(f"{LINE}:v2", "prod")
            revision = maker.channels.show(LINE, "prod").revision
            until(lambda: clients.newest >= revision, "the next version answers", timeout_s=60)  # noqa: B023
            took.append(time.monotonic() - began)
    took.sort()
    counts = clients.judge(
        {row.revision: right[row.version] for row in maker.channels.history(LINE, "prod", limit=200)}
    )
    figures(
        f"{MOVES} moves of one name under {CLIENTS} clients",
        f"{counts['right']} right, {counts['wrong']} wrong, {len(clients.errors)} failed;"
        f" served in {took[len(took) // 2]:.2f} s, {took[-1]:.2f} at most; {Counter(clients.errors).most_common(2)}",
    )
    assert counts["wrong"] == len(clients.errors) == 0
    assert counts["right"] > MOVES


def _rest(server, local_registry, tmp_path, figures, caplog):
    """Let two agents with folders of their own serve the same channel for a minute."""
    clients = [local_registry.client(SCOPES, principal=name) for name in ("one", "two")]
    folders = [tmp_path / "agents" / name for name in ("one", "two")]
    caplog.set_level(logging.INFO, "deltareg")
    options = {"engine": "vllm", "url": server.url, "interval_s": 2.0, "report_s": 10.0}
    with (
        running_agent(clients[0], folders[0], agent="one", **options),
        running_agent(clients[1], folders[1], agent="two", **options),
    ):
        until(lambda: all((folder / "serving.json").exists() for folder in folders), "both serve", timeout_s=120)
        time.sleep(25)  # vLLM tells figures every ten seconds, and once more when nobody asks any more
        said, written = len(caplog.records), server.log.read_text().count("\n")
        time.sleep(REST_S)
        ours = [record for record in caplog.records[said:] if not record.name.startswith("deltareg.requests")]
        theirs = server.log.read_text().split("\n")[written:-1]
    figures("two agents at rest", f"{len(ours)} lines of theirs and {len(theirs)} of vLLM's in {REST_S:.0f} s")
    assert [record.getMessage() for record in ours if record.name.startswith("deltareg")] == []
    assert theirs == []
