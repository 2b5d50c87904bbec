"""What counts against quotas is what a plain account says, whatever happens in which order."""

import itertools
import uuid
from collections import Counter
from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

from deltareg.db import tables as t
from deltareg.db.lines import deltas, line_counts, versions
from deltareg.db.quotas.recount import recount
from deltareg.db.quotas.rows import UsageRow
from deltareg.db.quotas.usage import COUNTS, usage_rows
from deltareg.db.session import read, write
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.row_protocols import present
from deltareg.db.storage import uploads
from deltareg.digest import sha256_of
from deltareg.refs import LineRef
from deltareg.service.hub.drafts import begin_draft
from deltareg.service.names.deleting import delete_line
from deltareg.service.names.lines import rename_line
from deltareg.service.names.namespaces import rename_namespace
from deltareg.service.push.restore import restore_line
from deltareg.service.push.staging import let_go, stage
from deltareg.service.registry import Registry
from deltareg.service.upkeep import collect
from deltareg.store import fresh_key
from deltareg.store.memory import MemoryStore
from deltareg.wire import Rename
from tests.service import rows

CONTENTS = [bytes([65 + number]) * (10 + number) for number in range(5)]
some = st.sets(st.sampled_from(CONTENTS), min_size=1, max_size=3).map(sorted)
places = st.sampled_from(["a", "b"])
names = st.sampled_from(["x", "y"])
_runs = itertools.count()


@dataclass
class Line:
    """A line of the account."""

    ns: str
    name: str
    maker: int
    is_deleted: bool = False


@dataclass
class Version:
    """A version of the account: what it needs, until it is released."""

    row: int
    line: Line
    maker: int
    contents: tuple[bytes, ...]
    state: str = "live"  # then deleted, with its line or alone, then released


@dataclass
class Account:
    """All that a plain account has to know."""

    packs: dict[tuple[str, bytes], int] = field(default_factory=dict)
    uploads: dict[str, tuple[str, int, int]] = field(default_factory=dict)  # where, by whom, bytes
    lines: list[Line] = field(default_factory=list)
    versions: list[Version] = field(default_factory=list)
    staged: dict[tuple[str, str, int], int] = field(default_factory=dict)  # where, digest, by whom
    drafts: set[tuple[str, int]] = field(default_factory=set)

    def counts(self):
        """Add everything up, by holder."""
        found: dict[str, Counter] = {}
        for ns, who, amounts in [*self.stored(), *self.numbered()]:
            for holder in (f"ns:{ns}", f"by:{who}"):
                found.setdefault(holder, Counter()).update(amounts)
        return {holder: UsageRow(holder, **counts) for holder, counts in found.items()}

    def stored(self):
        """Give what lies in the store: where, by whom, how much."""
        yield from ((ns, payer, {"bytes": len(content)}) for (ns, content), payer in self.packs.items())
        yield from ((ns, who, {"bytes": size, "uploads": 1}) for ns, who, size in self.uploads.values())
        yield from ((ns, who, {"bytes": size}) for (ns, _, who), size in self.staged.items())

    def numbered(self):
        """Give what counts by number."""
        yield from ((each.ns, each.maker, {"lines": 1}) for each in self.lines if not each.is_deleted)
        yield from ((v.line.ns, v.maker, {"versions": 1}) for v in self.versions if v.state == "live")
        yield from ((name.partition("/")[0], who, {"drafts": 1}) for name, who in self.drafts)


