"""What triggers keep of lines is what there is, whatever happens to versions; fsck finds and mends what is not."""

import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.lines import line_counts
from deltareg.db.lines.line_counts import kept_counts, lines_without_verdicts, recount
from deltareg.db.session import read, write
from deltareg.db.sql.clock import now_us
from deltareg.db.upkeep.released import forget_released, unnoted_packs
from deltareg.service.upkeep.counts import mend_counts, wrong_counts
from tests.service import rows


def test_counts_follow_pushes_deletions_and_bases(engine):
    maker, root, packed = rows.caller(engine), rows.base(engine), rows.base(engine, "packed")
    first, other = (rows.line(engine, name, maker=maker) for name in "xy")
    seen = []

    def look():
        with read(engine) as conn:
            assert kept_counts(conn) == recount(conn)
            seen.append({(r.delta_id, r.base_id): (r.versions, r.trained) for r in kept_counts(conn)})

    look()
    versions = [rows.version(engine, line) for line in (first, first, other)]
    with write(engine) as conn:
        conn.execute(sa.insert(t.version_variants).values(version_id=versions[0], base_id=packed))
    look()
    set_columns(engine, versions[0], deleted_at=now_us())
    look()
    set_columns(engine, versions[0], deleted_at=None, stored_bytes=9)
    set_columns(engine, versions[2], deleted_at=now_us(), stored_bytes=7)
    look()

    assert seen == [
        {},
        {(first, root): (2, 0), (first, packed): (0, 1), (other, root): (1, 0)},
        {(first, root): (1, 0), (other, root): (1, 0)},
        {(first, root): (2, 0), (first, packed): (0, 1)},
    ]


def test_what_was_not_kept_is_found_and_mended(engine):
    maker = rows.caller(engine)
    rows.base(engine)
    line = rows.line(engine, maker=maker)
    version = rows.version(engine, line)
    with write(engine) as conn, rows.unguarded(conn, t.verdicts):
        conn.execute(sa.insert(t.runs).values(run("r1", version)))
        conn.execute(sa.insert(t.verdicts).values(verdict("v1", "r1", version)))
        conn.execute(sa.update(t.line_counts).values(versions=7))

    found = [(one.holder, one.detail) for one in wrong_counts(engine)]
    mended = [(one.holder, one.detail) for one in mend_counts(engine)]

    assert found == [("lab/x", "lists count 7 versions and not 1; its log leaves out 1 verdicts")] == mended
    assert wrong_counts(engine) == []
    with read(engine) as conn:
        assert lines_without_verdicts(conn) == {}
        assert line_counts.kept_counts(conn) == line_counts.recount(conn)


def set_columns(engine, version_id, **values):
    with write(engine) as conn:
        conn.execute(sa.update(t.versions).where(t.versions.c.id == version_id).values(values))


def run(run_id, version_id):
    request = {"suite_digest": "sha256:0"}
    return {
        "id": run_id,
        "what": "verify",
        "dedup_key": run_id,
        "version_id": version_id,
        "request": request,
        "labels": {},
    }


def verdict(verdict_id, run_id, version_id):
    words = dict.fromkeys(("manifest_digest", "base_root", "suite", "suite_digest", "verifier", "policy_digest"), "x")
    beside = {"dtype": "", "seed": 0, "verdict": "fail", "base_evidence": "", "checks": [], "environment": {}}
    return {"id": verdict_id, "run_id": run_id, "version_id": version_id, "sandbox": "", **words, **beside}


def test_packs_that_nothing_needs_are_noted_whoever_released_them(engine):
    maker, root = rows.caller(engine), rows.base(engine)
    version = rows.version(engine, rows.line(engine, maker=maker))
    with write(engine) as conn:
        for number, (table, holder) in enumerate(((t.version_packs, version), (t.base_packs, root)), 1):
            conn.execute(sa.insert(t.packs).values(pack(number)))
            conn.execute(sa.insert(table).values([holder, number]))
            conn.execute(sa.delete(table))
            assert noted(conn) == list(range(1, number + 1))
        conn.execute(sa.insert(t.version_packs).values([version, 1]))

        forget_released(conn)

        assert noted(conn) == [2]
        assert unnoted_packs(conn) == []
        conn.execute(sa.delete(t.released_packs))

    found = [(one.holder, one.detail) for one in wrong_counts(engine)]
    mended = [(one.holder, one.detail) for one in mend_counts(engine)]

    assert found == [("store", "collections leave out 1 packs that nothing needs")] == mended
    assert wrong_counts(engine) == []
    with read(engine) as conn:
        assert noted(conn) == [2]


def noted(conn):
    return list(conn.execute(sa.select(t.released_packs.c.pack_id).order_by(t.released_packs.c.id)).scalars())


def pack(number):
    names = {"scope": "ns:lab", "digest": f"sha256:{number}", "physical_key": f"k{number}"}
    return {"id": number, "size_bytes": 5, "state": "live", "created_at": 1, **names}
