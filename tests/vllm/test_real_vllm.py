"""An agent and a real vLLM: moves under load, another base, kills, folders that go.

It takes the program that DELTAREG_TEST_VLLM names (`make soak-vllm`), minutes for each start.
What is right is what vLLM itself says with the folder that was pushed, loaded by hand.
"""

import os
import shutil
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.client.agents import PROD, SCOPES, aliases, reported, running_agent
from tests.fixtures.processes import until
from tests.vllm.models import make_base, make_lora
from tests.vllm.real_server import NAME, PROGRAM, program, start

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(program() is None, reason=f"{PROGRAM} names no vLLM: make soak-vllm"),
]

LINE = "team/lora"
MOVES = int(os.environ.get("DELTAREG_SOAK_MOVES", "100"))
CLIENTS = 8
PROMPT = [5, 17, 99, 42, 7, 250, 31, 8]
OPTIONS = ("--max-loras", "1", "--max-cpu-loras", "2", "--max-lora-rank", "8")


class Asking:
    """Clients that read the alias file before each request; counts right, wrong and failed."""

    def __init__(self, url: str, folder: Path, right: dict[int, str]):
        self.url, self.folder, self.right = url, folder, right
        self.counts: Counter[str] = Counter()
        self.stopped = threading.Event()

    def be_a_client(self) -> None:
        with httpx.Client(base_url=self.url, timeout=60, verify=False) as http:
            while not self.stopped.is_set():
                told = aliases(self.folder).get(PROD)
                self.counts["unnamed" if told is None else self._ask(http, told)] += 1
                time.sleep(0.02)

    def _ask(self, http: httpx.Client, told) -> str:
        answer = complete(http, told["served"])
        if answer.is_error:
            return "failed"
        return "right" if text_of(answer) == self.right[told["version"]] else "wrong"


