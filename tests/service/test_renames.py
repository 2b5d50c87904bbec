"""Names change: of lines, channels and namespaces. What was called by the former name goes on."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import read
from deltareg.db.storage import uploads
from deltareg.errors import Blocked, Conflict, DeltaregError, Forbidden, NotFound
from deltareg.refs import LineRef
from deltareg.service.names.moving import copy_shared
from deltareg.service.upkeep.counts import wrong_counts
from deltareg.wire import TokenCreate, request_of
from tests.cli.steps import BASES, DELTAS
from tests.pages.conftest import browser
from tests.proving import prove_all, prover_of
from tests.service.test_fleet import report, serving
from tests.trail.logs import ADMIN, SERVER, check, seal_all

V1 = "team/lora:v1"


@pytest.fixture
def line(registry_server):
    """Push a version and promote it."""
    return registry_server.line("lora")


@pytest.fixture
def admin(registry_server):
    """Return who owns all namespaces."""
    return registry_server._client(registry_server.admin_token, ("admin",), "admin", "pat")


def member(registry_server, admin, name, *scopes):
    """Return the client of somebody who holds no role yet."""
    made = admin.tokens.create(request_of(TokenCreate, principal=name, scopes=list(scopes), everywhere=False))
    return registry_server._client(made.token, scopes, name, "pat")


def push(client, to, delta="lora_v2", **options):
    return client.versions.push(DELTAS / delta, to, base="tinyllama", golden=False, **options).version.ref


def test_a_former_name_leads_on_wherever_it_is_written(line, admin, tmp_path):
    before = line.show(V1)

    changed = admin.lines.rename("team/lora", "team/style")

    assert (changed.name, changed.before) == ("team/style", "team/lora")
    for ref in ("team/lora", "team/lora:v1", "team/lora@prod", f"team/lora@{before.digest}", "team/lora@prod#1"):
        assert line.show(ref).ref == "team/style:v1", ref
    assert line.pull("team/lora@prod", tmp_path / "pulled").ref == "team/style:v1"
    assert line.channels.show("team/lora", "prod").ref == "team/style:v1"
    assert [each.ref for each in line.lines.log("team/lora").items][:2] == ["team/style", "team/style:v1"]
    assert push(line, "team/lora") == "team/style:v2"
    assert line.versions.label("team/lora:v1", {"a": "b"}).ref == "team/style:v1"
    assert line.channels.promote(V1, "dev").version == 1
    assert [each.ref for each in line.lines.list().items] == ["team/style"]
    assert [hit.ref for hit in line.versions.search("style").items] == ["team/style:v2", "team/style:v1"]
    assert line.versions.search(within="team/lora").items


def test_the_trail_holds_over_a_rename(line, admin, registry_server):
    admin.lines.rename("team/lora", "team/style")
    admin.channels.rename("team/style", "prod", "live")
    admin.namespaces.rename("team", "crew")

    registry = replace(registry_server.registry, signer=SERVER)
    seal_all(registry)
    findings = [each.text for each in check(registry).findings]
    assert [text for text in findings if not text.startswith("key/")] == [], "keys are enrolled past the log here"
    assert line.show("crew/style@live").ref == "crew/style:v1"
    assert line.show("team/lora@prod").ref == "crew/style:v1"
    assert line.show("team/lora").ref == "crew/style:v1"


def test_a_former_name_is_taken_again_only_when_it_was_let_go(line, admin):
    admin.lines.rename("team/lora", "team/style")
    push(line, "team/other")

    with pytest.raises(Conflict, match="team/lora is a former name, and leads on to team/style"):
        admin.lines.rename("team/other", "team/lora")
    with pytest.raises(Conflict, match="team/style is a line already"):
        admin.lines.rename("team/other", "team/style")
    with pytest.raises(NotFound):
        admin.lines.free("team/other")
    admin.lines.free("team/lora")
    with pytest.raises(NotFound):
        line.show(V1)
    assert admin.lines.rename("team/other", "team/lora").name == "team/lora"
    assert line.show("team/other").ref == "team/lora:v1"


def test_a_line_gets_its_name_back(line, admin):
    admin.lines.rename("team/lora", "team/style")
    admin.lines.rename("team/style", "team/lora")

    assert line.show("team/style:v1").ref == V1
    assert line.show(V1).ref == V1


def keys_of(registry, scope):
    with read(registry.engine) as conn:
        query = sa.select(t.packs.c.physical_key).where(t.packs.c.scope == scope)
        return set(conn.execute(query).scalars())


def share(line, registry_server):
    """Let two lines of a namespace need the same pack; gives the names of both."""
    prove_all(prover_of(registry_server))
    push(line, "team/near", "lora")
    push(line, "team/lora", "lora_v2")


def test_a_line_moves_with_its_bytes_and_leaves_others_theirs(line, admin, registry_server, tmp_path):
    share(line, registry_server)
    admin.namespaces.create("crew")
    registry = registry_server.registry
    before = keys_of(registry, "ns:team")

    admin.lines.rename("team/lora", "crew/style")

    moved = keys_of(registry, "ns:crew")
    assert moved - before, "what both need is copied"
    assert keys_of(registry, "ns:team") < before | moved
    assert push(line, "team/lora", "lora") == "crew/style:v1"
    assert admin.storage.collect(dry_run=False, grace_s=0)
    for ref in ("crew/style:v1", "crew/style:v2", "team/near:v1", "team/lora:v2"):
        line.pull(ref, tmp_path / ref.replace("/", "-").replace(":", "-"))
    assert prove_all(prover_of(registry_server)) == [] or line.show("crew/style:v1").proof != "corrupt"


def test_a_line_that_moves_to_where_its_bytes_are_keeps_its_measures(line, admin, registry_server):
    ours = {push(line, f"{namespace}/equal") for namespace in ("team", "crew")}
    alone = admin.storage.stats("team/equal").total

    admin.lines.rename("team/equal", "crew/again")
    moved = admin.storage.stats("crew/again").total

    assert ours == {"team/equal:v1", "crew/equal:v1"}
    # It was pushed first, so that what both need counts for it.
    assert (moved.logical_bytes, moved.pack_bytes) == (alone.logical_bytes, alone.pack_bytes)
    assert admin.storage.stats("crew/equal").total.pack_bytes == 0
    assert [one for one in wrong_counts(registry_server.registry.engine) if "storage" in one.detail] == []


def test_copies_of_a_move_that_was_killed_are_collected(line, admin, registry_server):
    share(line, registry_server)
    admin.namespaces.create("crew")
    registry = registry_server.registry
    with read(registry.engine) as conn:
        somebody = conn.execute(sa.select(t.principals.c.id).limit(1)).scalar_one()
    mover = replace(ADMIN, principal_id=somebody)

    copies = copy_shared(registry, mover, LineRef("team", "lora"), LineRef("crew", "style"))

    with read(registry.engine) as conn:
        received = uploads.received_packs(conn, copies)
    assert received
    assert all(registry.store.size(pack.physical_key) == pack.size_bytes for pack in received)
    admin.storage.collect(dry_run=False, grace_s=0)
    admin.storage.collect(dry_run=False, grace_s=0)
    assert all(registry.store.size(pack.physical_key) is None for pack in received)
    assert admin.lines.rename("team/lora", "crew/style").name == "crew/style"


def test_a_namespace_keeps_its_members_tokens_and_bytes(line, admin, registry_server, tmp_path):
    admin.bases.push(BASES / "tinyllama", "team/own")

    assert admin.namespaces.rename("team", "crew").name == "crew"

    assert line.show(V1).ref == "crew/lora:v1"
    assert line.bases.show("team/own").name == "crew/own"
    assert line.pull("crew/lora:v1", tmp_path / "pulled").ref == "crew/lora:v1"
    assert push(line, "team/lora") == "crew/lora:v2"
    assert push(line, "crew/new", "lora") == "crew/new:v1"
    with pytest.raises(Conflict, match="taken"):
        admin.namespaces.create("team")
    assert admin.namespaces.rename("crew", "team").name == "team"
    assert line.show(V1).ref == V1


def test_roles_on_one_line_or_channel_stay_with_it(line, admin, registry_server):
    admin.namespaces.change("team", visibility="private")
    reader = member(registry_server, admin, "rita", "read")
    with pytest.raises(NotFound):
        reader.show(V1)
    admin.members.add("rita", "reader", namespace="team", pattern="lora")
    assert reader.show(V1).ref == V1

    admin.lines.rename("team/lora", "team/style")

    assert reader.show("team/style:v1").ref == "team/style:v1"
    assert reader.show(V1).ref == "team/style:v1"


def test_of_two_renames_at_once_one_wins_and_nothing_is_lost(line, admin):
    push(line, "team/other")

    def rename(pair):
        try:
            return admin.lines.rename(*pair).name
        except DeltaregError:
            return None

    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(rename, [("team/lora", "team/x"), ("team/other", "team/x"), ("team/lora", "team/y")]))

    names = {each.ref for each in line.lines.list().items}
    assert names in ({"team/x", "team/other"}, {"team/x", "team/y"}, {"team/y", "team/other"})
    assert [one for one in done if one]
    assert {line.show(f"{name}:v1").ref for name in names} == {f"{name}:v1" for name in names}


def test_a_push_during_a_rename_lands_in_the_line_that_there_is(line, admin):
    def push_it(delta):
        try:
            return push(line, "team/lora", delta)
        except DeltaregError as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        pushed = pool.submit(push_it, "lora_v2")
        admin.lines.rename("team/lora", "team/style")
        ref = pushed.result()

    assert isinstance(ref, DeltaregError) or line.show(ref).ref == "team/style:v2"
    assert [each.ref for each in line.lines.list().items] == ["team/style"]


def test_who_does_not_own_both_namespaces_moves_nothing(line, admin, registry_server):
    olga = member(registry_server, admin, "olga", "read", "push", "promote", "admin")
    admin.namespaces.create("crew")
    admin.members.add("olga", "owner", namespace="team")

    with pytest.raises(Forbidden):
        olga.lines.rename("team/lora", "crew/lora")
    admin.members.add("olga", "maintainer", namespace="crew")
    with pytest.raises(Forbidden):
        olga.lines.rename("team/lora", "crew/lora")
    assert line.show(V1).ref == V1

    admin.members.add("olga", "owner", namespace="crew")
    assert olga.lines.rename("team/lora", "crew/lora").name == "crew/lora"


def test_a_line_is_deleted_and_comes_back(line, admin, tmp_path):
    push(line, "team/spare", "lora")
    push(line, "team/spare", "lora_v2")
    admin.versions.delete("team/spare:v1")

    with pytest.raises(Conflict, match="is what prod serves"):
        admin.lines.delete("team/lora")
    assert admin.lines.delete("team/spare", dry_run=True).versions == [2]
    assert admin.lines.delete("team/spare").versions == [2]
    assert [each.ref for each in line.lines.list().items] == ["team/lora"]
    with pytest.raises(Blocked, match="deleted"):
        line.lines.log("team/spare")
    assert admin.lines.restore("team/spare").versions == [2]
    assert line.pull("team/spare:v2", tmp_path / "back").ref == "team/spare:v2"
    assert line.show("team/spare:v1").is_deleted, "it was deleted by itself before"
    admin.lines.delete("team/spare")
    assert push(line, "team/spare", "lora") == "team/spare:v3"


def test_a_channel_goes_with_its_name_and_comes_back_with_its_ledger(line, admin):
    before = line.channels.show("team/lora", "prod")

    assert admin.channels.delete("team/lora", "prod", dry_run=True).version == 1
    admin.channels.delete("team/lora", "prod")

    assert "prod" not in [each.channel for each in line.channels.list("team/lora").items]
    assert line.show(V1).channels == []
    with pytest.raises(NotFound, match="no channel 'prod'"):
        line.show("team/lora@prod")
    assert admin.lines.delete("team/lora").versions == [1]
    admin.lines.restore("team/lora")
    assert line.channels.create("team/lora", "prod").version == 1
    assert line.channels.show("team/lora", "prod").revision == before.revision
    assert line.show("team/lora@prod").ref == V1


def test_agents_locks_and_pulled_folders_go_on_by_the_former_name(line, admin, registry_server, tmp_path):
    host = registry_server.client(("read", "serve"), principal="host")
    lock = tmp_path / "delta.lock"
    line.folders.lock(lock, add=[("team/lora@prod", tmp_path / "locked")])
    line.pull(V1, tmp_path / "pulled")
    observed = serving(line)

    admin.lines.rename("team/lora", "team/style")
    admin.channels.rename("team/style", "prod", "live")
    report(host, observed)

    assert [(one.channel, one.drift) for one in line.fleet.list().items] == [("team/style@live", "none")]
    assert line.folders.sync(lock).folders[0].step == "fetched"
    assert push(line, "team/lora") == "team/style:v2"
    assert line.folders.update(tmp_path / "pulled", "team/lora:v2").ref == "team/style:v2"
    [folder] = line.folders.list_outdated(tmp_path / "pulled", channel="live").folders
    assert folder.served == "team/style:v1"
    with pytest.raises(Conflict, match="is followed by host-1"):
        admin.channels.delete("team/style", "live")


def test_a_link_with_a_former_name_leads_to_the_page(line, admin, registry_server):
    admin.lines.rename("team/lora", "team/style")
    admin.channels.rename("team/style", "prod", "live")

    with browser(registry_server, registry_server.admin_token) as pages:
        version = pages.get("/ui/deltas/team/lora/v1?x=1", follow_redirects=False)
        channel = pages.get("/ui/deltas/team/lora/channels/prod", follow_redirects=False)
        shown = pages.get("/ui/deltas/team/lora", follow_redirects=True)

    assert version.headers["location"].endswith("/ui/deltas/team/style/v1?x=1")
    assert channel.headers["location"].endswith("/ui/deltas/team/style/channels/live")
    assert shown.status_code == 200
    assert "team/style" in shown.text
