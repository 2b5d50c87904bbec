"""A registry of the release before, with bases that were taken for each other, as upgraded."""

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import create_engine, read, write
from deltareg.identity.whole_base import whole_base
from deltareg_migrations import schema as migrations
from tests.identity.test_whole_base import LLAMA, manifest
from tests.migrations.populated import ROWS, T0, version

PLAIN = manifest()
TWIN = manifest(config={**LLAMA, "rms_norm_eps": 1e-6}, files={"tokenizer.json": b"{}"})
ALONE = manifest(files={"tokenizer.json": b"{}"})
SHARED, OWN, BROKEN = (f"blake3:{letter * 64}" for letter in "abc")
BASES = ((11, "beta", SHARED, PLAIN), (12, "alpha", SHARED, TWIN), (13, "own", OWN, ALONE))


def base(row_id, name, root, document):
    return {
        "id": row_id,
        "name": name,
        "root": root,
        "config_digest": "sha256:c",
        "stored_bytes": 0,
        "manifest_digest": f"sha256:{row_id}",
        "manifest": document,
        "logical_bytes": 1,
        "created_at": T0,
    }


@pytest.fixture
def engine(empty_database_url):
    """Fill a database as the release before has it, and upgrade that."""
    migrations.upgrade(empty_database_url, revision="0018")
    engine = create_engine(empty_database_url)
    known = {column["name"] for column in sa.inspect(engine).get_columns("versions")}
    with write(engine) as conn:
        for table, values in ROWS[:5]:
            dated = {"created_at": T0} if "created_at" in table.c else {}
            conn.execute(sa.insert(table).values({**values, **dated}))
        rows = [base(n, name, root, m.encode()) for n, name, root, m in BASES]
        conn.execute(sa.insert(t.bases), [*rows, base(14, "broken", BROKEN, b"{}")])
        conn.execute(sa.insert(t.deltas).values(dict(ROWS_OF[t.deltas]) | {"created_at": T0}))
        for number, root, base_id in (
            (1, SHARED, 11),
            (2, SHARED, None),
            (3, OWN, 13),
            (4, OWN, None),
            (5, BROKEN, 14),
            (6, f"blake3:{'d' * 64}", None),
        ):
            values = {**version(number), "base_root": root, "base_id": base_id, "created_at": T0}
            then = {name: values[name] for name in values if name in known}
            conn.execute(sa.insert(t.versions).values(then))
        for number, root in ((1, SHARED), (3, OWN), (4, OWN), (5, BROKEN)):
            add_verdict(conn, number, root)
    migrations.upgrade(empty_database_url)
    yield engine
    engine.dispose()


ROWS_OF = dict(ROWS)


def add_verdict(conn, number, root):
    run = {**ROWS_OF[t.runs], "id": f"r{number}", "version_id": number, "dedup_key": f"k{number}"}
    conn.execute(sa.insert(t.runs).values({**run, "created_at": T0}))
    found = {
        **ROWS_OF[t.verdicts],
        "id": f"v{number}",
        "run_id": f"r{number}",
        "version_id": number,
        "base_root": root,
        "manifest_digest": f"sha256:{number}",
        "created_at": T0,
    }
    conn.execute(sa.insert(t.verdicts).values(found))


def test_bases_get_an_identity_and_versions_and_verdicts_stay_with_theirs(engine):
    with read(engine) as conn:
        found = {row.base_id: row for row in conn.execute(sa.select(t.base_identities))}
        bound = dict(conn.execute(sa.select(t.versions.c.number, t.versions.c.base_id)).all())
        verdicts = dict(map(tuple, conn.execute(sa.select(t.verdict_bases))))

    own = {n: whole_base(m) for n, _, _, m in BASES}
    told = {n: (row.parts["config"], row.is_partial) for n, row in found.items()}
    assert told == {
        11: (str(own[11].parts["config"]), True),  # nothing but tensors and config is known of it
        12: (str(own[12].parts["config"]), False),
        13: (str(own[13].parts["config"]), False),
    }
    # The first by name was taken for it; where no base has the root, nothing is.
    assert bound == {1: 11, 2: 12, 3: 13, 4: 13, 5: 14, 6: None}
    # Two had the tensors of the first: nobody knows on which it was verified.
    assert verdicts == {"v3": found[13].identity, "v4": found[13].identity}


def test_the_database_refuses_what_would_take_one_base_for_another(engine):
    with read(engine) as conn:
        known = sa.select(t.base_identities.c.identity).where(t.base_identities.c.base_id == 12)
        other = conn.execute(known).scalar_one()

    refusals = {words: refusal(engine, change) for change, words in forgeries(other)}

    assert {words: words in said for words, said in refusals.items()} == dict.fromkeys(refusals, True)


def forgeries(other):
    into_verdicts = "INSERT INTO verdict_bases VALUES ('v1', '{}')"
    return [
        ("UPDATE versions SET base_id = 12 WHERE number = 1", "stays with the base"),
        ("UPDATE bases SET root = 'blake3:x' WHERE id = 13", "tensors of a base do not change"),
        ("UPDATE bases SET manifest_digest = 'x' WHERE id = 13", "what a base is does not change"),
        ("UPDATE base_identities SET identity = 'x' WHERE base_id = 13", "identity of a base does"),
        ("DELETE FROM base_identities", "base_identities is append-only"),
        ("UPDATE verdict_bases SET identity = 'x'", "verdict_bases is append-only"),
        (into_verdicts.format(other), "a verdict is about the very base"),
        (into_verdicts.format("blake3:forged"), "the very base that its version is bound to"),
        ("INSERT INTO deleted_bases (base_id, name, created_at) VALUES (13, 'own', 1)", "something stands on the base"),
    ]


def refusal(engine, change):
    """Give what the database says to a change."""
    with pytest.raises(sa.exc.IntegrityError) as refused, write(engine) as conn:
        conn.exec_driver_sql(change)
    return str(refused.value)
