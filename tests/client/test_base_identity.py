"""A second base with the same tensors and something else beside them is never taken for the first.

Its name sorts first, its folder lies on the same machine, its bytes are in the same cache.
"""

import json
import shutil

import pytest
import sqlalchemy as sa

from deltareg.client.fold.materialize import fold_version
from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.errors import BaseMismatch, Conflict, Forbidden, IntegrityFailure, InvalidInput, NotFound, Refused
from deltareg.wire import LeaseRequest, UploadInfo, UploadOpen
from tests import tiny
from tests.fixtures.registries import BOTH_DATABASES, ONE_STACK, report
from tests.service.rows import unguarded

EPSILON, OTHER_EPSILON = 1e-5, 1e-6
AUTO_MAP = {"AutoModelForCausalLM": "evil/repo--modeling.Model"}


@pytest.fixture
def client(registry_server, both):
    """A client of a registry that has both."""
    return registry_server.client()


@pytest.fixture
def fresh(registry_server):
    """A client of a registry that has neither."""
    return registry_server.client()


@pytest.fixture
def first(tmp_path):
    """Write a base with a tokenizer and a chat template."""
    base = tiny.base(tmp_path / "first")
    (base.path / "tokenizer.json").write_text('{"version": "1.0"}')
    (base.path / "chat_template.jinja").write_text("first")
    (base.path / "README.md").write_text("the first")
    return with_config(base.path, rms_norm_eps=EPSILON)


@pytest.fixture
def second(tmp_path, first):
    """Write the same tensors with another epsilon, another template, and code from somewhere."""
    twin = copy(first, tmp_path / "second")
    (twin / "chat_template.jinja").write_text("second")
    return with_config(twin, rms_norm_eps=OTHER_EPSILON, auto_map=AUTO_MAP)


@pytest.fixture
def delta(tmp_path):
    base = tiny.base(tmp_path / "same-weights")
    return tiny.lora(tmp_path / "delta", base, base_model_name_or_path=None).path


@pytest.fixture
def both(registry_server, first, second):
    """Store both; the second has the name that comes first."""

    def store():
        pusher = registry_server.client()
        return pusher.bases.push(first, "tiny"), pusher.bases.push(second, "aaa")

    return registry_server.step("two bases with the same tensors", store)


def copy(folder, to):
    shutil.copytree(folder, to)
    return to


def with_config(folder, **changed):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    return folder


def config_of(folder):
    return json.loads((folder / "config.json").read_text())


def template_of(folder):
    return (folder / "chat_template.jinja").read_text()


@BOTH_DATABASES
def test_the_two_are_two_and_each_says_what_it_is(client, both):
    one, two = both

    found = client.bases.diff("tiny", "aaa")

    assert (one.root, one.parts["tokenizer"]) == (two.root, two.parts["tokenizer"])
    assert one.identity != two.identity
    assert one.parts["config"] != two.parts["config"]
    assert found.same_tensors
    assert [(d.part, d.details) for d in found.differences] == [
        ("config", ["rms_norm_eps 1e-05 → 1e-06"]),
        ("chat_template", ["chat_template.jinja"]),
    ]
    assert found.without_effect == ["config key auto_map"]


@BOTH_DATABASES
def test_a_push_goes_to_the_base_that_its_folder_is(client, both, first, second, delta):
    of_first = client.push(delta, "team/one", base=str(first)).version
    of_second = client.push(delta, "team/two", base=str(second)).version

    assert (of_first.base.name, of_second.base.name) == ("tiny", "aaa")
    assert of_first.base.identity == both[0].identity
    assert of_second.base.identity == both[1].identity


@BOTH_DATABASES
def test_a_folder_that_is_neither_has_to_be_told_which_is_meant(client, both, first, delta, tmp_path):
    third = with_config(copy(first, tmp_path / "third"), rms_norm_eps=0.5)

    with pytest.raises(BaseMismatch) as refused:
        client.push(delta, "team/one", base=str(third))
    pushed = client.push(delta, "team/one", base="tiny").version

    told = [problem.message for problem in refused.value.problems]
    assert refused.value.exit_code == 7
    assert told == [
        "aaa: the same tensors; config differs: rms_norm_eps 1e-06 → 0.5; chat template differs: chat_template.jinja",
        "tiny: the same tensors; config differs: rms_norm_eps 1e-05 → 0.5",
    ]
    assert "--base aaa" in refused.value.fix
    assert pushed.base.identity == both[0].identity


