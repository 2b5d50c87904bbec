"""A version as the base of others: a LoRA on a fine-tune, on both stacks."""

import shutil
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from deltareg.client import MergeOptions
from deltareg.client.fold.version_base import find_push_base, store_version_base
from deltareg.client.folders.base_folder import open_base
from deltareg.db import tables as t
from deltareg.db.session import read, write
from deltareg.errors import BaseMismatch, Blocked, Conflict, InvalidInput, NotFound, Refused
from deltareg.service.upkeep import collect
from deltareg.service.upkeep.plan import plan
from tests import corpus
from tests.e2e.test_data_path import same_files
from tests.fixtures.registries import BOTH_DATABASES
from tests.proving import prove_all, prover_of
from tests.service import rows

SAMPLES = Path(__file__).parents[1] / "samples"
BASE = SAMPLES / "bases" / "tinyllama"
DELTAS = SAMPLES / "deltas" / "tinyllama"


def push(client, delta, line, base):
    """Push a sample and give its version."""
    return client.push(DELTAS / delta, line, base=base).version


def begin(server):
    client = server.client()
    client.bases.push(BASE, "tinyllama")
    push(client, "full", "team/sft", "tinyllama")


@pytest.fixture
def server(registry_server):
    """Run a registry with a base and a full fine-tune of it."""
    registry_server.step("sft", lambda: begin(registry_server))
    return registry_server


@pytest.fixture
def local(local_registry):
    """Run a registry on SQLite and a folder, with a base and a full fine-tune of it."""
    local_registry.step("sft", lambda: begin(local_registry))
    return local_registry


@pytest.fixture
def chatting(local):
    """Give a client that pushed a LoRA on the fine-tune, and has what that takes at hand."""
    cache = local.folder / "chatting"
    local.step("chat", lambda: begin_chat(local, cache), folders=[cache])
    return local.client(cache_dir=cache)


def begin_chat(server, cache):
    push(server.client(cache_dir=cache), "lora", "team/chat", "team/sft:v1")


def test_a_lora_on_a_fine_tune_goes_all_the_way(server, tmp_path):
    client, other = server.client(), server.client(("read",), principal="reader")

    chat = push(client, "lora", "team/chat", "team/sft:v1")
    plain = other.materialize("team/chat:v1", tmp_path / "merged")
    sft = other.materialize("team/sft:v1", tmp_path / "sft")
    by_hand = other.materialize("team/chat:v1", tmp_path / "again", base=tmp_path / "sft")

    assert chat.base.name == "team/sft:v1"
    assert chat.base.root == sft.root == str(client.bases.fingerprint(DELTAS / "full").root)
    assert plain.root == by_hand.root
    assert same_files(tmp_path / "merged", tmp_path / "again")
    assert other.show("team/chat:v1").stack == ["tinyllama", "team/sft:v1"]


def test_everything_can_be_asked_of_a_version_on_a_version(chatting):
    push(chatting, "lora_v2", "team/chat", "team/sft:v1")

    up = chatting.versions.lineage("team/chat:v1").up
    down = chatting.versions.lineage("team/sft:v1").down
    diff = chatting.diff("team/chat:v1", "team/chat:v2")
    listed = chatting.lines.list("team", filters={"base": "team/sft:v1"}).items

    assert [(e.child, e.parent, e.relation) for e in up] == [
        ("team/chat:v1", "team/sft:v1", "base"),
        ("team/sft:v1", "base:tinyllama", "base"),
    ]
    assert [(e.child, e.relation) for e in down] == [("team/chat:v1", "base"), ("team/chat:v2", "base")]
    assert diff.modules
    assert all(module.relative_norm is not None for module in diff.modules)
    assert [line.ref for line in listed] == ["team/chat"]
    assert {base.name: base.deltas for base in chatting.bases.list().items} == {"team/sft:v1": 2, "tinyllama": 1}


def test_a_full_fine_tune_is_stored_once_and_is_a_base_without_a_recipe(local):
    client = local.client()
    prove_all(prover_of(local))  # before that nobody builds on its bytes
    before = stored_bytes(local)

    push(client, "lora", "team/chat", "team/sft:v1")
    base = client.bases.show("team/sft:v1")

    assert (base.version, base.depth, base.recipe) == ("team/sft:v1", 1, "")
    assert base.bottom is not None
    assert base.bottom.name == "tinyllama"
    assert base.logical_bytes > 200_000
    lora = client.show("team/chat:v1").uploaded_bytes
    assert stored_bytes(local) - before - lora < 20_000, "headers and small files only"


