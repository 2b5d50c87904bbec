"""What a slip of the pen is answered with: the name, the folder or the option that was meant."""

import json
import shlex
import shutil
from pathlib import Path

import pytest

from deltareg.host.token_files import write_token
from tests.cli.steps import BASES, DELTAS

SLIPS: list[tuple[list[str | Path], int, str]] = [
    (["promot", "team/lora:v1"], 2, "Did you mean 'promote'?"),
    (["login"], 2, "Did you mean 'auth login'?"),
    (["channel", "list", "team/lora"], 2, "Did you mean 'ls'?"),
    (["show", "team/lroa"], 3, "did you mean team/lora?"),
    (["show", "taem/lora"], 3, "did you mean team/lora?"),
    (["ls", "taem"], 3, "there is no namespace taem; did you mean team?"),
    (["ls", "nobody", "--filter", "kind=lora"], 3, "there is no namespace nobody"),
    (["base", "show", "tinylama"], 3, "did you mean tinyllama?"),
    (["base", "show", "other"], 3, "bases here: tinyllama"),
    (["push", DELTAS / "lora", "team/MyLoRA", "--base", "tinyllama"], 2, "write mylora"),
    (["push", DELTAS / "lora", "team/x:v7", "--base", "tinyllama"], 2, "write team/x"),
    (["push", DELTAS / "lora", "team/x"], 2, "its shapes fit: tinyllama; choose: --base tinyllama"),
    (
        ["push", DELTAS / "lora" / "adapter_model.safetensors", "team/x", "--base", "tinyllama"],
        2,
        f"name the folder: {DELTAS / 'lora'}",
    ),
    (["base", "push", DELTAS / "lora", "adapter"], 2, "holds an adapter, not a base"),
    (["base", "register", DELTAS / "lora", "adapter"], 2, "holds an adapter, not a base"),
    (["base", "push", BASES / "tinyllama", "Acme/Tiny"], 2, "tiny --hub-id Acme/Tiny"),
    (["base", "register", BASES / "tinyllama", "tiny2", "Acme/Tiny"], 2, "--hub-id Acme/Tiny"),
    (["materialize", "team/lora:v1", "--out", "m", "--base", "nosuch"], 3, "leave --base out, or name tinyllama"),
    (["promote", "team/lora", "--channel", "dev"], 2, "promote team/lora:v1 --channel dev"),
    (["verdict", "show", "team/lora:v7"], 3, "there is no version team/lora:v7"),
    (["ls", "--filter", "labl.x=y"], 2, "label.KEY"),
    (["ls", "--filter", 'label.a"b=y'], 2, "no label is looked for"),
    (["materialize", "team/lora", "--out", "m", "--expect", f"sha256:{'0' * 64}"], 2, "blake3:"),
    (["agent", "run", "--channel", "team/lora@prod", "--dir", "d", "--once", "--every", "2h"], 2, "--every 1h"),
    (["retention", "set", "team/lora", "--younger", "30"], 2, "write 30d for days"),
    (["gc", "run", "--grace", "7"], 2, "write 7d for days"),
    (["token", "create", "--expires", "90"], 2, "90 has no unit"),
    (["audit", "ls", "--since", "7"], 2, "write 7d"),
]

# Lines that cannot be read, and the one that the error tells instead.
MEANT: list[tuple[str, str]] = [
    ("promote team/code:v1 prod", "promote team/code:v1 --channel prod"),
    ("promote prod team/code:v1", "promote team/code:v1 --channel prod"),
    ("promote team/code:v1", "promote team/code:v1 --channel CHANNEL"),
    ("promote team/code:v1 prod dev", "promote --help"),
    ("promote -- team/code:v1 prod", "promote --help"),
    ("gate check team/code prod --wait", "gate check team/code --wait --channel prod"),
    ("rollback team/code prod -m 'a b'", "rollback team/code -m 'a b' --channel prod"),
    ("rollback team/code --channel prod --to v2", "rollback team/code --channel prod --version v2"),
    ("pull a/b --out ./d", "pull a/b --to ./d"),
    ("channel policy explain a/b:v3 prod", "channel policy explain a/b:v3 --channel prod"),
    ("channel freeze a/b prod 'an audit'", "channel freeze a/b prod -m 'an audit'"),
    ("channel show a/b --channel prod", "channel show a/b prod"),
    ("channel policy set a/b p.yaml --channel=prod", "channel policy set a/b prod p.yaml"),
    ("base register ./llama --name x", "base register ./llama x"),
    ("base register --name=x ./llama", "base register ./llama x"),
    ("member add team alice owner", "member add team alice --role owner"),
    ("member add team alice boss", "member add team alice --role boss"),
    ("verdict unwaive ID spectral", "verdict unwaive ID --check spectral"),
    ("agent run a/b@prod ./d", "agent run --channel a/b@prod --dir ./d"),
    ("pull a/b ./d", "pull a/b --to ./d"),
    ("materialize a/b ./d", "materialize a/b --out ./d"),
    ("push ./d a/b llama", "push d a/b --base llama"),
    ("verify a/b deep", "verify a/b --suite deep"),
    ("verify a/b prod --channel prod deep", "verify --help"),
    ("diff a/b", "diff --help"),
]


@pytest.fixture
def ana(shell, shared_registry, monkeypatch):
    """Give a command line on a registry that all tests here share."""
    monkeypatch.setenv("DELTAREG_SERVER", shared_registry.url)
    token = shared_registry.token("read", "push", "promote", "serve", "admin", principal="ana")
    write_token(shared_registry.url, token)
    return shell