@ONE_STACK
def test_where_one_alone_has_the_tensors_another_folder_is_not_taken_for_it(fresh, first, second, delta):
    fresh.bases.push(first, "tiny")

    with pytest.raises(BaseMismatch, match="is not tiny: the same tensors; config differs: rms"):
        fresh.push(delta, "team/one", base=str(second))


@BOTH_DATABASES
def test_the_server_refuses_a_push_that_does_not_say_which(client, both, delta):
    """As a client of the release before sends it, which knows roots alone."""
    version = client.push(delta, "team/one", base="tiny").version
    manifest = client._context.api.send("GET", "/deltas/team/one/versions/1/manifest").text

    def open_upload(**told):
        request = UploadOpen(subject="delta", target="team/new", manifest=manifest, **told)
        return client._context.api.post("/uploads", request, UploadInfo)

    with pytest.raises(Refused) as unnamed:
        open_upload()
    with pytest.raises(Refused, match="not the one that this was made for"):
        open_upload(base="aaa", base_identity=version.base.identity)
    with pytest.raises(Refused, match="no base here has the root"):
        open_upload(base="none")
    by_identity = open_upload(base_identity=version.base.identity)

    told = [problem.message for problem in unnamed.value.problems]
    assert unnamed.value.exit_code == 7
    assert told[0] == "2 bases have these tensors: aaa, tiny"
    assert told[1].startswith("aaa and tiny: the same tensors; config differs: rms_norm_eps")
    assert by_identity.state == "open"
    assert open_upload(base="tiny").id == by_identity.id
    assert open_upload(base="aaa").id != by_identity.id  # it would have been bound to tiny


@BOTH_DATABASES
def test_the_same_bytes_for_the_other_base_are_no_version_of_this_one(client, both, delta):
    mine = client.push(delta, "team/one", base="tiny").version

    with pytest.raises(Refused) as refused:
        client.push(delta, "team/one", base="aaa")
    again = client.push(delta, "team/one", base="tiny").version

    assert refused.value.exit_code == 7
    assert "team/one:v1 holds these bytes for the base tiny, not for aaa" in str(refused.value)
    assert (again.ref, again.created) == (mine.ref, False)


@ONE_STACK
def test_each_is_materialized_with_its_own_files_from_one_cache(client, both, delta, tmp_path):
    client.push(delta, "team/one", base="tiny")
    client.push(delta, "team/two", base="aaa")

    for line, epsilon, template in (
        ("two", OTHER_EPSILON, "second"),
        ("one", EPSILON, "first"),
        ("two", OTHER_EPSILON, "second"),
    ):
        out = tmp_path / f"{line}-{epsilon}"
        client.materialize(f"team/{line}:v1", out)
        assert config_of(out)["rms_norm_eps"] == epsilon
        assert template_of(out) == template
        assert ("auto_map" in config_of(out)) == (line == "two")
    with pytest.raises(Conflict, match="holds something else"):
        client.materialize("team/one:v1", tmp_path / f"two-{OTHER_EPSILON}")


@ONE_STACK
def test_a_folder_of_the_other_is_refused_for_the_fold(client, both, second, delta, tmp_path):
    client.push(delta, "team/one", base="tiny")

    with pytest.raises(BaseMismatch, match="is not tiny: the same tensors; config differs"):
        client.materialize("team/one:v1", tmp_path / "out", base=second)

    assert not (tmp_path / "out").exists()


@ONE_STACK
def test_a_fold_takes_the_name_of_its_base_and_no_other(client, both, delta, tmp_path):
    client.push(delta, "team/one", base="tiny")

    with pytest.raises(BaseMismatch, match="team/one:v1 is for tiny, not for aaa"):
        client.materialize("team/one:v1", tmp_path / "out", base="aaa")
    with pytest.raises(NotFound, match="no folder, and no base here"):
        client.materialize("team/one:v1", tmp_path / "out", base="nosuch")
    client.materialize("team/one:v1", tmp_path / "out", base="tiny")

    assert template_of(tmp_path / "out") == "first"