def test_a_computed_base_is_folded_once_and_the_same_bits_for_all(local, tmp_path):
    maker, user = local.client(), local.client(principal="bob")
    push(maker, "lora", "team/tuned", "tinyllama")

    push(maker, "lora_qv", "team/chat", "team/tuned:v1")
    base = user.bases.show("team/tuned:v1")
    with user.bases.fetch(base) as fetched:
        found = fetched.identity.root
    report = push(user, "lora_v2", "team/other", "team/tuned:v1")

    assert base.recipe == "numpy, 1024 rows, F32"
    assert str(found) == base.root == report.base.root
    assert user.materialize("team/tuned:v1", tmp_path / "own").root == base.root


def test_a_full_fine_tune_of_a_version_comes_back_as_it_went_in(local, tmp_path):
    client, other = local.client(), local.client(("read",), principal="reader")

    version = push(client, "full_v2", "team/more", "team/sft:v1")
    other.pull("team/more:v1", tmp_path / "pulled")
    merged = other.materialize("team/more:v1", tmp_path / "merged")

    assert version.base.name == "team/sft:v1"
    assert same_files(DELTAS / "full_v2", tmp_path / "pulled")
    assert merged.root == str(client.bases.fingerprint(DELTAS / "full_v2").root)


@pytest.mark.parametrize("how", [":1.0.0", "@dev", "@{digest}"])
def test_a_version_is_named_in_any_way_that_names_one(local, how):
    client = local.client()
    version = client.push(DELTAS / "full_v2", "team/sft", base="tinyllama", semver="1.0.0").version
    local.verified(version.ref)
    client.promote(version.ref, "dev")

    chat = push(client, "lora", "team/chat", "team/sft" + how.format(digest=version.digest))

    assert chat.base.name == "team/sft:v2"


def test_a_line_alone_is_no_base(local):
    client = local.client()

    with pytest.raises(InvalidInput, match="needs a version") as caught:
        push(client, "lora", "team/chat", "team/sft")

    assert "team/sft@prod" in caught.value.fix


@pytest.mark.parametrize("base", ["team/sft:v9", "team/absent:v1", "team/sft@prod", "team/sft@sha256:" + "0" * 64])
def test_an_unknown_version_is_not_found(local, base):
    with pytest.raises(NotFound):
        push(local.client(), "lora", "team/chat", base)


@pytest.mark.parametrize("base", ["./absent", "team/sft/more:v1:v2", "team:v1", "a b"])
def test_what_is_no_base_at_all_says_so(local, base):
    with pytest.raises(InvalidInput, match="not a base"):
        push(local.client(), "lora", "team/chat", base)


def test_a_version_that_can_only_be_attached_is_no_base(local):
    client = local.client()
    push(client, "lora", "team/attach", "tinyllama")
    change(local, "team/attach", foldable=False)

    with pytest.raises(InvalidInput, match="acts on activations and cannot be folded"):
        push(client, "lora_qv", "team/chat", "team/attach:v1")

    assert [base.name for base in client.bases.list().items] == ["tinyllama"]


@pytest.mark.skipif(not corpus.has_corpus(), reason=corpus.MISSING)
def test_a_real_attach_only_delta_is_no_base(local):
    client = local.client()
    client.bases.push(corpus.base_folder("tinyllama"), "theirs")
    hooks = corpus.CORPUS / "deltas" / "tinyllama" / "adp_seq_bn"
    attached = client.push(hooks, "team/hooks", base="theirs").version

    with pytest.raises(InvalidInput, match="acts on activations and cannot be folded"):
        push(client, "lora_qv", "team/chat", attached.ref)

    assert not attached.foldable


