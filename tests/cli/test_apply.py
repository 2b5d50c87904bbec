"""A folder of suites and policies: compared, brought over, and left alone where it is so."""

import re
import shlex
import shutil

import pytest
import yaml

from deltareg.errors import NotFound
from deltareg.host.token_files import write_token
from tests.architecture.tree import REPOSITORY
from tests.cli.steps import SAMPLES
from tests.fixtures.registries import BOTH_DATABASES, ONE_STACK

SUITE = """\
name: reviews
about: perplexity of our texts
checks:
  - finite
  - check: perplexity
    probes: texts
    threshold: {threshold: 1000, greater_is_better: false}
sets:
  texts: {file: texts.jsonl}
"""
TASK = "task: own\ndataset_path: json\n"
FILES = {
    "policies/server.yaml": "approvals: 1\n",
    "policies/team/namespace.yaml": "kinds: [lora]\n",
    "policies/team/lora/prod.yaml": "suites: [{suite: reviews, max_age: 30d}]\nprotected: true\n",
    "policies/team/lora/canary.yaml": "smoke: false\n",
    "suites/reviews.yaml": SUITE,
    "suites/texts.jsonl": "".join(f'{{"text": "so many words, {n}"}}\n' for n in range(40)),
}


def written(folder, files=FILES):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture
def team(both_stacks, shell, monkeypatch):
    """Give a command line on a registry with the line team/lora, by somebody with every right."""
    admin = both_stacks.client(("read", "push", "admin"), principal="root")
    admin.bases.push(SAMPLES / "bases" / "tinyllama", "tinyllama")
    admin.push(SAMPLES / "deltas" / "tinyllama" / "lora", "team/lora", base="tinyllama")
    monkeypatch.setenv("DELTAREG_SERVER", both_stacks.url)
    write_token(both_stacks.url, both_stacks.token("read", "push", "admin", principal="root"))
    shell.client = admin
    return shell


@BOTH_DATABASES
def test_a_folder_is_shown_applied_once_and_kept_to(team, both_stacks, tmp_path):
    folder = written(tmp_path / "f")
    client = team.client

    plan = team("apply", "-f", folder, "--dry-run", "--json")
    assert plan.status == 10, plan.err
    assert [(one["kind"], one["of"], one["action"]) for one in plan.json["changes"]] == [
        ("suite", "reviews", "create"),
        ("policy", "the server", "replace"),
        ("policy", "namespace team", "replace"),
        ("policy", "team/lora@canary", "create"),
        ("policy", "team/lora@prod", "replace"),
    ]
    assert "+protected: true" in plan.json["changes"][-1]["diff"]
    with pytest.raises(NotFound):
        client.suites.show("reviews")
    assert client.floors.show().policy == {}

    refused = team("apply", "-f", folder, "--json")
    assert (refused.status, refused.problem["fix"]) == (2, "say it: -m REASON")
    assert client.floors.show().policy == {}

    assert team("apply", "-f", folder, "-m", "an audit").status == 0
    assert client.floors.show().policy == {"approvals": 1}
    assert client.floors.show("team").policy == {"kinds": ["lora"]}
    assert client.channels.policy("team/lora", "prod").policy["protected"] is True
    assert client.channels.policy("team/lora", "canary").policy == {"suites": [], "smoke": False}
    assert client.suites.show("reviews").version == 1
    (row, *_) = [row for row in client.audit.list() if row.action == "floor.set"]
    assert row.after["reason"] == "an audit"

    events = len(list(client.audit.list()))
    again = team("apply", "-f", folder, "--json")
    assert (again.status, again.json["is_changed"], again.json["unchanged"]) == (0, False, 5)
    assert team("apply", "-f", folder, "--dry-run").out == "nothing to do, 5 as the folder says\n"
    assert len(list(client.audit.list())) == events

    _drift(team, client, both_stacks, folder)


def _drift(team, client, registry, folder):
    """What somebody changed by hand is shown, and what is not in the folder kept."""
    client.floors.set({"approvals": 2}, reason="by hand")
    client.channels.set_policy("team/lora", "dev", {"smoke": False})
    (folder / "policies/team/namespace.yaml").unlink()
    (folder / "suites/reviews.yaml").write_text(SUITE.replace("1000", "900"))
    write_token(registry.url, registry.token("read", principal="reader"))

    seen = team("apply", "-f", folder, "--dry-run")
    assert seen.status == 10
    assert "policy of the server would be replaced\n  - approvals: 2\n  + approvals: 1\n" in seen.out
    assert "threshold: 900" in seen.out
    assert "kept, though it is not in the folder:" in seen.out
    assert "namespace team deltareg policy get --namespace team" in seen.out
    assert "team/lora@dev deltareg channel policy get team/lora dev" in seen.out
    assert "names in policies were not looked up" in seen.err
    assert team("apply", "-f", folder, "-m", "x").status == 4
    assert client.floors.show().policy == {"approvals": 2}

    write_token(registry.url, registry.token("read", "push", "admin", principal="root"))
    kept = team("apply", "-f", folder, "-m", "as in the folder", "--json")
    assert [one["of"] for one in kept.json["kept"]] == ["namespace team", "team/lora@dev"]
    assert client.floors.show().policy == {"approvals": 1}
    assert client.suites.show("reviews").version == 2
    pruned = team("apply", "-f", folder, "--prune", "-m", "and nothing else", "--json")
    assert [one["action"] for one in pruned.json["changes"]] == ["reset", "reset"]
    assert client.floors.show("team").policy == {}
    assert client.channels.policy("team/lora", "dev").policy == {"suites": ["smoke"]}
    assert team("apply", "-f", folder, "--prune", "--dry-run").status == 0


