"""The plug-in in a real vLLM: found by its entry point, asked for 200 names, looked after.

It takes the program that DELTAREG_TEST_VLLM names (`make soak-vllm`), with this package installed
beside vLLM. What is right is what vLLM says with the folder that was pushed, loaded by hand.
"""

import inspect
import json
import os
import shutil
import subprocess
import time
from dataclasses import fields

import httpx
import pytest

from tests.fixtures import vllm_library as stand_in
from tests.fixtures.processes import until
from tests.vllm.models import make_base, make_lora
from tests.vllm.real_server import PROGRAM, program, start
from tests.vllm.test_real_vllm import complete, evict, loaded, text_of

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(0),
    pytest.mark.skipif(program() is None, reason=f"{PROGRAM} names no vLLM: make soak-vllm"),
]

LINE = "team/many"
NAMES = int(os.environ.get("DELTAREG_SOAK_NAMES", "200"))
OPTIONS = ("--max-loras", "2", "--max-cpu-loras", "4", "--max-lora-rank", "8")

_SHAPES = """
import inspect, json
from vllm.lora.request import LoRARequest
from vllm.lora.resolver import LoRAResolver, LoRAResolverRegistry
made = LoRARequest(lora_name="n", lora_int_id=1, lora_path="p")
def refused(**given):
    try:
        LoRARequest(**given)
    except (AssertionError, ValueError) as error:
        return type(error).__name__
    return None
methods = ("get_supported_resolvers", "register_resolver", "get_resolver")
print("shapes=" + json.dumps({
    "request": {name: getattr(made, name) for name in %s},
    "refuses": [refused(lora_name="n", lora_int_id=0, lora_path="p"),
                refused(lora_name="n", lora_int_id=1, lora_path="")],
    "abstract": sorted(LoRAResolver.__abstractmethods__),
    "resolve": list(inspect.signature(LoRAResolver.resolve_lora).parameters),
    "is_async": inspect.iscoroutinefunction(LoRAResolver.resolve_lora),
    "registry": {name: list(inspect.signature(getattr(LoRAResolverRegistry, name)).parameters)
                 for name in methods},
}))
"""

_PLUGINS = """
from vllm.plugins import load_general_plugins
import vllm.plugins
from vllm.lora.resolver import LoRAResolverRegistry
for _ in range(2):
    vllm.plugins.plugins_loaded = False
    load_general_plugins()
print("resolvers=" + ",".join(LoRAResolverRegistry.get_supported_resolvers()))
print("kind=" + str(type(LoRAResolverRegistry.get_resolver("deltareg")).__mro__[1].__name__))
"""