@ONE_STACK
def test_what_decides_nothing_comes_from_the_registered_base_alone(fresh, first, delta, tmp_path):
    """The folder is the same base, with notes, code and a key of its own."""
    fresh.bases.push(first, "tiny")
    fresh.push(delta, "team/one", base="tiny")
    mine = with_config(copy(first, tmp_path / "mine"), auto_map=AUTO_MAP, torch_dtype="float16")
    (mine / "README.md").write_text("mine")
    (mine / "EXTRA.md").write_text("mine")
    (mine / "notes.json").write_text("{}")

    fresh.materialize("team/one:v1", tmp_path / "out", base=mine)

    assert config_of(tmp_path / "out") == config_of(first)
    assert not {"EXTRA.md", "notes.json", "README.md"} & {p.name for p in tmp_path.glob("out/*")}
    assert template_of(tmp_path / "out") == "first"


@ONE_STACK
def test_a_stack_stands_on_its_own_base_whatever_was_folded_before(client, both, delta, tmp_path):
    """The same delta on both bases: the folds have the same tensors, and are not the same."""
    client.push(delta, "team/one", base="tiny")
    client.push(delta, "team/two", base="aaa")
    client.materialize("team/two:v1", tmp_path / "folded")
    over = tiny.lora(tmp_path / "over", tiny.base(tmp_path / "w"), seed=7, base_model_name_or_path=None).path

    above = client.push(over, "team/over", base="team/one:v1").version
    folded = client.bases.show("team/one:v1")
    client.materialize("team/over:v1", tmp_path / "out")

    assert above.base.name == "team/one:v1"
    assert above.base.identity == folded.identity
    assert template_of(tmp_path / "out") == "first"
    assert config_of(tmp_path / "out")["rms_norm_eps"] == EPSILON


@ONE_STACK
def test_versions_of_the_two_are_not_merged_and_a_diff_says_so(client, both, delta, tmp_path):
    other = tiny.lora(tmp_path / "b", tiny.base(tmp_path / "w"), seed=8, base_model_name_or_path=None).path
    client.push(delta, "team/one", base="tiny")
    client.push(other, "team/two", base="aaa")

    with pytest.raises(BaseMismatch, match="the same tensors, and other bases"):
        client.merge([("team/one", 0.5), ("team/two", 0.5)], "team/merged")
    found = client.diff("team/one:v1", "team/two:v1")

    assert "for tiny and aaa: the same tensors; config differs: rms_norm_eps" in found.note


@BOTH_DATABASES
def test_a_verdict_is_of_the_base_that_the_worker_had(registry_server, client, both, delta):
    version = client.push(delta, "team/one", base="tiny").version
    worker = registry_server.client(("read", "verify"), principal="w", kind="wrk")
    run = client.verify(version.ref)
    grant = worker.lease(LeaseRequest(worker="w"))
    told = report(grant).model_copy(update={"base_identity": ""})

    with pytest.raises(InvalidInput, match="does not say on which it was made"):
        worker.complete_run(grant.run, told)
    with pytest.raises(InvalidInput, match="the worker had"):
        worker.complete_run(grant.run, told.model_copy(update={"base_identity": both[1].identity}))
    own = told.model_copy(update={"base_identity": both[0].identity})
    verdict = worker.complete_run(grant.run, own)

    assert grant.base.identity == both[0].identity
    assert (verdict.base_identity, verdict.counts) == (both[0].identity, True)
    assert client.runs.show(run.id).verdict is not None
    assert client.gate(version.ref, "prod").allowed


@ONE_STACK
def test_what_the_server_gives_under_a_name_has_to_be_the_base(client, both, delta, tmp_path):
    version = client.push(delta, "team/one", base="tiny").version
    moved = version.base.model_copy(update={"name": "aaa"})

    detail = client.show("team/one:v1").model_copy(update={"base": moved})

    with pytest.raises(IntegrityFailure, match="is not the base that team/one:v1 was pushed for"):
        fold_version(client._context, detail, tmp_path / "out")


