"""An organisation as files: planned, applied, exported, and refused where a file is wrong."""

import csv
import shlex

import pytest
import yaml

from deltareg.host.token_files import write_token
from tests.cli.test_apply import written
from tests.fixtures.registries import ONE_STACK

FILES = {
    "access.yaml": """\
groups:
  ml: [ana, ben]
  platform: {source: okta}
roles:
  releaser: [promote, approve]
quota:
  namespaces: {bytes: 50GB}
  principals:
    ana: {bytes: none, uploads: 20}
""",
    "namespaces/team.yaml": """\
visibility: private
members:
  ana: owner
  ml: [pusher, releaser chat-*@dev]
quota: {bytes: 1536MiB, versions: 5000}
webhooks:
  deploys: {url: $DEPLOYS, types: [channel.*]}
""",
    "policies/team/namespace.yaml": "kinds: [lora]\n",
}


@pytest.fixture
def admin(both_stacks, shell, monkeypatch):
    """Give a command line to an admin, and the variable that the files name."""
    monkeypatch.setenv("DELTAREG_SERVER", both_stacks.url)
    monkeypatch.setenv("DEPLOYS", "http://127.0.0.1:9/hooks/secret")
    write_token(both_stacks.url, both_stacks.token("read", "admin", principal="root"))
    shell.client = both_stacks.client(("read", "admin"), principal="root")
    return shell


@ONE_STACK
def test_an_organisation_is_planned_applied_and_exported(admin, tmp_path):
    folder = written(tmp_path / "f", FILES)
    planned = admin(*shlex.split(f"apply -f {folder} --dry-run"))
    applied = admin(*shlex.split(f"apply -f {folder} -m 'the first files'"))
    again = admin(*shlex.split(f"apply -f {folder} --dry-run --prune"))
    admin(*shlex.split(f"access export {tmp_path / 'x'}"))
    exported = {path.name: yaml.safe_load(path.read_text()) for path in (tmp_path / "x").rglob("*.yaml")}

    assert (planned.status, applied.status, again.status) == (10, 0, 0)
    assert "person ben would be made" in planned.out
    assert "webhook deploys in team was made" in applied.out
    assert "secret" not in planned.out + applied.out
    assert "nothing to do" in again.out
    assert exported["access.yaml"]["groups"] == {"ml": ["ana", "ben"], "platform": {"source": "okta"}}
    assert exported["access.yaml"]["quota"] == {
        "namespaces": {"bytes": "50GB"},
        "principals": {"ana": {"bytes": "none", "uploads": 20}},
    }
    assert "quota of each namespace would be made\n  + bytes: 50GB" in planned.out
    assert exported["team.yaml"] == {
        "visibility": "private",
        "members": {"ana": "owner", "ml": ["pusher", "releaser chat-*@dev"]},
        "quota": {"bytes": "1536MiB", "versions": 5000},
        "webhooks": {"deploys": {"url": "$TEAM_DEPLOYS", "types": ["channel.*"], "lines": "", "form": "cloudevents"}},
    }


@ONE_STACK
def test_who_may_do_what_is_a_table_and_csv(admin, tmp_path):
    folder = written(tmp_path / "f", FILES)
    admin(*shlex.split(f"apply -f {folder} -m 'the first files'"))

    table = admin(*shlex.split("access ls team --right promote"))
    rows = list(csv.DictReader(admin(*shlex.split("access ls team --csv")).out.splitlines()))
    of_ben = {(one["right"], one["only"], one["role"], one["group"]) for one in rows if one["principal"] == "ben"}

    assert "releaser by the group ml, from root" in table.out
    assert of_ben >= {("push", "", "pusher", "ml"), ("approve", "chat-*@dev", "releaser", "ml")}


@ONE_STACK
def test_an_address_that_is_not_set_changes_nothing(admin, tmp_path, monkeypatch):
    folder = written(tmp_path / "f", FILES)
    monkeypatch.delenv("DEPLOYS")

    refused = admin(*shlex.split(f"apply -f {folder} -m 'the first files'"))

    assert refused.status == 2
    assert "goes to $DEPLOYS, which is not set" in refused.err
    assert "export DEPLOYS=" in refused.err
    assert admin.client.access.export().namespaces == {}


@ONE_STACK
def test_a_leaver_is_one_line(admin, tmp_path):
    folder = written(tmp_path / "f", FILES)
    admin(*shlex.split(f"apply -f {folder} -m 'the first files'"))
    leaver = FILES["access.yaml"].replace("[ana, ben]", "[ana]")
    written(folder, {"access.yaml": leaver})

    kept = admin(*shlex.split(f"apply -f {folder}"))
    pruned = admin(*shlex.split(f"apply -f {folder} --prune"))

    assert "deltareg group rm ml ben" in kept.out
    assert "group ml was replaced" in pruned.out
    assert [each.name for each in admin.client.groups.show("ml").members] == ["ana"]


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("access.yaml", "groups:\n  ml: [ana]\n  ops:\n    source: [okta]\n", "line 4: groups.ops.source"),
        ("access.yaml", "groups:\n  ml: [ana]\npeople: [ben]\n", "line 3: people"),
        ("access.yaml", "namespaces: {}\n", "namespaces have files of their own"),
        ("namespaces/team.yaml", "members:\n  ana: owner\n  ben:\n    role: pusher\n", "line 3: members.ben"),
        ("namespaces/team.yaml", "visibility: secret\n", "line 1: visibility"),
        ("namespaces/team.yaml", "webhooks:\n  a: {url: 'http://h/', tipes: []}\n", "line 2: webhooks.a.tipes"),
        ("namespaces/team.yaml", "quota:\n  bytes: lots\n", "line 2: quota.bytes: not a size"),
        ("namespaces/team.yaml", "quota:\n  bytes: 5\n  minutes:\n", "line 3: quota.minutes: a limit is a number"),
        ("access.yaml", "quota:\n  people: {byte: 5}\n", "line 2: quota.people.byte"),
        ("access.yaml", "quota:\n  principals:\n    ana: 5GB\n", "line 3: quota.principals.ana: limits have"),
        ("access.yaml", "quota:\n  ana: {bytes: 5}\n", "line 2: quota.ana"),
        ("namespaces/A Team.yaml", "members: {}\n", "not a namespace"),
    ],
)
def test_a_file_that_is_wrong_is_named_with_its_line(shell, tmp_path, name, text, why):
    folder = written(tmp_path / "f", {name: text})

    refused = shell(*shlex.split(f"apply -f {folder} --offline"))

    assert refused.status == 2
    assert why in refused.err
    assert str(folder / name) in refused.err