def test_a_stack_has_four_versions_at_most(local, tmp_path):
    client = local.client()
    push(client, "lora", "team/two", "team/sft:v1")
    push(client, "lora_v2", "team/three", "team/two:v1")
    top = push(client, "lora_qv", "team/four", "team/three:v1")

    with pytest.raises(InvalidInput, match="stands on 3 versions already"):
        push(client, "lora_rslora", "team/five", "team/four:v1")

    other = local.client(("read",), principal="reader")
    made = other.materialize("team/four:v1", tmp_path / "four", base=None)
    assert client.show(top.ref).stack == ["tinyllama", "team/sft:v1", "team/two:v1", "team/three:v1"]
    client.bases.push(tmp_path / "four", "flat")
    assert push(client, "lora_rslora", "team/five", "flat").base.root == made.root


def test_a_wrong_local_folder_is_refused(chatting, tmp_path):
    with pytest.raises(BaseMismatch, match="another base"):
        chatting.materialize("team/chat:v1", tmp_path / "out", base=BASE)
    with pytest.raises(BaseMismatch, match="knows no base"):
        chatting.push(DELTAS / "lora", "team/x", base=str(DELTAS / "full_v2"))


def test_a_materialized_folder_is_the_base_that_it_is(local, tmp_path):
    client = local.client()
    client.materialize("team/sft:v1", tmp_path / "sft")
    copies = list((client.cache.path / "bases").glob("*"))

    first = push(client, "lora", "team/chat", "team/sft:v1")
    second = push(client, "lora_v2", "team/chat", str(tmp_path / "sft"))

    assert first.base == second.base
    assert second.base.name == "team/sft:v1"
    assert list((client.cache.path / "bases").glob("*")) == copies, "nothing was folded again"


def test_the_base_that_was_meant_is_recorded_of_several_with_one_root(chatting):
    chatting.bases.push(DELTAS / "full", "a-copy")

    by_version = push(chatting, "lora_v2", "team/chat", "team/sft:v1")
    by_name = push(chatting, "lora_qv", "team/chat", "a-copy")

    assert (by_version.base.name, by_name.base.name) == ("team/sft:v1", "a-copy")


def test_lint_folds_and_sends_nothing(local):
    reader = local.client(("read",), principal="reader")

    report = reader.lint(DELTAS / "lora", base="team/sft:v1")

    assert (report.is_accepted, report.base_match) == (True, "shapes")
    assert [base.name for base in reader.bases.list().items] == ["tinyllama"]


def test_a_refused_delta_makes_no_base(local):
    client = local.client()

    with pytest.raises(Refused):
        client.push(SAMPLES / "bad" / "shape_mismatch", "team/chat", base="team/sft:v1")

    assert [base.name for base in client.bases.list().items] == ["tinyllama"]


def test_a_base_is_not_deleted_below_what_stands_on_it(chatting):
    with pytest.raises(Conflict, match="team/sft:v1 is the base of team/chat:v1"):
        chatting.versions.delete("team/sft:v1")

    chatting.versions.delete("team/chat:v1")
    assert chatting.versions.delete("team/sft:v1").is_deleted
    assert [base.name for base in chatting.bases.list().items] == ["tinyllama"]
    with pytest.raises(NotFound, match="deleted"):
        push(chatting, "lora", "team/chat", "team/sft:v1")


@pytest.fixture
def deleted_stack(server):
    """Give a client of a registry in which a stack of three versions was deleted from the top."""
    server.step("deleted stack", lambda: delete_stack(server.client()))
    return server.client()


def delete_stack(client):
    push(client, "lora", "team/chat", "team/sft:v1")
    push(client, "lora_v2", "team/more", "team/chat:v1")
    for line in ("more", "chat", "sft"):
        client.versions.delete(f"team/{line}:v1")


@BOTH_DATABASES
def test_the_bytes_of_a_deleted_stack_are_freed(server, deleted_stack):
    planned = plan(server.registry.engine, server.registry.store, grace_s=0).now

    freed = collect.run(server.registry.engine, server.registry.store, grace_s=0)

    with read(server.registry.engine) as conn:
        of_base = sa.select(sa.func.sum(t.packs.c.size_bytes)).where(t.packs.c.scope == "bases")
        assert stored_bytes(server) == conn.execute(of_base).scalar_one()
    assert planned == freed
    assert freed.versions == 3
    assert deleted_stack.storage.fsck(read_data=True).findings == []