@BOTH_DATABASES
def test_a_base_is_renamed_and_found_by_both_names(client, registry_server, both, delta):
    admin = registry_server.client(("admin",), principal="root")
    client.push(delta, "team/one", base="tiny")

    admin.bases.rename("tiny", "llama-tiny")

    again = client.push(delta, "team/one", base="tiny").version
    assert (again.created, again.base.name) == (False, "llama-tiny")
    assert client.bases.show("tiny").aliases == ["tiny"]
    assert client.bases.show("shared/llama-tiny") == client.bases.show("tiny")
    with pytest.raises(Conflict, match="tiny leads to llama-tiny"):
        admin.bases.rename("aaa", "tiny")
    with pytest.raises(Conflict, match="llama-tiny is a base"):
        admin.bases.rename("aaa", "llama-tiny")
    with pytest.raises(InvalidInput, match="different namespaces"):
        admin.bases.rename("aaa", "org/aaa")
    with pytest.raises(Forbidden):
        registry_server.client(("read", "push")).bases.rename("aaa", "bbb")
    admin.bases.rename("llama-tiny", "tiny")
    assert client.bases.show("llama-tiny").name == "tiny"


@BOTH_DATABASES
def test_a_base_is_deleted_only_where_nothing_stands_on_it(client, registry_server, both, second, delta):
    admin = registry_server.client(("admin",), principal="root")
    client.push(delta, "team/one", base="tiny")

    with pytest.raises(Conflict, match=r"tiny is needed by 1 version \(team/one:v1\)"):
        admin.bases.delete("tiny")
    with pytest.raises(Forbidden):
        registry_server.client(("read", "push")).bases.delete("aaa")
    tried = admin.bases.delete("aaa", dry_run=True)
    assert client.bases.show("aaa").name == tried.name == "aaa"
    admin.bases.delete("aaa")

    with pytest.raises(NotFound):
        client.bases.show("aaa")
    assert [base.name for base in client.bases.list()] == ["tiny"]
    assert client.push(delta, "team/two", base="tiny").version.base.name == "tiny"
    with pytest.raises(Conflict, match="2 versions"):
        admin.bases.delete("tiny")
    assert client.bases.push(second, "aaa").created
    assert [row.action for row in admin.audit.list() if row.action == "base.delete"] == ["base.delete"]


def test_nobody_is_to_prove_a_base_that_was_deleted(fresh, registry_server, first):
    admin = registry_server.client(("admin",), principal="root")
    fresh.bases.push(first, "tiny")
    (run,) = fresh.runs.queue().items

    admin.bases.delete("tiny")

    ended = fresh.runs.show(run.id)
    assert (run.what, ended.state) == ("prove", "cancelled")
    assert ended.error == "the base tiny was deleted"


@BOTH_DATABASES
def test_a_deleted_version_keeps_its_base_until_its_bytes_are_gone(fresh, registry_server, first, delta):
    admin = registry_server.client(("admin",), principal="root")
    fresh.bases.push(first, "tiny")
    fresh.push(delta, "team/one", base="tiny")
    admin.versions.delete("team/one:v1")

    with pytest.raises(Conflict, match="1 deleted version whose bytes are not collected yet"):
        admin.bases.delete("tiny")


@BOTH_DATABASES
def test_a_base_may_lie_in_a_namespace(fresh, first, second, delta, tmp_path):
    info = fresh.bases.push(first, "org/tiny")
    owners = fresh.namespaces.show("org").owners
    for name in ("everywhere/tiny", "everywhere/other"):
        with pytest.raises(InvalidInput, match="is kept for what belongs to all"):
            fresh.bases.push(first, name)
    shared = fresh.bases.push(second, "shared/tiny")

    version = fresh.push(delta, "team/one", base="org/tiny").version
    fresh.materialize("team/one:v1", tmp_path / "out")

    assert (info.name, shared.name) == ("org/tiny", "tiny")
    assert version.base.name == "org/tiny"
    assert owners == ["ada"], "who makes a namespace owns it"
    up = fresh.versions.lineage("team/one:v1").up
    assert [(e.child, e.parent, e.relation) for e in up] == [("team/one:v1", "base:org/tiny", "base")]
    assert fresh.bases.show("org/tiny").identity == info.identity
    assert fresh.bases.diff("org/tiny", "tiny").same_tensors
    assert template_of(tmp_path / "out") == "first"
    with pytest.raises(InvalidInput):
        fresh.bases.push(first, "a/b/c")