def said_by_vllms_python(code, tmp_path):
    """Run code where vLLM is installed; gives what it says, and its log."""
    vllm = program()
    assert vllm is not None
    python = vllm.parent / "python"
    surroundings = os.environ | {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    done = subprocess.run(
        [python, "-c", code], check=False, capture_output=True, text=True, cwd=tmp_path, env=surroundings
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    return told, done.stdout + done.stderr


def test_the_stand_in_is_what_vllm_has(tmp_path):
    names = [field.name for field in fields(stand_in.LoRARequest)]
    told, _ = said_by_vllms_python(_SHAPES % names, tmp_path)

    resolver, registry = stand_in.LoRAResolver, stand_in.ResolverRegistry()
    made = stand_in.LoRARequest("n", 1, "p")
    assert json.loads(told["shapes"]) == {
        "request": {name: getattr(made, name) for name in names},
        "refuses": ["ValueError", "AssertionError"],
        "abstract": sorted(resolver.__abstractmethods__),
        "resolve": list(inspect.signature(resolver.resolve_lora).parameters),
        "is_async": inspect.iscoroutinefunction(resolver.resolve_lora),
        "registry": {
            name: list(inspect.signature(getattr(registry, name)).parameters)
            for name in ("get_supported_resolvers", "register_resolver", "get_resolver")
        },
    }


def test_vllm_finds_the_plug_in_by_its_entry_point(tmp_path):
    told, log = said_by_vllms_python(_PLUGINS, tmp_path)

    assert "deltareg" in told["resolvers"].split(",")
    assert told["kind"] == "LoRAResolver"
    assert "will be overwritten" not in log


def by_hand(url, folders):
    """Ask vLLM with the folders that were pushed, loaded by hand and unloaded again."""
    found = {}
    with httpx.Client(base_url=url, timeout=60, verify=False) as http:
        for name, folder in folders.items():
            body = {"lora_name": "by-hand", "lora_path": str(folder)}
            # One name for all would be answered from the cache of prefixes.
            body["lora_name"] += name.partition(":")[2]
            http.post("/v1/load_lora_adapter", json=body).raise_for_status()
            found[name] = text_of(complete(http, body["lora_name"]).raise_for_status())
            http.post("/v1/unload_lora_adapter", json=body).raise_for_status()
    return found


def timed(http, name):
    began = time.monotonic()
    answer = complete(http, name)
    return time.monotonic() - began, answer


def median(numbers):
    return sorted(numbers)[len(numbers) // 2]


def test_a_real_vllm_serves_200_names_that_nobody_has_loaded(local_registry, tmp_path, figures):
    base = make_base(tmp_path / "base", seed=1)
    maker = local_registry.client(principal="maker")
    maker.bases.push(base, "a")
    folders = {}
    for number in range(1, NAMES + 1):
        folder = make_lora(base, tmp_path / f"lora-{number}", seed=number)
        maker.push(folder, LINE, base="a")
        folders[f"{LINE}:v{number}"] = folder
    maker.bases.push(make_base(tmp_path / "other", seed=9), "b")
    strange = make_lora(tmp_path / "other", tmp_path / "strange", seed=1)
    maker.push(strange, "team/strange", base="b")
    surroundings = {
        "DELTAREG_SERVER": local_registry.url,
        "DELTAREG_TOKEN": local_registry.token("read", principal="host"),
        "DELTAREG_CACHE_DIR": str(tmp_path / "cache"),
    }
    server = start(base, tmp_path / "logs", *OPTIONS, environ=surroundings)
    try:
        server.wait()
        right = by_hand(server.url, folders)
        assert len(set(right.values())) > NAMES * 0.9  # nearly all can be told apart
        with httpx.Client(base_url=server.url, timeout=120, verify=False) as http:
            _ask_all(http, right, figures)
            _refuse_what_is_not_to_be_served(http, server, figures)
            _lose_a_folder(http, server, tmp_path / "cache" / "vllm" / "versions", right)
            _revoke(http, server, maker, right, figures)
            assert httpx.get(f"{server.url}/health", verify=False, timeout=10).is_success
    finally:
        server.stop()


def _ask_all(http, right, figures):
    first = {name: timed(http, name) for name in right}
    again = {name: timed(http, name) for name in right}
    for found in (first, again):
        wrong = [name for name, (_, answer) in found.items() if answer.is_error or text_of(answer) != right[name]]
        assert wrong == []
    for told, found in (("first", first), ("again", again)):
        took = [seconds for seconds, _ in found.values()]
        figures(f"{len(right)} names, {told}", f"all right; {median(took):.3f} s a request, {max(took):.3f} s at most")


def _refuse_what_is_not_to_be_served(http, server, figures):
    names = (f"{LINE}@prod", "team/strange:v1", f"{LINE}:v{NAMES + 1}", "gpt-4")
    answers = {name: complete(http, name).status_code for name in names}
    assert answers == dict.fromkeys(names, 404)
    log = server.log.read_text()
    assert f"{LINE}@prod is not served: prod is a channel, which may move" in log
    assert "team/strange:v1 is not served: the engine serves" in log
    assert f"{LINE}:v{NAMES + 1} is not served: " in log
    figures("refused", f"{len(answers)} names with 404, each with its reason in the log of vLLM")


def _lose_a_folder(http, server, versions, right):
    name = f"{LINE}:v1"
    (folder,) = [path for path in versions.iterdir() if path.name.startswith("team--many--v1-")]
    shutil.rmtree(folder)
    until(folder.exists, "it is made anew", timeout_s=20)
    evict(server.url, folder)
    assert text_of(complete(http, name).raise_for_status()) == right[name]


def _revoke(http, server, maker, right, figures):
    name = f"{LINE}:v2"
    assert name in loaded(server.url)
    maker.versions.revoke(name, reason="it leaks")
    began = time.monotonic()
    until(lambda: name not in loaded(server.url), "it is unloaded", timeout_s=60)
    took = time.monotonic() - began
    assert complete(http, name).status_code == 404
    assert f"{name} is unloaded: {name} was revoked by maker: it leaks" in server.log.read_text()
    figures("revoked", f"unloaded {took:.0f} s after it, and not served again")