@BOTH_DATABASES
def test_what_a_rollback_may_need_keeps_all_that_it_stands_on(server, deleted_stack):
    before = stored_bytes(server)
    pin(server, "team/more")

    freed = collect.run(server.registry.engine, server.registry.store, grace_s=0)

    assert (freed.versions, freed.packs, stored_bytes(server)) == (0, 0, before)
    assert deleted_stack.storage.fsck(read_data=True).findings == []


def test_collection_keeps_what_a_stack_needs(local, chatting, tmp_path):
    freed = chatting.storage.collect(dry_run=False, grace_s=0)
    local.client(("read",)).materialize("team/chat:v1", tmp_path / "merged")

    assert freed.packs == 0


def test_a_revoked_version_is_the_base_of_nothing_more(local, chatting):
    local.verified("team/chat:v1")
    chatting.promote("team/chat:v1", "dev")
    chatting.versions.revoke("team/sft:v1", reason="wrong data")

    with pytest.raises(Blocked, match="team/sft:v1 is revoked"):
        push(chatting, "lora_v2", "team/chat", "team/sft:v1")
    with pytest.raises(Blocked, match="team/chat:v1 stands on team/sft:v1, which was"):
        push(chatting, "lora_v2", "team/more", "team/chat:v1")
    with pytest.raises(Blocked, match="stands on team/sft:v1, which was revoked by"):
        chatting.promote("team/chat:v1", "prod")

    assert [u.rule for u in chatting.gate("team/chat:v1", "prod").unmet] == ["revoked"]


def test_a_fold_with_other_last_bits_gives_way_to_the_one_that_is_stored(local, tmp_path):
    first, second = local.client(), local.client(principal="bob")
    push(first, "lora", "team/tuned", "tinyllama")
    ground, version = folded(second)
    other = bent(second, ground, tmp_path / "other", "model.layers.0.self_attn.q_proj.weight")
    store_version_base(second._context, version, other)

    chat = push(first, "lora_qv", "team/chat", "team/tuned:v1")

    assert chat.base.root == str(other.identity.root) != str(ground.view.root)
    ground.close()
    other.folder.close()


@pytest.mark.parametrize(
    ("delta", "tensor"),
    [("lora", "model.norm.weight"), ("full", "model.layers.0.self_attn.q_proj.weight")],
    ids=["a weight that the delta does not touch", "a stored value"],
)
def test_a_claim_that_contradicts_the_version_is_refused(local, tmp_path, delta, tensor):
    client = local.client()
    push(client, delta, "team/tuned", "tinyllama")
    ground, version = folded(client)
    other = bent(client, ground, tmp_path / "other", tensor)

    with pytest.raises(Refused, match=f"base_mismatch: the folded version: tensor {tensor}"):
        store_version_base(client._context, version, other)

    ground.close()
    other.folder.close()
    assert [base.name for base in client.bases.list().items] == ["tinyllama"]


def test_versions_on_a_version_are_merged_and_stand_on_it_too(chatting):
    push(chatting, "lora_v2", "team/chat", "team/sft:v1")
    both = [("team/chat:v1", 0.5), ("team/chat:v2", 0.5)]

    merged = chatting.merge(both, "team/merged", options=MergeOptions(method="linear"))

    assert merged.pushed.version.base.name == "team/sft:v1"


def test_a_line_may_stand_on_its_own_earlier_version(local):
    client = local.client()

    version = push(client, "lora", "team/sft", "team/sft:v1")

    assert (version.ref, version.base.name) == ("team/sft:v2", "team/sft:v1")
    with pytest.raises(Conflict, match="is the base of team/sft:v2"):
        client.versions.delete("team/sft:v1")


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"target": "team/sft/more"}, 422),
        ({"target": "team/sft:v01"}, 422),
        ({"target": "host/team/sft:v1"}, 422),
        ({"target": "team/sft@prod"}, 422),
        ({"target": "team/sft:v1", "register_only": True}, 422),
        ({"target": "team/sft:v9"}, 404),
        ({"target": "team/sft:v1"}, 200),
    ],
)
def test_an_upload_names_the_version_that_it_is_by_its_number(local, more, status):
    client = local.client()
    with open_base(DELTAS / "full", client.cache) as base:
        manifest = base.manifest.encode().decode()
    http = local.http(local.token("push"))

    answer = http.post("/uploads", json={"subject": "base", "manifest": manifest, **more})

    assert answer.status_code == status


