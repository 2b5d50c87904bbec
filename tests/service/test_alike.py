"""Versions with the same weights: told at the push, and never of what the pusher may not read."""

import json
import shutil

import pytest
from safetensors.numpy import load_file, save_file

from deltareg.client import Client
from deltareg.db.session import read, with_retry
from deltareg.db.tables import version_weights, weight_marks
from deltareg.service.upkeep.unread_weights import read_some_weights
from deltareg.wire import TokenCreate
from tests.fixtures.registries import SAMPLES

LORA = SAMPLES / "deltas" / "tinyllama" / "lora"


@pytest.fixture
def line(registry_server):
    """Push a version."""
    return registry_server.line("lora")


@pytest.fixture
def folder(tmp_path):
    """Copy the folder of the pushed version, with another README.md."""
    copy = tmp_path / "copy"
    shutil.copytree(LORA, copy)
    (copy / "README.md").write_text("# the same, by another name\n")
    return copy


def change(folder, *, number):
    """Change some tensors of a folder."""
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    for name in sorted(tensors)[:number]:
        tensors[name] = tensors[name] + 1
    save_file(tensors, path, metadata={"format": "pt"})


def outsider(server, *namespaces):
    """Make a client that sees only what everybody sees, and may push to some namespaces of its own."""
    wanted = TokenCreate(principal="outsider", scopes=["read", "push"], everywhere=False)
    with Client(server._config(server.admin_token)) as admin:
        token = admin.tokens.create(wanted).token
    return server._client(token, ["read", "push"], "outsider", "pat")


def names(report):
    return [(each.ref, each.share) for each in report.version.alike]


def test_the_same_weights_in_another_line(line, folder):
    report = line.push(folder, "team/other", base="tinyllama")

    assert names(report) == [("team/lora:v1", 1.0)]
    assert report.to_dict()["alike"] == [{"ref": "team/lora:v1", "share": 1.0, "is_revoked": False}]
    assert line.show("team/other:v1").alike == [], "it is said at the push alone"


def test_the_same_weights_in_the_line_itself(line, folder):
    assert names(line.push(folder, "team/lora", base="tinyllama")) == [("team/lora:v1", 1.0)]


def test_the_same_push_again_says_nothing(line):
    report = line.push(LORA, "team/lora", base="tinyllama")

    assert (report.created, names(report)) == (False, [])


def test_nearly_the_same_weights_are_told_in_other_lines_only(line, folder):
    change(folder, number=1)

    near = line.push(folder, "team/other", base="tinyllama")
    own = line.push(folder, "team/lora", base="tinyllama")

    assert [ref for ref, _ in names(near)] == ["team/lora:v1"]
    assert 0.9 <= near.version.alike[0].share < 1
    assert names(own) == [("team/other:v1", 1.0)], "the checkpoint before it is no news"


def test_other_weights_are_not_told(line, folder):
    change(folder, number=1000)

    assert names(line.push(folder, "team/other", base="tinyllama")) == []


def test_what_is_revoked_says_so_and_what_is_deleted_is_not_told(line, folder):
    change(folder, number=1000)
    line.push(folder, "team/first", base="tinyllama")
    line.versions.revoke("team/first:v1", reason="leaks")
    (folder / "README.md").write_text("# once more\n")
    revoked = line.push(folder, "team/second", base="tinyllama")
    line.versions.delete("team/first:v1")
    deleted = line.push(folder, "team/third", base="tinyllama")

    assert [(each.ref, each.is_revoked) for each in revoked.version.alike] == [("team/first:v1", True)]
    assert names(deleted) == [("team/second:v1", 1.0)]


def test_what_the_pusher_may_not_read_is_never_told(line, registry_server, folder):
    line.namespaces.change("team", visibility="private")
    stranger = outsider(registry_server)

    exact = stranger.push(folder, "mine/copy", base="tinyllama")
    change(folder, number=1)
    near = stranger.push(folder, "mine/near", base="tinyllama")

    assert names(exact) == []
    assert [ref for ref, _ in names(near)] == ["mine/copy:v1"]
    line.namespaces.change("team", visibility="internal")
    (folder / "README.md").write_text("# once more\n")
    seen = stranger.push(folder, "mine/open", base="tinyllama")
    assert [ref for ref, _ in names(seen)] == ["mine/near:v1"]


def test_versions_from_before_are_read_by_the_upkeep(line, registry_server, folder):
    engine = registry_server.registry.engine
    with read(engine) as conn:
        marked = conn.execute(weight_marks.select().order_by(weight_marks.c.mark)).all()
    with_retry(engine, lambda conn: (conn.execute(weight_marks.delete()), conn.execute(version_weights.delete())))

    assert read_some_weights(registry_server.registry) == 1
    assert read_some_weights(registry_server.registry) == 0
    with read(engine) as conn:
        assert conn.execute(weight_marks.select().order_by(weight_marks.c.mark)).all() == marked
    assert names(line.push(folder, "team/other", base="tinyllama")) == [("team/lora:v1", 1.0)]


def test_the_config_of_the_copy_may_be_another(line, folder):
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"lora_alpha": config["lora_alpha"] * 2}))

    assert names(line.push(folder, "team/other", base="tinyllama")) == [("team/lora:v1", 1.0)]