@ONE_STACK
def test_two_bases_that_are_the_same_in_every_part_are_told_apart_by_name(fresh, first, delta, tmp_path):
    """They differ in what decides nothing; still a version is bound to one of them."""
    mirror = copy(first, tmp_path / "mirror")
    (mirror / "README.md").write_text("another")
    fresh.bases.push(first, "tiny")
    fresh.bases.push(mirror, "mirror")
    neither = copy(first, tmp_path / "neither")
    (neither / "README.md").write_text("a third")

    with pytest.raises(BaseMismatch, match="is as much mirror, tiny"):
        fresh.push(delta, "team/one", base=str(neither))
    exact = fresh.push(delta, "team/one", base=str(mirror)).version

    assert exact.base.name == "mirror"


@BOTH_DATABASES
def test_a_verdict_that_does_not_say_its_base_counts_for_none_of_several(registry_server, client, both, delta):
    """As one that the release before made, when both were taken for each other."""
    version = client.push(delta, "team/one", base="tiny").version
    worker = registry_server.client(("read", "verify"), principal="w", kind="wrk")
    grant = worker.lease(LeaseRequest(worker="w"))
    told = report(grant).model_copy(update={"base_identity": both[0].identity})
    verdict = worker.complete_run(grant.run, told)
    with write(registry_server.registry.engine) as conn, unguarded(conn, t.verdict_bases):
        conn.execute(sa.delete(t.verdict_bases))

    shown = client.verdicts.show(verdict.id)
    gate = client.gate(version.ref, "prod")

    assert not shown.counts
    assert "does not say which of the bases with these tensors" in shown.not_counting
    assert [rule.rule for rule in gate.unmet] == ["foreign"]
    assert client.show(version.ref).verdict is None
    assert client.verify(version.ref).state == "queued"


@BOTH_DATABASES
def test_what_an_older_release_knew_in_part_is_completed_once(registry_server, fresh, first, delta, tmp_path):
    bare = copy(first, tmp_path / "bare")
    for name in ("tokenizer.json", "chat_template.jinja"):
        (bare / name).unlink()
    before = fresh.bases.push(bare, "tiny")
    with pytest.raises(Refused, match="is another one"):
        fresh.bases.push(first, "tiny")
    with write(registry_server.registry.engine) as conn, unguarded(conn, t.base_identities):
        conn.execute(sa.update(t.base_identities).values(is_partial=True))
    other = with_config(copy(first, tmp_path / "other"), rms_norm_eps=OTHER_EPSILON)
    stranger = registry_server.client(("read", "push"), principal="eve")

    assert fresh.bases.show("tiny").is_partial
    with pytest.raises(Refused, match="is another one"):
        fresh.bases.push(other, "tiny")
    with pytest.raises(Refused, match="is another one"):
        stranger.bases.push(first, "tiny")
    with pytest.raises(Refused, match="needs its bytes, too"):
        fresh.bases.register(first, "tiny")
    after = fresh.bases.push(first, "tiny")

    assert (after.is_partial, after.is_stored) == (False, True)
    assert after.parts.items() > before.parts.items()
    assert after.identity != before.identity
    with pytest.raises(Refused, match="is another one"):
        fresh.bases.push(bare, "tiny")
    reader = registry_server.client(("read",))
    fresh.push(delta, "team/one", base="tiny")
    shutil.rmtree(first)
    reader.materialize("team/one:v1", tmp_path / "out")
    assert template_of(tmp_path / "out") == "first"


@BOTH_DATABASES
def test_a_policy_that_names_a_base_knows_it_by_the_name_that_it_had(registry_server, client, both, delta):
    version = client.push(delta, "team/one", base="tiny").version
    admin = registry_server.client(("admin",), principal="root")
    admin.channels.set_policy("team/one", "dev", {"smoke": False, "bases": ["tiny"]})
    admin.bases.rename("tiny", "llama-tiny")
    registry_server.verified(version.ref)

    assert client.gate(version.ref, "dev").allowed
    admin.channels.set_policy("team/one", "dev", {"smoke": False, "bases": [both[1].identity]})
    assert not client.gate(version.ref, "dev").allowed