def test_each_slip_names_what_was_meant(ana):
    answers = [(words, status, told, ana(*words)) for words, status, told in SLIPS]

    wrong = [
        (words, ended.status, ended.err)
        for words, status, told, ended in answers
        if ended.status != status or told not in ended.err
    ]
    assert wrong == []


def test_a_line_that_cannot_be_read_is_answered_with_the_one_that_was_meant(shell):
    answers = [(line, meant, shell("--json", *shlex.split(line))) for line, meant in MEANT]

    wrong = [
        (line, ended.status, ended.err)
        for line, meant, ended in answers
        if ended.status != 2 or ended.problem["fix"] != f"deltareg {meant}"
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (["base", "register", "mini", "{here}"], "base register {here} mini"),
        (["base", "push", "org/mini", "{here}"], "base push {here} org/mini"),
        (["push", "team/code", "{here}"], "push {here} team/code"),
        (["import", "hf-folder", "team/code", "{here}"], "import hf-folder {here} team/code"),
    ],
)
def test_a_path_and_a_name_that_changed_places_are_put_in_order(ana, words, fix):
    here = ana.home / "my model"
    here.mkdir()

    ended = ana(*(word.format(here=here) for word in words), "--json")

    assert (ended.status, ended.problem["fix"]) == (2, f"deltareg {fix.format(here=repr(str(here)))}")
    assert "comes first" in ended.problem["detail"]


def test_an_id_on_the_hub_is_no_name_that_changed_places(ana, monkeypatch):
    (ana.home / "llama").mkdir()
    monkeypatch.chdir(ana.home)

    ended = ana("base", "register", "acme/tiny", "llama", "--json")

    assert ended.status == 3
    assert "comes first" not in ended.problem["detail"]


def test_a_script_reads_the_suggestion_in_the_problem(ana):
    ended = ana("show", "team/lroa", "--json")

    assert ended.problem["detail"] == "there is no delta team/lroa; did you mean team/lora?"


@pytest.mark.parametrize("options", [(), ("--base", "tiny"), ("--base", "tiny", "--dry-run")])
def test_a_path_that_leads_nowhere_is_told_before_anything_else(shell, options):
    ended = shell("push", "nowhere", "team/x", "--json", *options)

    assert (ended.status, ended.problem["detail"]) == (3, "there is nothing at nowhere")


def test_a_folder_of_a_trainer_is_answered_with_its_newest_checkpoint(shell):
    for number in (60, 120):
        shutil.copytree(DELTAS / "lora", shell.home / "run" / f"checkpoint-{number}")
    (shell.home / "run" / "checkpoint-240").mkdir()

    ended = shell("lint", "run", "--json")

    (problem,) = ended.json["problems"]
    assert (problem["code"], problem["fix"]) == ("empty", "name its newest checkpoint: run/checkpoint-120")


def test_two_adapters_in_a_folder_are_both_named(shell):
    shutil.copytree(DELTAS / "lora", shell.home / "both")
    shutil.copytree(DELTAS / "lora_v2", shell.home / "both" / "second")

    ended = shell("lint", "both", "--json")

    (problem,) = ended.json["problems"]
    assert problem["message"].startswith("adapter_model.safetensors and second/adapter_model.")
    assert problem["fix"] == "push both/second alone, or move it out to push the other"


def test_a_folder_of_several_adapters_names_them(shell):
    for name in ("one", "two"):
        shutil.copytree(DELTAS / "lora", shell.home / "all" / name)

    several = shell("lint", "all", "--json")
    shutil.rmtree(shell.home / "all" / "two")
    single = shell("lint", "all", "--json")

    (problem,) = several.json["problems"]
    assert problem["fix"] == "push one of them alone: all/one or all/two"
    (problem,) = single.json["problems"]
    assert problem["fix"] == "name that folder: all/one"


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_one_file_of_an_adapter_names_its_folder(shell, name):
    shutil.copytree(DELTAS / "lora", shell.home / "own")

    ended = shell("lint", f"own/{name}", "--json")

    (problem,) = ended.json["problems"]
    assert problem["fix"] == "name the folder: own"


def test_the_base_is_found_where_the_config_and_the_hub_name_it(ana, monkeypatch):
    hub = ana.home / "hub" / "models--acme--Tiny-Llama"
    shutil.copytree(BASES / "tinyllama", hub / "snapshots" / "abc")
    (hub / "refs").mkdir()
    (hub / "refs" / "main").write_text("abc")
    monkeypatch.setenv("HF_HUB_CACHE", str(ana.home / "hub"))
    adapter = shutil.copytree(DELTAS / "lora_qv", ana.home / "adapter")
    config = adapter / "adapter_config.json"
    fields = json.loads(config.read_text()) | {"base_model_name_or_path": "acme/Tiny-Llama"}
    config.write_text(json.dumps(fields))

    named = ana("push", adapter, "team/named", "--base", "acme/Tiny-Llama", "--json")
    unnamed = ana("push", adapter, "team/unnamed")
    wrong = ana("push", adapter, "team/named", "--base", "acme/Tiny-Lama")

    assert (named.status, named.json["base"]["name"]) == (0, "tinyllama")
    assert unnamed.status == 0
    assert "base: tinyllama, which adapter_config.json names" in unnamed.err
    assert wrong.status == 2
    assert ana("base", "fingerprint", "acme/Tiny-Llama").status == 0


def test_lines_are_listed_by_their_labels(ana):
    labels = ("--label", "owner=core", "--label", "x.y=1=2")
    ana("push", DELTAS / "lora_dora", "team/labelled", "--base", "tinyllama", *labels)

    found = ana("ls", "team", "--filter", "label.owner=core,label.x.y=1=2", "-q")
    none = ana("ls", "--filter", "label.owner=cor")

    assert found.out == "team/labelled\n"
    assert none.out == "no line matches\n"
