"""Labels of versions: set, changed and taken away, looked for, and no part of what a version is."""

import pytest

from deltareg.errors import Blocked, Forbidden, InvalidInput

V1, V2 = "team/lora:v1", "team/lora:v2"


@pytest.fixture
def two(registry_server):
    """Push two versions of a line."""
    return registry_server.line("lora", "lora_v2")


def test_labels_come_go_and_change_nothing_else(two):
    before = two.show(V1)

    added = two.versions.label(V1, {"tested": "yes", "reviewed": ""})
    changed = two.versions.label(V1, {"tested": "twice"}, remove=["reviewed", "absent"])

    assert added.labels == {"tested": "yes", "reviewed": ""}
    assert changed.labels == {"tested": "twice"}
    after = two.show(V1)
    assert after.digest == before.digest
    assert after.model_copy(update={"labels": {}}) == before
    audit = [(row.action, row.before, row.after) for row in two.audit.list(subject=V1).items[:2]]
    assert audit == [
        ("version.label", {"labels": added.labels}, {"labels": {"tested": "twice"}}),
        ("version.label", {"labels": {}}, {"labels": added.labels}),
    ]
    trail = two.audit.list(subject=V1).items
    two.versions.label(V1, {"tested": "twice"}, remove=["absent"])
    assert two.audit.list(subject=V1).items == trail, "what is so already leaves no trace"


def test_versions_and_lines_are_found_by_them(two):
    two.versions.label(V1, {"tested": "yes", "reviewed": ""})
    two.versions.label(V2, {"tested": "no"})

    def found(**labels):
        return [version.version for version in two.versions.list("team/lora", labels=labels).items]

    assert found(tested="yes") == [1]
    assert found(tested=None) == [2, 1]
    assert found(tested=None, reviewed=None) == [1]
    assert found(reviewed="") == [1]
    assert found(absent=None) == []
    assert [line.ref for line in two.lines.list(labels={"tested": "no"}).items] == ["team/lora"]
    assert two.lines.list(labels={"tested": "yes"}).items == [], "its newest version is another"
    assert two.lines.list(labels={"reviewed": None}).items == []

    two.versions.delete(V1)
    with pytest.raises(Blocked, match="v1 is deleted"):
        two.versions.label(V1, {"tested": "no"})
    assert two.versions.restore(V1).labels == {"tested": "yes", "reviewed": ""}


NO_LABELS = [
    {"": "x"},
    {"a b": "x"},
    {"a=b": "x"},
    {"a,b": "x"},
    {'a"b': "x"},
    {"a\\b": "x"},
    {"a\x07": "x"},
    {"a": "x\ny"},
    {"k" * 257: ""},
    {"k": "v" * 257},
]


def test_what_is_no_label_is_refused_and_so_is_who_may_not_push(local_registry):
    client = local_registry.line("lora")
    reader = local_registry.client(("read",), principal="reader")

    for labels in NO_LABELS:
        with pytest.raises(InvalidInput, match="label"):
            client.versions.label(V1, labels)
    assert client.show(V1).labels == {}
    client.versions.label(V1, {f"k{number}": "" for number in range(64)})
    with pytest.raises(InvalidInput, match="64 labels, not 65"):
        client.versions.label(V1, {"more": ""})
    client.versions.label(V1, {"more": ""}, remove=["k0"])
    assert len(client.show(V1).labels) == 64
    with pytest.raises(Forbidden, match="does not allow 'push'"):
        reader.versions.label(V1, {"a": "b"})
    with pytest.raises(InvalidInput, match="nothing to change"):
        client.versions.label(V1, {})