class Pushes(RuleBasedStateMachine):
    """Pushes and all that undoes them, on a registry and in an account."""

    engine: sa.Engine
    store: MemoryStore
    live, opened = Bundle("live"), Bundle("opened")

    def __init__(self):
        super().__init__()
        self.run = f"r{next(_runs)}"
        self.people = [rows.caller(self.engine, f"{self.run}-{name}") for name in ("ana", "bo")]
        self.registry = Registry(self.engine, self.store)
        self.account = Account()
        self.now = {"a": f"{self.run}-a", "b": f"{self.run}-b"}

    def line(self, place, name, who):
        """Find a line, or make it; one that is deleted comes back, as a push brings it."""
        ns, maker = self.now[place], who.principal_id
        with write(self.engine) as conn:
            namespace = deltas.add_namespace(conn, ns, created_by=maker).id
            for known in self.account.lines:
                if (known.ns, known.name) == (ns, name):
                    row = present(deltas.delta_row(conn, ns, name))
                    deltas.set_deleted(conn, row.id, None)
                    known.is_deleted = False
                    return known, row.id
            deltas.add_delta(conn, namespace, name, created_by=maker)
            self.account.lines.append(Line(ns, name, maker))
            return self.account.lines[-1], present(deltas.delta_row(conn, ns, name)).id

    def open_upload(self, place, who, contents, *, received):
        upload, ns = str(uuid.uuid4()), self.now[place]
        with write(self.engine) as conn:
            uploads.add_upload(
                conn,
                upload_id=upload,
                principal_id=who.principal_id,
                scope=f"ns:{ns}",
                subject="delta",
                target=f"{ns}/x",
                manifest_digest="sha256:m",
                manifest=b"{}",
                request={},
            )
        sent = [self.send(upload, content, is_received=received) for content in contents]
        self.account.uploads[upload] = (ns, who.principal_id, sum(map(len, contents)))
        return upload, sent

    def send(self, upload, content, *, is_received):
        key = fresh_key(sha256_of(content), attempt=uuid.uuid4())
        with write(self.engine) as conn:
            row = uploads.add_upload_pack(conn, upload, number=0, physical_key=key, size_bytes=len(content))
        if is_received:
            self.store.write(key, [content])
            with write(self.engine) as conn:
                digest = str(sha256_of(content))
                uploads.receive_upload_pack(conn, row, digest=digest, size_bytes=len(content))
        return rows.Sent(content, key, row)

    @rule(target=live, place=places, name=names, who=st.sampled_from([0, 1]), contents=some)
    def push(self, place, name, who, contents):
        by = self.people[who]
        line, delta = self.line(place, name, by)
        upload, sent = self.open_upload(place, by, contents, received=True)
        with write(self.engine) as conn:
            ids = [rows.adopt(conn, s, scope=f"ns:{line.ns}") for s in sorted(sent, key=lambda one: one.digest)]
            row = rows.add_version(conn, delta, pack_ids=ids, created_by=by.principal_id)
            uploads.close_upload(conn, upload, state="complete", version_id=row)
        del self.account.uploads[upload]
        for content in contents:
            self.account.packs.setdefault((line.ns, content), by.principal_id)
        self.account.versions.append(Version(row, line, by.principal_id, tuple(contents)))
        return self.account.versions[-1]

    @rule(target=opened, place=places, who=st.sampled_from([0, 1]), contents=some, received=st.booleans())
    def begin(self, place, who, contents, received):
        return self.open_upload(place, self.people[who], contents, received=received)[0]

    @rule(upload=consumes(opened), state=st.sampled_from(["aborted", "complete"]))
    def end(self, upload, state):
        with write(self.engine) as conn:
            uploads.close_upload(conn, upload, state=state)
        self.account.uploads.pop(upload, None)

    @rule(version=live)
    def delete(self, version):
        if version.state == "live":
            rows.delete(self.engine, version.row)
            version.state = "deleted"

    @rule(version=live)
    def restore(self, version):
        if version.state == "deleted" and not version.line.is_deleted:
            with write(self.engine) as conn:
                versions.restore_version(conn, version.row)
            version.state = "live"

    @rule(place=places, name=names, is_back=st.booleans())
    def delete_all(self, place, name, is_back):
        line = next((ln for ln in self.account.lines if (ln.ns, ln.name) == (self.now[place], name)), None)
        if line is None or line.is_deleted:
            return
        own = [v for v in self.account.versions if v.line is line and v.state == "live"]
        ref = LineRef(line.ns, line.name)
        delete_line(self.registry, self.people[0], ref)
        line.is_deleted = True
        for version in own:
            version.state = "deleted"
        if is_back:
            restore_line(self.registry, self.people[0], ref)
            line.is_deleted = False
            for version in own:
                version.state = "live"

    @rule(place=places, name=names, who=st.sampled_from([0, 1]), content=st.sampled_from(CONTENTS))
    def stage_file(self, place, name, who, content):
        digest, by = sha256_of(content).hex, self.people[who].principal_id
        line = f"{self.now[place]}/{name}"
        if (line.partition("/")[0], f"{name}{digest}", by) not in self.account.staged:
            stage(self.registry, line, by, sha256=digest, size_bytes=len(content), body=[content])
            self.account.staged[self.now[place], f"{name}{digest}", by] = len(content)

    @rule(place=places, name=names, who=st.sampled_from([0, 1]), content=st.sampled_from(CONTENTS))
    def let_files_go(self, place, name, who, content):
        by, digest = self.people[who], sha256_of(content).hex
        let_go(self.registry, f"{self.now[place]}/{name}", by, [digest])
        self.account.staged.pop((self.now[place], f"{name}{digest}", by.principal_id), None)

    @rule(place=places, who=st.sampled_from([0, 1]))
    def draft(self, place, who):
        by = self.people[who]
        begin_draft(self.registry, by, LineRef(self.now[place], "new"))
        self.account.drafts.add((f"{self.now[place]}/new", by.principal_id))

    @rule(place=places)
    def rename(self, place):
        before, after = self.now[place], f"{self.run}-{place}{next(_runs)}"
        with write(self.engine) as conn:
            deltas.add_namespace(conn, before, created_by=self.people[0].principal_id)
        rename_namespace(self.registry, self.people[0], before, Rename(to=after))
        self.now[place] = after
        account = self.account
        account.packs = {(after if ns == before else ns, c): who for (ns, c), who in account.packs.items()}
        account.uploads = {
            key: (after if ns == before else ns, who, size) for key, (ns, who, size) in account.uploads.items()
        }
        account.staged = {
            (after if ns == before else ns, digest, who): size for (ns, digest, who), size in account.staged.items()
        }
        account.drafts = {(name.replace(f"{before}/", f"{after}/"), who) for name, who in account.drafts}
        for line in account.lines:
            line.ns = after if line.ns == before else line.ns

    @rule(place=places, name=names)
    def move(self, place, name):
        source, target = self.now[place], self.now["b" if place == "a" else "a"]
        line = next((ln for ln in self.account.lines if (ln.ns, ln.name) == (source, name)), None)
        taken = any((ln.ns, ln.name) == (target, name) for ln in self.account.lines)
        if line is None or line.is_deleted or taken:
            return
        mover = self.people[0]
        with write(self.engine) as conn:
            deltas.add_namespace(conn, target, created_by=mover.principal_id)
        rename_line(self.registry, mover, LineRef(source, name), Rename(to=f"{target}/{name}"))
        self.take_along(line, target, mover.principal_id)

    def take_along(self, line, target, mover):
        account, source = self.account, line.ns
        held = [v for v in account.versions if v.state != "released"]
        own = {c for v in held if v.line is line for c in v.contents}
        shared = {c for v in held if v.line is not line and v.line.ns == source for c in v.contents}
        for content in own:
            if (target, content) in account.packs:
                continue
            payer = account.packs[source, content] if content in shared else account.packs.pop((source, content))
            account.packs[target, content] = mover if content in shared else payer
        ended = [key for key, (ns, *_) in account.uploads.items() if (ns, line.name) == (source, "x")]
        for key in ended:
            del account.uploads[key]
        for staged in [one for one in account.staged if one[0] == source and one[1].startswith(line.name)]:
            size, there = account.staged.pop(staged), (target, *staged[1:])
            account.staged[there] = account.staged.get(there, 0) + size
        line.ns = target

    @rule()
    def collected(self):
        collect.run(self.engine, self.store, grace_s=0)
        account = self.account
        account.uploads.clear()
        account.staged.clear()
        account.drafts.clear()
        for version in account.versions:
            version.state = "released" if version.state == "deleted" else version.state
        needed = {(v.line.ns, c) for v in account.versions if v.state != "released" for c in v.contents}
        account.packs = {key: who for key, who in account.packs.items() if key in needed}

    @invariant()
    def counts_are_those_of_the_account(self):
        expected = self.account.counts()
        own = {f"ns:{ns}" for ns in self.now.values()} | {f"by:{one.principal_id}" for one in self.people}
        with read(self.engine) as conn:
            kept, again = usage_rows(conn, own), recount(conn)
            of_lines = line_counts.kept_counts(conn), line_counts.recount(conn)
        assert of_lines[0] == of_lines[1]
        assert {h: row for h, row in kept.items() if row != UsageRow(h)} == expected
        assert {h: row for h, row in again.items() if h in own} == expected


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("examples", [3, pytest.param(300, marks=pytest.mark.soak)])
def test_counts_are_those_of_a_plain_account(engine, examples):
    rows.base(engine)
    count = settings(max_examples=examples, stateful_step_count=20, deadline=None, derandomize=examples < 100)
    machine = type("Machine", (Pushes,), {"engine": engine, "store": MemoryStore()})
    run_state_machine_as_test(machine, settings=count)


def test_the_account_itself_sees_a_trigger_that_is_missing(engine):
    rows.base(engine)
    store, maker = MemoryStore(), rows.caller(engine)
    delta = rows.line(engine, maker=maker)
    rows.push(engine, store, maker, delta, b"counted")
    with write(engine) as conn, rows.unguarded(conn, t.versions):
        conn.execute(sa.update(t.versions).values(deleted_at=now_us()))

    with read(engine) as conn:
        kept, again = usage_rows(conn)["ns:lab"], recount(conn)["ns:lab"]

    assert (kept.versions, again.versions) == (1, 0)
    assert all(getattr(kept, name) == getattr(again, name) for name in COUNTS if name != "versions")
