"""The client as a person meets it: at a prompt, in a notebook, with Tab and `help`."""

import inspect
import json
import sys
from pkgutil import iter_modules

import pytest

import deltareg
from deltareg import Client
from deltareg.client import ClientConfig, WorkerClient, resources
from deltareg.client.resources.channels import Channels
from deltareg.client.resources.folders import Folders
from deltareg.client.resources.resource import Resource
from deltareg.client.resources.runs import Runs
from deltareg.client.resources.versions import Versions
from deltareg.errors import (
    BaseMismatch,
    DeltaregError,
    InvalidInput,
    Misconfigured,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from deltareg.host.token_files import write_token
from deltareg.wire import Answer
from tests.fixtures.registries import SAMPLES

DELTAS = SAMPLES / "deltas" / "tinyllama"
SHORTCUTS = [(Versions, name) for name in ("push", "pull", "show", "diff", "merge", "materialize")] + [
    (Channels, "gate"),
    (Channels, "promote"),
    (Channels, "rollback"),
    (Runs, "verify"),
    (Folders, "lint"),
]


def test_the_client_shows_before_it_is_loaded():
    assert {"Client", "errors"} <= set(dir(deltareg))
    assert deltareg.errors.DeltaregError is DeltaregError


def test_what_only_workers_do_does_not_show():
    workers = {name for name in vars(WorkerClient) if not name.startswith("_")}

    assert workers >= {"lease", "heartbeat", "append_log", "complete_run", "fail_run", "reencode"}
    assert workers & set(dir(Client(ClientConfig()))) == set()


def test_everything_that_shows_says_what_it_is():
    shown = {name: getattr(Client, name, None) for name in dir(Client) if name[0] != "_"}
    kinds = [one for one in shown.values() if isinstance(one, type) and issubclass(one, Resource)]
    methods = [getattr(kind, name) for kind in kinds for name in vars(kind) if name[0] != "_"]

    assert len(kinds) > 20
    assert len(methods) > 50
    assert [one for one in (*shown.values(), *methods) if not inspect.getdoc(one)] == []


def test_a_thing_is_what_type_checkers_see_and_every_file_of_one_is_an_attribute():
    files = {module.name for module in iter_modules(resources.__path__)}
    hints = inspect.get_annotations(Client)

    things = {name: getattr(Client, name) for name in hints}

    assert {name: kind.__name__ for name, kind in things.items()} == hints
    elsewhere = {"behavior", "bisection", "bisection_by_hand"}  # what compares versions has a folder of its own
    assert set(hints) - elsewhere == files - {"missing", "resource"}


@pytest.mark.parametrize(("kind", "name"), SHORTCUTS, ids=lambda one: getattr(one, "__name__", one))
def test_a_shortcut_takes_what_the_resource_takes(kind, name):
    short, whole = getattr(Client, name), getattr(kind, name)

    assert inspect.signature(short) == inspect.signature(whole)
    assert f"{kind.__name__.lower()}.{name}`" in short.__doc__


def test_an_address_and_a_token_are_enough(shared_registry, tmp_path):
    token = shared_registry.token("read", principal="nora")

    with Client(f"{shared_registry.url}/", token=token, cache_dir=str(tmp_path)) as client:
        assert client.whoami().principal == "nora"
        assert client.cache.path == tmp_path
        assert token not in repr(client) + repr(client.versions) + repr(client.config)


def test_a_token_that_login_has_kept_is_used_for_its_address(shared_registry, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    write_token(shared_registry.url, shared_registry.token("read", principal="kept"))

    with Client(shared_registry.url) as client:
        assert client.whoami().principal == "kept"


def test_settings_come_first_or_by_name_but_once(shared_registry):
    config = shared_registry.client(principal="maker").config
    other = shared_registry.token("read", principal="other")

    with Client(config) as first, Client(config=config) as named, Client(config, token=other) as own:
        assert [c.whoami().principal for c in (first, named, own)] == ["maker", "maker", "other"]
    with pytest.raises(InvalidInput, match="config and server"):
        Client("http://127.0.0.1:1", config=config)
    with pytest.raises(InvalidInput, match="two configs"):
        Client(config, config=config)
    with pytest.raises(InvalidInput, match="not the address"):
        Client("registry:8642")


def test_iterating_goes_over_all_pages_and_asks_for_each_when_it_is_wanted(shared_registry):
    client = shared_registry.client()
    asked = []
    every = [row.id for row in client.audit.list(limit=200).items]
    client._api._http.event_hooks["request"].append(lambda request: asked.append(request.url.path))

    listing = client.audit.list(limit=2)
    rows = iter(listing)
    first = [next(rows).id, next(rows).id]
    asked_for_two = len(asked)
    rest = [row.id for row in rows]

    assert [len(listing.items), asked_for_two] == [2, 1]
    assert first + rest == every
    assert len(asked) == -(-len(every) // 2)
    assert [row.id for row in listing] == every, "it may be walked again"


def test_a_list_without_anything_is_false(shared_registry):
    client = shared_registry.client()

    assert client.versions.list("team/lora")
    assert not client.lines.list("nobody")
    assert list(client.lines.list("nobody")) == []


def test_paths_may_be_text(shared_registry, tmp_path):
    client = shared_registry.client()
    base, delta = str(SAMPLES / "bases" / "tinyllama"), str(DELTAS / "lora_v2")

    linted = client.lint(delta, base=base)
    pushed = client.push(delta, "texts/lora", base="tinyllama")
    pulled = client.pull(pushed.version.ref, str(tmp_path / "pulled"))
    again = client.folders.update(str(tmp_path / "pulled"), "team/lora:v1")
    whole = client.materialize(pushed.version.ref, str(tmp_path / "whole"), base=base)

    assert linted.is_accepted
    assert (pulled.path, again.path) == (tmp_path / "pulled", tmp_path / "pulled")
    assert whole.root != client.bases.fingerprint(base).root
    assert client.bases.register(base, "by-text").name == "by-text"


def test_what_is_pulled_knows_its_manifest(shared_registry):
    client = shared_registry.client()

    fetched, here = client.pull("team/lora:v1"), client.pull("team/lora:v1")

    assert here.fetched_bytes == 0
    assert fetched.manifest == here.manifest
    assert (here.manifest.kind, str(here.manifest.digest)) == ("lora", here.digest)
    assert sorted(p.name for p in here.path.iterdir())


def test_results_are_plain_values_and_tables_with_everything_escaped(shared_registry):
    client = shared_registry.client()
    evil = "<script>alert(1)</script>"
    pushed = client.push(DELTAS / "lora_v2", "evil/lora", base="tinyllama", message=evil)
    results = [
        client.show(pushed.version.ref),
        client.versions.list("evil/lora"),
        pushed,
        client.diff("team/lora:v1", pushed.version.ref),
        client.lint(DELTAS / "lora"),
        client.pull(pushed.version.ref),
        client.gate(pushed.version.ref, "prod"),
        client.bases.fingerprint(SAMPLES / "bases" / "tinyllama"),
        client.lines.log("evil/lora"),
    ]

    for result in results:
        assert json.dumps(result.to_dict())
        drawn = result._repr_html_()
        assert "<table" in drawn, result
        assert "<script" not in drawn
    assert "&lt;script&gt;" in results[0]._repr_html_()


def test_a_comparison_shows_where_and_how_much(shared_registry):
    client = shared_registry.client()
    other = client.push(DELTAS / "lora_v2", "maps/lora", base="tinyllama").version.ref

    drawn = client.diff("team/lora:v1", other)._repr_html_()

    assert "team/lora:v1 → maps/lora:v1: the two differ" in drawn
    assert drawn.count("<rect") > 8
    assert "self_attn.q_proj" in drawn
    assert "http" not in drawn.replace("http://www.w3.org/2000/svg", ""), "it loads something"


def test_no_field_of_an_answer_hides_what_a_notebook_calls():
    todo, seen = [Answer], set()
    while todo:
        cls = todo.pop()
        seen |= {f"{cls.__name__}.{name}" for name in {"to_dict"} & set(cls.model_fields)}
        todo.extend(cls.__subclasses__())

    assert seen == set()


def test_attaching_without_torch_says_what_to_install(shared_registry, monkeypatch):
    pulled = shared_registry.client().pull("team/lora:v1")
    monkeypatch.setitem(sys.modules, "deltareg_verify.engine.torch_engine.attach", None)

    with pytest.raises(Misconfigured) as told:
        pulled.attach(object())

    assert told.value.fix == "pip install 'deltareg[verify]'"


@pytest.mark.slow
def test_a_version_is_attached_to_its_base_and_to_no_other(shared_registry):
    torch = pytest.importorskip("torch", reason="needs the verify extra")
    transformers = pytest.importorskip("transformers", reason="needs the verify extra")
    pulled = shared_registry.client().pull("team/lora:v1")
    load = transformers.AutoModelForCausalLM.from_pretrained
    model, other = (load(SAMPLES / "bases" / name).eval() for name in ("tinyllama", "tinyllama_other"))
    ids = {"input_ids": torch.arange(8)[None]}
    before = model(**ids).logits

    with pytest.raises(BaseMismatch):
        pulled.attach(other)
    with pulled.attach(model) as attached:
        assert not torch.equal(model(**ids).logits, before)
        assert list(attached.silent(ids)) == []
        attached.detach()
        assert torch.equal(model(**ids).logits, before)


@pytest.mark.parametrize(
    ("act", "error", "status"),
    [
        (lambda client: client.show("team/nothing"), NotFound, 3),
        (lambda client: client.show("no reference"), InvalidInput, 2),
        (lambda client: client.push("nowhere", "team/x", base="tinyllama"), NotFound, 3),
    ],
)
def test_what_goes_wrong_is_caught_by_its_class(shared_registry, act, error, status):
    with pytest.raises(error) as told:
        act(shared_registry.client())

    assert (type(told.value), told.value.exit_code) == (error, status)


def test_a_server_that_is_not_there_and_a_token_that_is_not_good_are_told_apart(shared_registry):
    with Client(ClientConfig(server="http://127.0.0.1:9", retries=0)) as nowhere, pytest.raises(Unavailable) as away:
        nowhere.whoami()
    with Client(shared_registry.url, token="drg_pat_x") as stranger, pytest.raises(Unauthenticated) as refused:
        stranger.whoami()

    assert (away.value.exit_code, refused.value.exit_code) == (75, 4)
