"""What is said of bytes that are there already: a semver, labels and a message are given, never lost."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from deltareg.errors import Blocked, Conflict, Forbidden, InvalidInput
from tests.cli.steps import DELTAS

V1, V2 = "team/lora:v1", "team/lora:v2"


@pytest.fixture
def two(registry_server):
    """Push two versions of a line."""
    return registry_server.line("lora", "lora_v2")


def push_again(client, **said):
    return client.versions.push(DELTAS / "lora", "team/lora", base="tinyllama", golden=False, **said)


def test_the_same_bytes_take_a_semver_labels_and_a_first_message(two):
    report = push_again(two, semver="1.4.0", message="the first", labels={"tested": "yes"})

    shown = two.show(V1)
    assert (report.created, report.version.ref, report.warnings) == (False, V1, [])
    assert (shown.semver, shown.message, shown.labels) == ("1.4.0", "the first", {"tested": "yes"})
    assert two.show("team/lora:1.4.0").ref == V1
    actions = {row.action: row.after for row in two.audit.list(subject=V1).items}
    assert actions["version.edit"] == {"semver": "1.4.0", "message": "the first"}
    assert actions["version.label"] == {"labels": {"tested": "yes"}}


def test_the_same_said_again_leaves_no_trace(two):
    push_again(two, semver="1.4.0", message="the first")
    trail = two.audit.list(subject=V1).items

    push_again(two, semver="1.4.0", message="the first")

    assert two.audit.list(subject=V1).items == trail


def test_a_semver_is_never_moved(two):
    two.versions.edit(V2, semver="1.4.0")

    with pytest.raises(Conflict, match=r"1\.4\.0 is team/lora:v2: a semver is never moved"):
        push_again(two, semver="1.4.0", labels={"lost": "no"})
    with pytest.raises(Conflict, match=r"v2 is 1\.4\.0 already, and keeps it"):
        two.versions.edit(V2, semver="1.5.0")

    assert two.show("team/lora:1.4.0").ref == V2
    assert two.show(V1).labels == {}, "what is refused is refused whole"


def test_a_deleted_version_keeps_its_semver(two):
    two.versions.edit(V1, semver="1.4.0")
    two.versions.delete(V1)

    with pytest.raises(Conflict, match="v1, which is deleted"):
        two.versions.edit(V2, semver="1.4.0")
    with pytest.raises(Blocked, match="v1 is deleted"):
        two.versions.edit(V1, message="x")


def test_a_message_stays_and_the_push_says_how_to_replace_it(two):
    push_again(two, message="the first")

    report = push_again(two, message="it's another")

    [warning] = report.warnings
    assert two.show(V1).message == "the first"
    assert """deltareg edit team/lora:v1 -m 'it'"'"'s another'""" in warning.message
    assert two.versions.edit(V1, message="it's another").message == "it's another"


def test_who_may_not_push_says_nothing_of_a_version(two, registry_server):
    reader = registry_server.client(("read",), principal="rita")

    with pytest.raises(Forbidden):
        reader.versions.edit(V1, semver="1.4.0")
    with pytest.raises(InvalidInput, match="not a semantic version"):
        two.versions.edit(V1, semver="v1")

    assert two.show(V1).semver is None


def test_of_two_that_take_a_semver_at_once_one_does(two):
    def take(ref):
        try:
            return two.versions.edit(ref, semver="2.0.0").ref
        except Conflict:
            return None

    with ThreadPoolExecutor(2) as pool:
        taken = [ref for ref in pool.map(take, (V1, V2)) if ref]

    assert len(taken) == 1
    assert two.show("team/lora:2.0.0").ref == taken[0]
