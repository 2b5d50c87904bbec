"""What is shown of a version or a base names nothing that its reader may not see."""

import pytest

from deltareg.service.authority.grants import Grant, NonPrivateNamespaces, Right
from deltareg.service.authority.resources import Namespace
from deltareg.service.corrupt import UNSEEN
from deltareg.service.lines.veil import tell_version, veil_base, veiled_base, veiled_detail
from deltareg.service.registry import Caller
from deltareg.wire import BaseInfo, BaseName, BaseRelation, LeaseRequest, LineSent, LogAppend, RunFailure, VersionDetail
from tests.fixtures.registries import ONE_STACK, SAMPLES

TINY, LORA = SAMPLES / "bases" / "tinyllama", SAMPLES / "deltas" / "tinyllama" / "lora"
ROOT = f"blake3:{'0' * 64}"
VERSION = VersionDetail(
    ref="team/x:v1",
    namespace="team",
    name="x",
    version=1,
    digest="sha256:1",
    kind="lora",
    variant="",
    foldable=True,
    base=BaseName(name="hidden/y:v2", root=ROOT),
    message="",
    semver=None,
    labels={},
    logical_bytes=1,
    stored_bytes=1,
    uploaded_bytes=1,
    verdict=None,
    channels=[],
    created_at="",
    created_by="ada",
    is_deleted=False,
    parents=["hidden/y:v2", "team/x:v3"],
    source="",
    config={},
    tensors=0,
    modules=0,
    files=[],
    stack=["tiny", "hidden/y:v2"],
)
BASE = BaseInfo(
    name="team/x:v1",
    root=ROOT,
    manifest_digest="sha256:1",
    model_type="",
    is_stored=True,
    location=None,
    tensors=1,
    logical_bytes=1,
    stored_bytes=1,
    created_at="",
    created_by="ada",
    deltas=0,
    bottom=BaseName(name="hidden/y:v2", root=ROOT),
    relations=[
        BaseRelation(relation="cast_of", root=ROOT, name="hidden/y:v2"),
        BaseRelation(relation="cast_of", root=ROOT, name="tiny"),
    ],
)


def caller(*reaches):
    return Caller("bob", 2, None, frozenset(Grant(Right.READ, reach) for reach in reaches))


MEMBER = caller(Namespace("team"), Namespace("hidden"))
STRANGER = caller(NonPrivateNamespaces(frozenset({"hidden"})))


def test_a_base_of_another_namespace_is_shown_by_its_root():
    seen, hidden = veil_base(MEMBER, VERSION), veil_base(STRANGER, VERSION)

    assert seen.base.name == "hidden/y:v2"
    assert (hidden.base.name, hidden.base.root) == (UNSEEN, ROOT)


def test_a_stack_and_parents_name_nothing_hidden():
    hidden = veiled_detail(STRANGER, VERSION)

    assert hidden.stack == ["tiny", UNSEEN]
    assert hidden.parents == ["team/x:v3"]
    assert "hidden" not in hidden.model_dump_json()
    assert veiled_detail(MEMBER, VERSION) == VERSION


def test_relations_of_a_base_name_nothing_hidden():
    hidden = veiled_base(STRANGER, BASE)

    assert "hidden" not in hidden.model_dump_json()
    assert [relation.name for relation in hidden.relations] == [None, "tiny"]
    assert veiled_base(MEMBER, BASE) == BASE


@pytest.mark.parametrize(("who", "told"), [(MEMBER, "hidden/y:v2"), (STRANGER, "do not see")])
def test_what_keeps_something_from_deletion_is_named_to_who_sees_it(who, told):
    class Row:
        namespace, line, number = "hidden", "y", 2

    assert told in tell_version(who, Row())


@ONE_STACK
def test_what_a_worker_says_of_a_run_names_nothing_of_another_namespace(both_stacks):
    """A worker calls the base by its name, which who reads the version may not see."""
    server = both_stacks
    server.client().bases.push(TINY, "hidden/llama")
    server.client().push(LORA, "team/lora", base="hidden/llama")
    worker = server.client(("read", "verify"), principal="worker", kind="wrk")
    grant = worker.lease(LeaseRequest(worker="w", what=["verify"]))
    line = LineSent(text="the base hidden/llama is not stored")

    worker.append_log(grant.run, LogAppend(fence=grant.fence, first=0, lines=[line]))
    worker.fail_run(grant.run, RunFailure(fence=grant.fence, error=line.text))

    run = server.client().runs.show(grant.run)
    assert run.error == f"the base {UNSEEN} is not stored"
    assert server.client().runs.log(grant.run).items[0].text == run.error
