"""The plug-in of vLLM: which names become adapters, what is checked before, what the log says."""

import asyncio
import hashlib
import logging
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from io import StringIO
from pathlib import Path

import httpx
import pytest

from deltareg.client.follow.by_name.finding import ByNameOptions
from deltareg.integrations.vllm import NAME, register
from deltareg.integrations.vllm.library import load_library
from deltareg.integrations.vllm.resolver import AdapterFinder, make_resolver
from deltareg.integrations.vllm.surroundings import read_surroundings
from tests.client.agents import DELTAS, LINE
from tests.fixtures.registries import SAMPLES
from tests.fixtures.vllm_library import LoRARequest

BASES = SAMPLES / "bases"


def digest_of(delta):
    return hashlib.sha256((DELTAS / delta / "adapter_model.safetensors").read_bytes()).hexdigest()


@pytest.fixture
def maker(local_registry):
    """Put v1 and then v2 of `team/lora` on prod."""
    return local_registry.line("lora", "lora_v2")


@pytest.fixture
def host(local_registry, maker):
    return local_registry.client(("read",), principal="host")


@pytest.fixture
def plug(vllm, vllm_library, host, tmp_path):
    """Start a vLLM with the plug-in; gives how to start another one beside it."""
    opened = []

    def start(client=host, **options):
        plain = {"home": tmp_path / "by-name", "max_bytes": 1 << 30, "engine": "vllm"}
        by_name = client.fleet.by_name(ByNameOptions(**(plain | options)), url=vllm.url)
        opened.append(by_name)
        vllm.resolvers[:] = [make_resolver(load_library(), by_name)]

    vllm.base = str(BASES / "tinyllama")
    start()
    yield start
    for by_name in opened:
        by_name.close()


def ask(vllm, name):
    return httpx.post(f"{vllm.url}/v1/completions", json={"model": name}, verify=False)


def text_of(answer):
    return answer.json()["choices"][0]["text"]


def test_vllm_finds_the_plug_in_and_may_call_it_as_often_as_it_likes(vllm_library):
    project = tomllib.loads((SAMPLES.parents[1] / "pyproject.toml").read_text())["project"]
    ((name, value),) = project["entry-points"]["vllm.general_plugins"].items()
    found = EntryPoint(name, value, "vllm.general_plugins")

    for _ in range(3):
        found.load()()

    assert vllm_library.get_supported_resolvers() == {NAME}
    assert vllm_library.overwritten == []