@BOTH_DATABASES
def test_nothing_is_changed_where_one_file_is_refused(team, tmp_path):
    bad = {"policies/team/lora/prod.yaml": "suites: [nowhere]\n", "policies/team/nothing/prod.yaml": "approvals: 1\n"}
    refused = []
    for name, text in bad.items():
        folder = written(tmp_path / name.replace("/", "-"), FILES | {name: text})
        refused.append(team("apply", "-f", folder, "-m", "x", "--json"))
        assert team.client.floors.show().policy == {}
    assert [ended.status for ended in refused] == [2, 3]
    assert refused[0].problem["detail"].startswith("team/lora@prod: ")
    assert "team/nothing" in refused[1].problem["detail"]
    with pytest.raises(NotFound):
        team.client.suites.show("reviews")


@ONE_STACK
def test_a_folder_without_the_server_speaks_for_its_namespaces(team, tmp_path):
    team.client.floors.set({"approvals": 1}, reason="by hand")
    folder = written(tmp_path / "f", {"policies/team/lora/prod.yaml": "approvals: 1\n"})

    ended = team("apply", "-f", folder, "--prune", "--json")

    assert [one["of"] for one in ended.json["changes"]] == ["team/lora@prod"]
    assert team.client.floors.show().policy == {"approvals": 1}


def test_a_folder_is_looked_at_without_a_server(shell, tmp_path):
    good = shell("apply", "-f", written(tmp_path / "good"), "--offline")
    idle = FILES | {"suites/reviews.yaml": "name: reviews\nchecks: [resources]\n"}
    bad = shell("apply", "-f", written(tmp_path / "bad", idle), "--offline", "--json")

    assert (good.status, good.out.splitlines()[-1]) == (0, "1 suite, 4 policies: may be applied")
    assert (bad.status, bad.json["accepted"]) == (2, False)
    assert "no check can fail" in bad.json["findings"][0]["message"]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("policies/team/lora/prod.yaml", "approvals: 1\nkind: [x]\n", "prod.yaml: line 2: kind: "),
        ("policies/prod.yaml", "approvals: 1\n", "prod.yaml: no policy is read from this place"),
        ("policies/team/namespace.yaml", "smoke: false\n", "is for a channel to say"),
        ("policies/Team/lora/prod.yaml", "{}\n", "Team"),
        ("policies/team/lora/prod.yml", "{}\n", "are both of team/lora@prod"),
        ("suites/again.yaml", SUITE, "are both of suite reviews"),
        ("suites/smoke.yaml", "name: smoke\nchecks: [finite]\n", "smoke is built in"),
        ("suites/task.yaml", TASK, "task.yaml has no `checks`, and no suite names it"),
        ("suites/reviews.yaml", SUITE.replace("finite", "finit"), "reviews.yaml: "),
        ("suites/reviews.yaml", SUITE.replace("texts.jsonl", "no.jsonl"), "there is no file"),
    ],
)
def test_a_mistake_is_told_with_its_file(shell, tmp_path, name, text, told):
    folder = written(tmp_path / "f", FILES | {name: text})

    ended = shell("apply", "-f", folder, "--offline", "--json")

    assert ended.status in {2, 3}
    assert told in ended.problem["detail"]


def test_a_folder_that_is_not_there_or_empty_is_told_what_it_holds(shell, tmp_path):
    none = shell("apply", "-f", tmp_path / "none", "--offline", "--json")
    empty = shell("apply", "-f", tmp_path, "--offline", "--json")

    assert (none.status, empty.status) == (3, 2)
    assert "policies/server.yaml" in none.problem["fix"]
    assert "declares nothing" in empty.problem["detail"]


def test_the_hook_of_pre_commit_checks_the_folder(shell):
    (hook,) = yaml.safe_load((REPOSITORY / ".pre-commit-hooks.yaml").read_text())
    command, *words = shlex.split(hook["entry"]) + hook["args"]
    written(shell.home / "registry")

    good = shell(*words)
    written(shell.home / "registry", {"policies/server.yaml": "aprovals: 1\n"})
    bad = shell(*words)

    assert command == "deltareg"
    assert (good.status, bad.status) == (0, 2)
    assert "registry/policies/server.yaml: line 1: aprovals" in bad.err
    assert all(re.search(hook["files"], f"registry/{name}") for name in FILES)


def test_the_task_of_a_suite_lies_beside_it(shell, tmp_path):
    shutil.copytree(SAMPLES.parents[1] / "docs" / "examples" / "lm-eval", tmp_path / "suites" / "x")

    ended = shell("apply", "-f", tmp_path, "--offline")

    assert ended.status == 0, ended.err