@contextmanager
def load_on(url, folder, right):
    """Ask from eight sides while the block lasts."""
    asking = Asking(url, folder, right)
    threads = [threading.Thread(target=asking.be_a_client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield asking.counts
    finally:
        asking.stopped.set()
        for thread in threads:
            thread.join(90)


def complete(http, name):
    body = {"model": name, "prompt": PROMPT, "max_tokens": 12, "temperature": 0}
    return http.post("/v1/completions", json=body)


def text_of(answer):
    return answer.json()["choices"][0]["text"]


def ask_for(url, name):
    with httpx.Client(base_url=url, timeout=60, verify=False) as http:
        answer = complete(http, name)
        return text_of(answer.raise_for_status())


def loaded(url):
    models = httpx.get(f"{url}/v1/models", verify=False, timeout=10).json()["data"]
    return sorted(model["id"] for model in models if model["parent"])


def what_is_right(url, folders):
    """Ask vLLM with the folders that were pushed, loaded by hand and unloaded again."""
    found = {}
    with httpx.Client(base_url=url, timeout=60, verify=False) as http:
        for version, folder in folders.items():
            name = f"by-hand-{version}"
            body = {"lora_name": name, "lora_path": str(folder)}
            http.post("/v1/load_lora_adapter", json=body).raise_for_status()
            found[version] = text_of(complete(http, name).raise_for_status())
            http.post("/v1/unload_lora_adapter", json=body).raise_for_status()
    assert len({*found.values(), ask_for(url, NAME)}) == len(found) + 1  # they can be told apart
    return found


@pytest.fixture
def bases(tmp_path):
    return {name: make_base(tmp_path / f"base-{name}", seed=seed) for name, seed in zip("ab", (1, 9), strict=True)}


@pytest.fixture
def folders(tmp_path, bases):
    return {version: make_lora(bases["a"], tmp_path / f"lora-{version}", seed=version) for version in (1, 2)}


@pytest.fixture
def maker(local_registry, bases, folders):
    """Put two versions on prod, one after the other."""
    maker = local_registry.client(principal="maker")
    maker.bases.push(bases["a"], "a")
    for version, folder in folders.items():
        maker.push(folder, LINE, base="a")
        local_registry.verified(f"{LINE}:v{version}")
        maker.promote(f"{LINE}:v{version}", "prod")
    return maker


def move(maker, step):
    if step % 2 == 0:
        maker.rollback(LINE, "prod")
        maker.channels.clear_quarantine(LINE, "prod", 2, reason="for the test")
        return 1
    maker.promote(f"{LINE}:v2", "prod")
    return 2


@pytest.mark.timeout(0)
def test_a_real_vllm_serves_what_channels_say_and_survives_what_hosts_do(
    local_registry, bases, maker, folders, tmp_path, figures
):
    host = local_registry.client(SCOPES, principal="host")
    home, logs = tmp_path / "served", tmp_path / "logs"
    server = start(bases["a"], logs, *OPTIONS)
    port = urlsplit(server.url).port
    try:
        began = time.monotonic()
        server.wait()
        figures("start", f"{time.monotonic() - began:.0f} s until healthy")
        right = what_is_right(server.url, folders)
        options = {"engine": "vllm", "url": server.url, "drain_s": 2.0, "interval_s": 0.2}
        with running_agent(host, home, **options) as events:
            until(lambda: aliases_of(home), "v2 is served")
            assert reported(maker, 2).base == "checked"

            _move_under_load(server.url, home, right, maker, figures)
            _lose_folders(server.url, home, right, figures)
            _write_into_a_folder(server.url, home, right, folders)

            server.kill()
            server = start(bases["b"], logs, *OPTIONS, port=port)
            server.wait()
            with load_on(server.url, home, right) as counts:
                until(lambda: events[-1].observed.base == "wrong", "it is seen")
                time.sleep(2)  # for eight clients to be answered nonsense, if anything is loaded
            figures("another base", told(counts))
            assert counts["wrong"] == counts["right"] == 0
            assert loaded(server.url) == []

            server.kill()
            server = start(bases["a"], logs, *OPTIONS, port=port)
            server.wait()
            healthy = time.monotonic()
            until(lambda: aliases_of(home) and loaded(server.url), "it is served again")
            figures("after a kill", f"served {time.monotonic() - healthy:.1f} s after healthy")
            assert ask_for(server.url, aliases(home)[PROD]["served"]) == right[version_of(home)]
    finally:
        server.stop()


def aliases_of(home):
    return (home / "serving.json").exists() and PROD in aliases(home)


def version_of(home):
    return aliases(home)[PROD]["version"]


def told(counts):
    return ", ".join(f"{counts[name]} {name}" for name in ("right", "wrong", "failed", "unnamed"))


def _move_under_load(url, home, right, maker, figures):
    took = []
    with load_on(url, home, right) as counts:
        for step in range(MOVES):
            began = time.monotonic()
            version = move(maker, step)
            until(lambda: version_of(home) == version, "it is served")  # noqa: B023
            took.append(time.monotonic() - began)
    took.sort()
    figures(
        f"{MOVES} moves under {CLIENTS} clients",
        f"{told(counts)}; heard and served in {took[len(took) // 2]:.2f} s, {took[-1]:.2f} at most",
    )
    assert counts["wrong"] == counts["failed"] == counts["unnamed"] == 0
    assert counts["right"] > MOVES


def _lose_folders(url, home, right, figures):
    """Delete what vLLM has loaded, and let another adapter evict it: vLLM comes back to it."""
    with load_on(url, home, right) as counts:
        for _ in range(3):
            folder = Path(aliases(home)[PROD]["path"])
            shutil.rmtree(folder)
            until(folder.exists, "it is made anew")
            evict(url, folder)
    figures("3 folders deleted", told(counts))
    assert httpx.get(f"{url}/health", verify=False, timeout=10).is_success
    assert counts["wrong"] == counts["failed"] == 0


def evict(url, folder):
    """Use other adapters, more than vLLM keeps."""
    with httpx.Client(base_url=url, timeout=60, verify=False) as http:
        for number in range(3):
            body = {"lora_name": f"other-{number}", "lora_path": str(folder)}
            http.post("/v1/load_lora_adapter", json=body).raise_for_status()
            complete(http, body["lora_name"]).raise_for_status()
            http.post("/v1/unload_lora_adapter", json=body).raise_for_status()


def _write_into_a_folder(url, home, right, folders):
    name, version = aliases(home)[PROD]["served"], version_of(home)
    other = folders[3 - version] / "adapter_model.safetensors"
    shutil.copy(other, Path(aliases(home)[PROD]["path"]) / other.name)
    until(lambda: aliases(home)[PROD]["served"] != name, "it is served under another name")

    assert ask_for(url, aliases(home)[PROD]["served"]) == right[version]