@BOTH_DATABASES
@pytest.mark.parametrize("principals", [("ada", "ada"), ("ada", "bob")])
def test_two_pushes_make_one_base(server, principals):
    clients = [server.client(principal=name) for name in principals]
    deltas, made, together = ["lora", "lora_v2"], [], threading.Barrier(2)

    def run(client, delta):
        together.wait()
        made.append(push(client, delta, f"team/{delta.replace('_', '-')}", "team/sft:v1"))

    threads = [threading.Thread(target=run, args=pair) for pair in zip(clients, deltas, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {version.base.name for version in made} == {"team/sft:v1"}
    assert len(made) == 2
    assert clients[0].bases.show("team/sft:v1").deltas == 2
    assert clients[0].storage.fsck(read_data=True).findings == []


@BOTH_DATABASES
def test_a_push_and_the_deletion_of_its_base_do_not_both_win(server):
    client = server.client()
    push(client, "lora", "team/chat", "team/sft:v1")
    client.versions.delete("team/chat:v1")
    together, ended = threading.Barrier(2), []

    def run(action):
        together.wait()
        try:
            ended.append(action())
        except (Blocked, Conflict, NotFound, Refused) as error:
            ended.append(error)

    actions = [
        lambda: push(server.client(principal="bob"), "lora_v2", "team/chat", "team/sft:v1"),
        lambda: client.versions.delete("team/sft:v1"),
    ]
    threads = [threading.Thread(target=run, args=[action]) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(ended) == 2
    assert sum(isinstance(end, Exception) for end in ended) == 1


def folded(client):
    """Fold team/tuned:v1 without storing it; give the base and the version."""
    ground = find_push_base(client._context, "team/tuned:v1")
    assert ground.version is not None
    return ground.base, ground.version


def bent(client, known, folder, tensor):
    """Copy a folded base and change the last bit of one value."""
    shutil.copytree(known.folder.path, folder)
    opened = open_base(folder, client.cache)
    path, header = next(
        (path, header) for path, header in opened.folder.files.headers.items() if tensor in header.tensors
    )
    opened.folder.close()
    raw = bytearray((folder / path).read_bytes())
    raw[header.size_bytes + header.tensors[tensor].begin] ^= 1
    (folder / path).write_bytes(raw)
    return open_base(folder, client.cache)


def change(server, line, **values):
    """Set fields of a line's first version, as another release or a command to come would."""
    namespace, _, name = line.partition("/")
    own = (
        sa.select(t.deltas.c.id)
        .join(t.namespaces, t.namespaces.c.id == t.deltas.c.namespace_id)
        .where(t.namespaces.c.name == namespace, t.deltas.c.name == name)
    )
    with write(server.registry.engine) as conn:
        conn.execute(
            sa.update(t.versions)
            .where(t.versions.c.delta_id == own.scalar_subquery(), t.versions.c.number == 1)
            .values(**values)
        )


def pin(server, line):
    """Let a channel serve a line's first version, deleted or not."""
    with write(server.registry.engine) as conn:
        query = (
            sa.select(t.versions.c.id, t.versions.c.delta_id)
            .join(t.deltas, t.deltas.c.id == t.versions.c.delta_id)
            .where(t.deltas.c.name == line.partition("/")[2])
        )
        version = conn.execute(query).one()
        channel = conn.execute(
            sa.select(t.channels.c.id).where(t.channels.c.delta_id == version.delta_id).limit(1)
        ).scalar_one()
        actor = conn.execute(sa.select(t.principals.c.id).limit(1)).scalar_one()
        with rows.unguarded(conn, t.revisions):
            conn.execute(
                sa.insert(t.revisions).values(
                    channel_id=channel,
                    number=1,
                    kind="promote",
                    version_id=version.id,
                    digest="",
                    base_root="",
                    actor_id=actor,
                    reason="",
                    verdict_ids=[],
                    break_glass=False,
                )
            )


def stored_bytes(server):
    """Sum up what is in the store."""
    return sum(size for _, size in server.registry.store.keys("blobs/"))
