"""Logs that somebody changed: lines of an export, and rows of a database by its owner.

Each change is found, and where it is one of a row that stands, that row is named. A few of each
kind run always, hundreds in the soak.
"""

import copy
import random
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import as_writer, write
from deltareg.errors import BadSignature, InvalidInput
from deltareg.service.registry import Registry
from deltareg.service.trail.keep import CheckpointStores
from deltareg.service.trail.leaves import leaf_of_row
from deltareg.service.trail.seal import seal_some
from deltareg.signing.keys import SigningKey
from deltareg.store.memory import MemoryStore
from deltareg.trail.check import LogEvidence
from deltareg.trail.checkpoint import Checkpoint, open_checkpoint
from deltareg.trail.leaves import hash_of
from deltareg.trail.lines import check_lines
from deltareg.trail.log_copy import KeptLog
from deltareg.trail.merkle import Frontier
from tests.fixtures.databases import BOTH, database, opened
from tests.trail.logs import KEYS, SERVER, check, fill, lines_of, seal_all

BATCHES = (150, 120, 30)
ROWS = sum(BATCHES)
TABLES = (t.audit, t.outbox, t.unsealed, t.log_origins, t.log_checkpoints, t.log_leaves, t.log_nodes, t.log_statements)
SOAK = [pytest.mark.soak, pytest.mark.slow, pytest.mark.timeout(900)]
OTHER = SigningKey.of_seed(b"\7" * 32)


def sealed_registry(engine, folder):
    """Make a log of three batches and two rows that wait; gives what is kept of it in a file."""
    registry = Registry(engine, MemoryStore(), signer=SERVER)
    file = folder / "kept.jsonl"
    places = CheckpointStores(file=file)
    for number in (BATCHES[0] - 1, *BATCHES[1:]):  # the log begins with a row of its own
        fill(registry, number)
        seal_all(registry, tell=places.keep)
    fill(registry, 2)
    return registry, file.read_text()