def test_a_vllm_without_resolvers_is_told_of_and_goes_on(vllm_library, caplog, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm.lora.resolver", None)

    register()

    assert "has no resolvers of adapters" in caplog.text


def test_what_every_process_of_vllm_imports_is_small():
    told = "import sys, deltareg.integrations.vllm; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout.split()

    assert not {"numpy", "httpx", "pydantic", "torch", "deltareg.client"} & set(loaded)


def test_names_that_mean_one_version_for_good_are_served(vllm, plug, maker):
    v1 = maker.show(f"{LINE}:v1")

    names = {f"{LINE}:v1": "lora", f"{LINE}:v2": "lora_v2", f"{LINE}@prod#1": "lora", f"{LINE}@{v1.digest}": "lora"}
    answers = {name: text_of(ask(vllm, name)) for name in names}

    assert answers == {name: digest_of(delta) for name, delta in names.items()}
    assert sorted(vllm.adapters) == sorted(names)
    folders = {adapter.path for adapter in vllm.adapters.values()}
    assert len(folders) == 2  # of the same version there is one


def test_others_are_not_and_the_log_says_why_once(vllm, plug, caplog):
    reasons = {
        "team/lora@prod": "--middleware deltareg.integrations.vllm.ChannelNames and ask in JSON",
        "team/lora@prod~1": "prod is a channel, which may move",
        "team/lora": "does not say which version; ask for team/lora:v1",
        "team/lora:1.0.0": "does not say which version",
        "registry.example/team/lora:v1": "names a registry; ask for team/lora:v1",
        "team/lora:v7": "team/lora:v7",
        "other/line:v1": "other/line",
    }

    assert {ask(vllm, name).status_code for name in reasons for _ in range(2)} == {404}

    for name, told in reasons.items():
        lines = [line for line in caplog.messages if line.startswith(f"{name} is not served: ")]
        assert len(lines) == 1
        assert told in lines[0]
    assert vllm.calls == []


def test_names_of_others_are_not_even_spoken_of(vllm, plug, caplog):
    names = ("gpt-4", "Org/Model", "a/b/c/d", "x/\nERROR forged", "../../etc")

    assert {ask(vllm, name).status_code for name in names} == {404}

    assert [line for line in caplog.messages if "is not served" in line] == []


def test_a_version_for_another_base_never_reaches_vllm(vllm, plug, caplog):
    vllm.base = str(BASES / "tinyllama_other")

    assert ask(vllm, f"{LINE}:v1").status_code == 404

    assert "tinyllama_other, which is not tinyllama, the base of team/lora:v1" in caplog.text
    assert "its tensors differ" in caplog.text
    assert vllm.calls == []


def test_a_base_that_is_not_here_is_the_one_that_is_named_or_unchecked(vllm, plug, caplog):
    vllm.base = "org/tinyllama"

    assert ask(vllm, f"{LINE}:v1").is_success
    assert ask(vllm, f"{LINE}:v2").is_success
    plug(base=BASES / "tinyllama_other")
    vllm.forget()
    assert ask(vllm, f"{LINE}:v1").status_code == 404

    told = [line for line in caplog.messages if "DELTAREG_VLLM_BASE" in line]
    assert len(told) == 1
    assert "org/tinyllama" in told[0]


def test_what_vllm_cannot_serve_never_reaches_it(vllm, plug, maker, caplog):
    maker.push(DELTAS / "lora_dora", LINE, base="tinyllama")

    assert ask(vllm, f"{LINE}:v3").status_code == 404
    plug(max_rank=2)
    assert ask(vllm, f"{LINE}:v1").status_code == 404

    assert "is not served: vllm cannot serve it: DoRA; serve the merged model: deltareg materialize" in caplog.text
    assert "is not served: it has rank 4, and vllm was started for 2; start it with --max-lora-rank" in caplog.text
    assert vllm.calls == []


def test_a_revoked_and_a_deleted_version_are_not_served(vllm, plug, maker, caplog):
    maker.versions.revoke(f"{LINE}:v1", reason="it leaks")
    assert ask(vllm, f"{LINE}:v1").status_code == 404
    maker.push(DELTAS / "lora_rslora", LINE, base="tinyllama")
    maker.versions.delete(f"{LINE}:v3")
    assert ask(vllm, f"{LINE}:v3").status_code == 404

    assert "team/lora:v1 was revoked by maker: it leaks" in caplog.text
    assert "team/lora:v3 is deleted" in caplog.text


def test_a_registry_that_is_away_is_a_name_that_is_not_served(vllm, plug, local_registry, caplog):
    away = local_registry.client(("read",), principal="host", server="http://127.0.0.1:9", retries=0)
    plug(away)

    assert ask(vllm, f"{LINE}:v1").status_code == 404

    assert "team/lora:v1 is not served: " in caplog.text


def test_many_who_ask_at_once_get_one_folder(plug, vllm, maker):
    (resolver,) = vllm.resolvers

    async def ask_all():
        return await asyncio.gather(
            *(resolver.resolve_lora(vllm.base, f"{LINE}:v{1 + step % 2}") for step in range(12))
        )

    found = asyncio.run(ask_all())

    assert {Path(request.lora_path).name[:15] for request in found} == {"team--lora--v1-", "team--lora--v2-"}
    assert {request.lora_int_id for request in found} == {1}
    for request in found:
        name = "lora" if request.lora_name.endswith("v1") else "lora_v2"
        weights = Path(request.lora_path) / "adapter_model.safetensors"
        assert hashlib.sha256(weights.read_bytes()).hexdigest() == digest_of(name)


def test_the_registry_is_the_one_that_the_environment_names(
    vllm, vllm_library, local_registry, maker, tmp_path, monkeypatch
):
    monkeypatch.setenv("DELTAREG_SERVER", local_registry.url)
    monkeypatch.setenv("DELTAREG_TOKEN", local_registry.token("read", principal="host"))
    monkeypatch.setenv("DELTAREG_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("DELTAREG_VLLM_URL", vllm.url)
    monkeypatch.setattr(sys, "argv", ["vllm", "serve", "base"])
    register()
    resolver = vllm_library.get_resolver(NAME)

    request = asyncio.run(resolver.resolve_lora(str(BASES / "tinyllama"), f"{LINE}:v1"))
    resolver.names.close()

    assert isinstance(request, LoRARequest)
    assert Path(request.lora_path).parent == tmp_path / "cache" / "vllm" / "versions"


def test_settings_that_cannot_be_read_are_told_of_and_nothing_is_served(vllm_library, monkeypatch, caplog):
    monkeypatch.setenv("DELTAREG_VLLM_KEEP", "much")
    register()
    resolver = vllm_library.get_resolver(NAME)

    for _ in range(2):
        assert asyncio.run(resolver.resolve_lora("base", "team/lora:v1")) is None

    assert [line for line in caplog.messages if "not a size: 'much'" in line] == caplog.messages


@pytest.mark.parametrize(
    ("arguments", "environ", "url"),
    [
        ("serve base", {}, "http://127.0.0.1:8000"),
        ("serve base --host 0.0.0.0 --port=9172", {}, "http://127.0.0.1:9172"),
        ("serve base --host 10.0.0.7 --ssl-certfile c.pem", {}, "https://10.0.0.7:8000"),
        ("serve base --host ::1", {}, "http://[::1]:8000"),
        ("serve base --port many", {}, "http://127.0.0.1:8000"),
        ("serve base --port", {}, "http://127.0.0.1:8000"),
        ("--port 7", {"DELTAREG_VLLM_URL": "https://vllm.local/"}, "https://vllm.local"),
    ],
)
def test_the_address_of_vllm_is_read_from_its_command_line(arguments, environ, url):
    assert read_surroundings(environ, arguments.split()).url == url


def test_key_and_rank_are_read_from_there_too():
    told = read_surroundings(
        {"VLLM_API_KEY": "env", "DELTAREG_VLLM_KEEP": "2GB", "DELTAREG_VLLM_DIR": "d"},
        ["--api-key", "one", "two", "--max-lora-rank", "32", "--lora-modules", "x=y"],
    )

    assert (told.key, told.max_rank, told.max_bytes) == ("one", 32, 2_000_000_000)
    assert told.home == Path("d").absolute()
    assert read_surroundings({"VLLM_API_KEY": "env"}, []).key == "env"


def test_its_lines_are_in_vllms_log(vllm_library, monkeypatch, tmp_path):
    said = StringIO()
    handler = logging.StreamHandler(said)
    handler.setFormatter(logging.Formatter("VLLM %(message)s"))
    ours = logging.getLogger("deltareg")
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(ours, "handlers", [])
    monkeypatch.setattr(logging.getLogger("vllm"), "handlers", [handler])
    for name, value in {
        "DELTAREG_SERVER": "http://127.0.0.1:9",
        "DELTAREG_CACHE_DIR": str(tmp_path),
        "DELTAREG_RETRIES": "0",
        "DELTAREG_PATIENCE": "0s",
    }.items():
        monkeypatch.setenv(name, value)

    names = AdapterFinder()
    assert names.find("team/lora:v1", "base") is None
    names.close()

    assert "VLLM adapters by name come from http://127.0.0.1:9" in said.getvalue()
    assert "VLLM team/lora:v1 is not served: " in said.getvalue()


@pytest.fixture(autouse=True)
def _all_is_heard(caplog):
    caplog.set_level(logging.INFO, "deltareg")