@pytest.fixture(scope="module")
def lines(sqlite_template, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lines")
    (folder / "registry.db").write_bytes(sqlite_template.read_bytes())
    for engine in opened(f"sqlite:///{folder / 'registry.db'}"):
        registry, _ = sealed_registry(engine, folder)
        yield lines_of(registry)


def seen(lines):
    """What a client remembers: the last checkpoint."""
    note = [line["checkpoint"] for line in lines if "checkpoint" in line][-1]
    return LogEvidence([("what this machine saw", open_checkpoint(note, KEYS).checkpoint)])


# Changes of lines: each gives the lines and the row that has to be named, if it is one.


def _rows(lines):
    return [at for at, line in enumerate(lines) if "position" in line]


def change_a_field(draw, lines):
    at = draw.choice(_rows(lines))
    leaf = lines[at]["leaf"]
    name = draw.choice([*leaf, "more"])
    leaf[name] = {"changed": draw.random()}
    return lines[at]["row"]


def take_a_field(draw, lines):
    at = draw.choice(_rows(lines))
    del lines[at]["leaf"][draw.choice(list(lines[at]["leaf"]))]
    return lines[at]["row"]


def change_a_hash(draw, lines):
    at = draw.choice(_rows(lines))
    lines[at]["hash"] = f"{draw.getrandbits(256):064x}"
    return lines[at]["row"]


def change_a_number(draw, lines):
    at = draw.choice(_rows(lines))
    lines[at][draw.choice(["position", "row", "sealed_by"])] += draw.choice([-1, 1, 150])


def change_a_row_with_its_hash(draw, lines):
    at = draw.choice(_rows(lines))
    lines[at]["leaf"]["actor"] = "eve"
    lines[at]["hash"] = hash_of(lines[at]["leaf"]).hex()


def drop_a_line(draw, lines):
    del lines[draw.choice([at for at, line in enumerate(lines) if "outside" not in line])]


def repeat_a_line(draw, lines):
    at = draw.choice([at for at, line in enumerate(lines) if set(line) & {"position", "checkpoint"}])
    lines.insert(at, lines[at])


def swap_rows(draw, lines):
    one, other = draw.sample(_rows(lines), 2)
    lines[one], lines[other] = lines[other], lines[one]


def swap_rows_with_their_places(draw, lines):
    one, other = draw.sample(_rows(lines), 2)
    for name in ("row", "leaf", "hash", "statement"):
        for a, b in ((lines[one], lines[other]),):
            a[name], b[name] = b.get(name, ""), a.get(name, "")


def change_a_statement(draw, lines):
    at = draw.choice([at for at in _rows(lines) if lines[at].get("statement")])
    text = lines[at]["statement"]
    place = draw.randrange(len(text))
    lines[at]["statement"] = text[:place] + draw.choice("abc{") + text[place + 1 :]
    return lines[at]["row"] if lines[at]["statement"] != text else change_a_statement(draw, lines)


def change_a_checkpoint(draw, lines):
    at = draw.choice([at for at, line in enumerate(lines) if "checkpoint" in line])
    note = lines[at]["checkpoint"]
    place = draw.randrange(len(note))
    lines[at]["checkpoint"] = note[:place] + draw.choice("Zz9\n ") + note[place + 1 :]
    if lines[at]["checkpoint"] == note:
        change_a_checkpoint(draw, lines)


def sign_a_checkpoint_with_another_key(draw, lines):
    at = draw.choice([at for at, line in enumerate(lines) if "checkpoint" in line])
    was = open_checkpoint(lines[at]["checkpoint"], KEYS).checkpoint
    lines[at]["checkpoint"] = Checkpoint(was.origin, was.size, was.root).sign(OTHER)


def change_a_node(draw, lines):
    at = draw.choice([at for at, line in enumerate(lines) if "node" in line])
    lines[at]["node"]["hash"] = f"{draw.getrandbits(256):064x}"


def cut_off_at_a_checkpoint(draw, lines):
    at = [at for at, line in enumerate(lines) if "checkpoint" in line][draw.randrange(2)]
    lines[at + 1 :] = [{"end": True}]


def cut_off_anywhere(draw, lines):
    del lines[draw.randrange(1, len(lines)) :]


def rename_the_log(draw, lines):
    lines[0]["origin"] = "deltareg/another"


def put_a_row_in(draw, lines):
    at = draw.choice(_rows(lines))
    more = copy.deepcopy(lines[at])
    more["leaf"]["id"] = more["row"] = 9_999
    more["hash"] = hash_of(more["leaf"]).hex()
    lines.insert(at, more)


LINE_CHANGES = [
    change_a_field,
    take_a_field,
    change_a_hash,
    change_a_number,
    change_a_row_with_its_hash,
    drop_a_line,
    repeat_a_line,
    swap_rows,
    swap_rows_with_their_places,
    change_a_statement,
    change_a_checkpoint,
    sign_a_checkpoint_with_another_key,
    change_a_node,
    cut_off_at_a_checkpoint,
    cut_off_anywhere,
    rename_the_log,
    put_a_row_in,
]


@pytest.mark.parametrize("times", [1, pytest.param(30, marks=SOAK)])
@pytest.mark.parametrize("change", LINE_CHANGES)
def test_a_changed_export_does_not_hold(lines, change, times):
    known = seen(lines)
    for seed in range(times):
        draw, changed = random.Random(seed), copy.deepcopy(lines)
        row = change(draw, changed)

        try:
            found = check_lines(changed, KEYS, known)
        except InvalidInput:
            continue

        assert found.findings, (change.__name__, seed)
        if row is not None:
            assert found.findings[0].row == row, (change.__name__, seed, found.findings)


@pytest.mark.parametrize("value", [{}, [], None, True, 7.5, "x" * 999, 1 << 400])
def test_an_export_of_odd_values_ends_no_verifier(lines, value):
    """A hostile file is refused or found wrong, and costs neither memory nor a stack trace."""
    for line in (lines[7], next(line for line in lines if "node" in line), lines[0], lines[-1]):
        at = lines.index(line)
        for name in line:
            changed = [*lines[:at], {**line, name: value}, *lines[at + 1 :]]
            _is_seen(changed)
    for name in lines[7]["leaf"]:
        odd = {**lines[7], "leaf": {**lines[7]["leaf"], name: value}}
        assert _is_seen([*lines[:7], odd, *lines[8:]]) or lines[7]["leaf"][name] == value
    node = next(line for line in lines if "node" in line)
    for name in node["node"]:
        odd = {"node": {**node["node"], name: value}}
        changed = [odd if line is node else line for line in lines]
        assert _is_seen(changed) or node["node"][name] == value  # true is one


def _is_seen(changed):
    try:
        return bool(check_lines(changed, KEYS, LogEvidence()).findings)
    except InvalidInput:
        return True


def test_the_export_that_nobody_changed_holds(lines):
    found = check_lines(lines, KEYS, seen(lines))

    assert found.findings == []
    assert (found.size, found.waiting, found.statements) == (ROWS, 2, ROWS // 10 - 1)
    assert sum("node" in line for line in lines) == 1


# Changes of the database, as somebody makes them who owns it: no trigger and no key stops them.


class Owner:
    """Somebody at the database's own prompt, within one transaction."""

    def __init__(self, conn, draw):
        self.conn, self.draw = conn, draw

    def run(self, statement):
        return self.conn.execute(statement)

    def set(self, table, where, **values):
        self.run(sa.update(table).where(where).values(**values))

    def sealed(self):
        return self.draw.randrange(1, ROWS + 1)

    def leaves(self):
        query = sa.select(t.log_leaves).order_by(t.log_leaves.c.position)
        return [dict(row) for row in self.run(query).mappings()]

    def write_leaves(self, leaves):
        """Write the leaves anew from the rows as they are now, with all that is made of them."""
        self.run(sa.delete(t.log_leaves))
        self.run(sa.delete(t.log_nodes))
        rows = {row.id: row for row in self.run(sa.select(t.audit)).all()}
        signed = dict(self.run(sa.select(t.log_statements)).all())
        frontier = Frontier()
        for position, leaf in enumerate(leaves):
            row = rows[leaf["audit_id"]]
            leaf |= {"position": position, "hash": hash_of(leaf_of_row(row, statement=signed.get(row.id, b"")))}
            for level, number, node in frontier.add(leaf["hash"]):
                values = {"level": level, "number": number, "hash": node}
                self.run(sa.insert(t.log_nodes).values(values))
        self.run(sa.insert(t.log_leaves).values(leaves))

    def forget_after(self, size):
        """Take the log back to a checkpoint, with the rows behind it."""
        gone = sa.select(t.log_leaves.c.audit_id).where(t.log_leaves.c.position >= size)
        ids = [row.audit_id for row in self.run(gone)]
        self.run(sa.delete(t.log_leaves).where(t.log_leaves.c.position >= size))
        self.run(sa.delete(t.log_checkpoints).where(t.log_checkpoints.c.size > size))
        self.run(sa.delete(t.log_nodes).where(t.log_nodes.c.number >= size >> 8))
        self.run(sa.delete(t.log_statements).where(t.log_statements.c.audit_id.in_(ids)))
        return ids


def edit_a_row(owner):
    name = owner.draw.choice(["actor", "action", "subject", "request_id", "created_at", "after", "before"])
    value = {"created_at": 1, "after": {"revision": 1}, "before": [1]}.get(name, "edited")
    row = owner.sealed()
    owner.set(t.audit, t.audit.c.id == row, **{name: value})
    return row


def edit_a_row_and_write_the_log_anew(owner):
    row = owner.sealed()
    owner.set(t.audit, t.audit.c.id == row, actor="eve")
    owner.write_leaves(owner.leaves())
    return row


def delete_a_row(owner):
    row = owner.sealed()
    owner.run(sa.delete(t.audit).where(t.audit.c.id == row))
    return row


def delete_a_row_with_its_leaf(owner):
    row = owner.sealed()
    owner.run(sa.delete(t.log_leaves).where(t.log_leaves.c.audit_id == row))
    owner.run(sa.delete(t.audit).where(t.audit.c.id == row))


def delete_a_row_and_write_the_log_anew(owner):
    row = owner.sealed()
    owner.run(sa.delete(t.audit).where(t.audit.c.id == row))
    owner.write_leaves([leaf for leaf in owner.leaves() if leaf["audit_id"] != row])


def delete_a_leaf_alone(owner):
    owner.run(sa.delete(t.log_leaves).where(t.log_leaves.c.audit_id == owner.sealed()))


def put_a_row_beside_the_log(owner):
    owner.run(
        sa.insert(t.audit).values(
            id=owner.draw.choice([-3, 5_000]), actor="eve", action="x", subject="y", request_id=""
        )
    )
    owner.run(sa.delete(t.unsealed).where(t.unsealed.c.audit_id.in_([-3, 5_000])))


def put_a_row_into_the_log(owner):
    owner.run(sa.insert(t.audit).values(id=5_000, actor="eve", action="x", subject="y", request_id=""))
    owner.run(sa.delete(t.unsealed).where(t.unsealed.c.audit_id == 5_000))
    leaves = owner.leaves()
    at = owner.draw.randrange(ROWS)
    leaves.insert(at, {**leaves[at], "audit_id": 5_000})
    owner.write_leaves(leaves)


def put_a_leaf_before_the_log(owner):
    owner.run(sa.insert(t.audit).values(id=5_000, actor="e", action="x", subject="y", request_id=""))
    owner.run(sa.delete(t.unsealed).where(t.unsealed.c.audit_id == 5_000))
    owner.run(sa.insert(t.log_leaves).values(position=-7, audit_id=5_000, hash=b"\0" * 32, sealed_by=ROWS))


def swap_two_rows(owner):
    one, other = owner.draw.sample(range(1, ROWS + 1), 2)
    for old, new in ((one, 7_000), (other, one), (7_000, other)):
        owner.set(t.audit, t.audit.c.id == old, id=new)


def move_a_row_and_write_the_log_anew(owner):
    leaves = owner.leaves()
    leaves.insert(owner.draw.randrange(10), leaves.pop(owner.draw.randrange(20, ROWS)))
    owner.write_leaves(leaves)


def edit_a_hash(owner):
    row = owner.sealed()
    owner.set(t.log_leaves, t.log_leaves.c.audit_id == row, hash=owner.draw.randbytes(32))
    return row


def name_another_checkpoint(owner):
    owner.set(t.log_leaves, t.log_leaves.c.audit_id == owner.draw.randrange(1, 151), sealed_by=270)


def cut_the_end_off(owner):
    ids = owner.forget_after(150)
    owner.run(sa.delete(t.audit).where(t.audit.c.id.in_(ids)))


def cut_the_end_off_and_seal_anew(owner):
    """With the server's own key: what a thief of both can do."""
    ids = owner.forget_after(owner.draw.choice([150, 270]))
    owner.run(sa.insert(t.unsealed).values([{"audit_id": row} for row in ids]))
    owner.set(t.audit, t.audit.c.id == ids[0], actor="eve")
    return "seal"


def edit_a_note(owner):
    size = owner.draw.choice([150, 270, 300])
    where = t.log_checkpoints.c.size == size
    note = owner.run(sa.select(t.log_checkpoints.c.note).where(where)).scalar_one()
    place = owner.draw.randrange(len(note))
    owner.set(t.log_checkpoints, where, note=note[:place] + "~" + note[place + 1 :])


def sign_with_another_key(owner):
    size = owner.draw.choice([150, 270, 300])
    origin = owner.run(sa.select(t.log_origins.c.origin)).scalar_one()
    note = Checkpoint(origin, size, owner.draw.randbytes(32)).sign(OTHER)
    owner.set(t.log_checkpoints, t.log_checkpoints.c.size == size, note=note)


def delete_a_checkpoint(owner):
    size = owner.draw.choice([150, 270, 300])
    owner.run(sa.delete(t.log_checkpoints).where(t.log_checkpoints.c.size == size))


def renumber_a_checkpoint(owner):
    owner.set(t.log_checkpoints, t.log_checkpoints.c.size == 270, size=owner.draw.choice([9, 999]))


def edit_a_statement(owner):
    row = owner.draw.randrange(10, 150, 10)
    owner.set(t.log_statements, t.log_statements.c.audit_id == row, body=b"{}")
    return row


def delete_a_statement(owner):
    row = owner.draw.randrange(10, 150, 10)
    owner.run(sa.delete(t.log_statements).where(t.log_statements.c.audit_id == row))
    return row


def put_a_statement_to_a_row(owner):
    row = owner.draw.randrange(1, ROWS, 10)
    owner.run(sa.insert(t.log_statements).values(audit_id=row, body=b"{}"))
    return row


def edit_a_node(owner):
    owner.set(t.log_nodes, t.log_nodes.c.level == 1, hash=owner.draw.randbytes(32))


def delete_a_node(owner):
    owner.run(sa.delete(t.log_nodes))


def put_a_node_in(owner):
    owner.run(sa.insert(t.log_nodes).values(level=1, number=1, hash=owner.draw.randbytes(32)))


def rename_the_whole_log(owner):
    owner.set(t.log_origins, t.log_origins.c.id == 1, origin="deltareg/another")


def let_a_row_wait_no_more(owner):
    owner.run(sa.delete(t.unsealed))


def delete_the_whole_log(owner):
    for table in TABLES[3:]:
        owner.run(sa.delete(table))
    return "seal"


EDITS = [
    edit_a_row,
    edit_a_row_and_write_the_log_anew,
    delete_a_row,
    delete_a_row_with_its_leaf,
    delete_a_row_and_write_the_log_anew,
    delete_a_leaf_alone,
    put_a_row_beside_the_log,
    put_a_row_into_the_log,
    put_a_leaf_before_the_log,
    swap_two_rows,
    move_a_row_and_write_the_log_anew,
    edit_a_hash,
    name_another_checkpoint,
    cut_the_end_off,
    cut_the_end_off_and_seal_anew,
    edit_a_note,
    sign_with_another_key,
    delete_a_checkpoint,
    renumber_a_checkpoint,
    edit_a_statement,
    delete_a_statement,
    put_a_statement_to_a_row,
    edit_a_node,
    delete_a_node,
    put_a_node_in,
    rename_the_whole_log,
    let_a_row_wait_no_more,
    delete_the_whole_log,
]


@contextmanager
def owning(engine):
    """Open a transaction that no trigger and no foreign key looks at."""
    off, on = (
        ("PRAGMA foreign_keys = OFF", "PRAGMA foreign_keys = ON")
        if engine.dialect.name == "sqlite"
        else ("SET session_replication_role = replica", "SET session_replication_role = origin")
    )
    with engine.connect() as conn:
        as_writer(conn)
        driver = conn.connection.driver_connection
        driver.execute(off)
        with conn.begin():
            yield conn
        driver.execute(on)


@pytest.fixture(scope="module")
def owned(request, tmp_path_factory):
    """Give a sealed registry whose triggers are gone, what is kept of it, and all of its rows."""
    folder = tmp_path_factory.mktemp("owned")
    if request.param == "sqlite":
        template = request.getfixturevalue("sqlite_template")
        (folder / "registry.db").write_bytes(template.read_bytes())
        yield from _owned(f"sqlite:///{folder / 'registry.db'}", folder)
        return
    server, template = (request.getfixturevalue(f"postgresql_{name}") for name in ("server", "template"))
    with database(server, template=template) as url:
        yield from _owned(url, folder)


def _owned(url, folder):
    for engine in opened(url):
        registry, kept = sealed_registry(engine, folder)
        with write(engine) as conn:
            saved = {table: conn.execute(sa.select(table)).mappings().all() for table in TABLES}
            if engine.dialect.name == "sqlite":
                names = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
                for (name,) in conn.exec_driver_sql(names).all():
                    if name != "audit_waits":
                        conn.exec_driver_sql(f"DROP TRIGGER {name}")
        yield registry, kept, saved


def restore(engine, saved):
    with owning(engine) as conn:
        for table in reversed(TABLES):
            conn.execute(sa.delete(table))
        for table, found in saved.items():
            if table is t.unsealed:
                conn.execute(sa.delete(t.unsealed))
            conn.execute(sa.insert(table), [dict(row) for row in found])


# Every edit once on SQLite and some on PostgreSQL; in the soak a thousand on each.
CASES = [
    *[pytest.param("sqlite", edit, 1) for edit in EDITS],
    *[pytest.param("postgresql", edit, 1, marks=pytest.mark.postgres) for edit in EDITS[::6]],
    *[pytest.param("sqlite", edit, 36, marks=SOAK) for edit in EDITS],
    *[pytest.param("postgresql", edit, 36, marks=[*SOAK, pytest.mark.postgres]) for edit in EDITS],
]


@pytest.mark.parametrize(("owned", "edit", "times"), CASES, indirect=["owned"])
def test_whatever_the_owner_of_the_database_edits_is_found(owned, edit, times):
    registry, kept, saved = owned
    for seed in range(times):
        with owning(registry.engine) as conn:
            row = edit(Owner(conn, random.Random(seed)))
        try:
            if row == "seal":
                while seal_some(registry, rows=100):
                    pass
            found = check(registry, kept=kept)

            assert found.findings, (edit.__name__, seed)
            if isinstance(row, int):
                assert found.findings[0].row == row, (edit.__name__, seed, found.findings)
        finally:
            restore(registry.engine, saved)


@pytest.mark.parametrize("owned", BOTH, indirect=True)
def test_what_nobody_edited_holds_after_all_that(owned):
    registry, kept, _ = owned

    assert check(registry, kept=kept).findings == []


# What is kept beside the database.


@pytest.mark.parametrize("owned", ["sqlite"], indirect=True)
def test_a_file_of_checkpoints_that_was_changed_is_refused(owned):
    _, kept, _ = owned
    draw = random.Random(5)
    for _ in range(40):
        lines = kept.splitlines(keepends=True)
        place = draw.randrange(20, len(lines[1]) - 30)
        was = lines[1][place]
        lines[1] = lines[1][:place] + draw.choice([c for c in "0aZ=" if c != was]) + lines[1][place + 1 :]
        try:
            found = KeptLog.read("".join(lines), KEYS, where="the file")
        except (BadSignature, InvalidInput):
            continue
        assert found.cut_off or len(found.known.checkpoints) < 3


@pytest.mark.parametrize("owned", ["sqlite"], indirect=True)
def test_a_line_that_a_killed_server_left_is_passed_over(owned):
    registry, kept, _ = owned

    found = KeptLog.read(kept[: len(kept) // 2] + "\n" + kept, KEYS, where="the file")

    assert found.cut_off == 1
    assert check_lines(lines_of(registry), KEYS, found.known).findings == []
