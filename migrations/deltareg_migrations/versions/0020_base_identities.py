"""A base is the whole of it, and versions and verdicts are bound to one base.

Versions that were bound to none are bound to the one that was taken for theirs, the first by name.
Of what several bases with the same tensors were taken for each other, no verdict is carried over:
nobody knows which of them it was made on.
"""

from collections.abc import Iterator

import sqlalchemy as sa
import zstandard
from alembic import op

from deltareg.digest import Digest
from deltareg.errors import DeltaregError
from deltareg.identity.manifest import Manifest
from deltareg.identity.whole_base import CONFIG, TENSORS, WholeBase, whole_base
from deltareg_migrations.triggers import (
    TriggerRule,
    append_only,
    drop_append_only,
    drop_functions,
    drop_triggers,
    refuse,
)

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MAGIC = b"\x28\xb5\x2f\xfd"
BATCH = 20

BASES = sa.table(
    "bases", sa.column("id"), sa.column("root"), sa.column("manifest", sa.LargeBinary()), sa.column("created_at")
)
IDENTITIES = sa.table(
    "base_identities",
    sa.column("base_id"),
    sa.column("identity"),
    sa.column("parts", sa.JSON()),
    sa.column("is_partial", sa.Boolean()),
    sa.column("created_at"),
)

BIND_VERSIONS = """UPDATE versions SET base_id = (SELECT b.id FROM bases AS b
    WHERE b.root = versions.base_root ORDER BY b.name LIMIT 1) WHERE base_id IS NULL"""

# Where other bases have the same tensors, it was made on one of them.
_ONLY = """NOT EXISTS (SELECT 1 FROM bases AS o JOIN base_identities AS j ON j.base_id = o.id
    WHERE o.root = w.base_root AND j.identity <> i.identity)"""
BIND_VERDICTS = f"""INSERT INTO verdict_bases (verdict_id, identity)
    SELECT w.id, i.identity FROM verdicts AS w JOIN versions AS v ON v.id = w.version_id
    JOIN base_identities AS i ON i.base_id = v.base_id
    WHERE w.base_root = v.base_root AND {_ONLY}"""  # noqa: S608  # no values
BIND_VERDICTS_ON_VARIANTS = f"""INSERT INTO verdict_bases (verdict_id, identity)
    SELECT w.id, min(i.identity) FROM verdicts AS w JOIN versions AS v ON v.id = w.version_id
    JOIN base_variants AS x ON x.root_id = v.base_id
    JOIN bases AS b ON b.id = x.base_id AND b.root = w.base_root
    JOIN base_identities AS i ON i.base_id = b.id
    WHERE w.base_root <> v.base_root AND {_ONLY} GROUP BY w.id"""  # noqa: S608

OF_THE_VERY_BASE = TriggerRule(
    "a verdict is about the very base that its version is bound to, or a variant of that",
    """NOT EXISTS (SELECT 1 FROM verdicts AS w JOIN versions AS v ON v.id = w.version_id
        WHERE w.id = NEW.verdict_id AND (EXISTS (SELECT 1 FROM base_identities AS i
            WHERE i.base_id = v.base_id AND i.identity = NEW.identity)
        OR EXISTS (SELECT 1 FROM base_variants AS x JOIN base_identities AS i
            ON i.base_id = x.base_id WHERE x.root_id = v.base_id
            AND i.identity = NEW.identity)))""",
)
BOUND_ONCE = TriggerRule(
    "a version stays with the base that it was pushed for",
    "OLD.base_id IS NOT NULL AND COALESCE(NEW.base_id, 0) <> OLD.base_id",
)
SAME_TENSORS = TriggerRule("the tensors of a base do not change", "OLD.root <> NEW.root")
SAME_FILES = TriggerRule(
    "what a base is does not change",
    """OLD.manifest_digest <> NEW.manifest_digest AND NOT EXISTS (SELECT 1
        FROM base_identities AS i WHERE i.base_id = OLD.id AND i.is_partial)""",
)
COMPLETED_ONCE = TriggerRule("the identity of a base does not change", "NOT OLD.is_partial")
NOTHING_STANDS = TriggerRule(
    "something stands on the base",
    """EXISTS (SELECT 1 FROM versions AS v
        WHERE v.base_id = NEW.base_id AND v.released_at IS NULL)
        OR EXISTS (SELECT 1 FROM version_bases AS s WHERE s.base_id = NEW.base_id)
        OR EXISTS (SELECT 1 FROM base_variants AS x WHERE x.root_id = NEW.base_id
            AND NOT EXISTS (SELECT 1 FROM deleted_bases AS d WHERE d.base_id = x.base_id))""",
)


def upgrade() -> None:
    create_tables()
    op.execute(BIND_VERSIONS)
    identify()
    op.execute(BIND_VERDICTS)
    op.execute(BIND_VERDICTS_ON_VARIANTS)
    append_only("verdict_bases")
    append_only("base_identities", changes=("DELETE",))
    append_only("deleted_bases")
    refuse("verdict_bases", "INSERT", [OF_THE_VERY_BASE], name="bound")
    refuse("versions", "UPDATE", [BOUND_ONCE], name="base")
    refuse("bases", "UPDATE", [SAME_TENSORS, SAME_FILES], name="identity")
    refuse("base_identities", "UPDATE", [COMPLETED_ONCE], name="completed")
    refuse("deleted_bases", "INSERT", [NOTHING_STANDS], name="free")


def downgrade() -> None:
    drop_triggers("bases", "identity")
    drop_triggers("versions", "base")
    op.drop_table("base_aliases")
    for table in ("deleted_bases", "verdict_bases", "base_identities"):
        drop_append_only(table)
    drop_functions(
        "verdict_bases_bound_rules",
        "versions_base_rules",
        "bases_identity_rules",
        "base_identities_completed_rules",
        "deleted_bases_free_rules",
    )


def identify() -> None:
    """Take the parts of every base from its manifest; one that cannot be read has none."""
    conn = op.get_bind()
    for row in rows_of(conn):
        found = whole(row.manifest, row.root)
        if found is not None:
            conn.execute(
                sa.insert(IDENTITIES).values(
                    base_id=row.id,
                    identity=str(found.identity),
                    created_at=row.created_at,
                    parts={name: str(digest) for name, digest in found.parts.items()},
                    is_partial=set(found.parts) == {TENSORS, CONFIG},
                )
            )


def rows_of(conn: sa.Connection) -> Iterator[sa.Row[tuple[int, str, bytes, int]]]:
    """Go through the bases by their ids, few at a time: documents are large."""
    query = sa.select(BASES).order_by(BASES.c.id).limit(BATCH)
    rows = conn.execute(query).all()
    while rows:
        yield from rows
        rows = conn.execute(query.where(BASES.c.id > rows[-1].id)).all()


def whole(document: bytes, root: str) -> WholeBase | None:
    try:
        if document.startswith(MAGIC):
            document = zstandard.ZstdDecompressor().decompress(document)
        return whole_base(Manifest.decode(document), root=Digest.parse(root))
    except (DeltaregError, zstandard.ZstdError, ValueError):  # as damaged as it was
        return None


def create_tables() -> None:
    op.create_table(
        "base_identities",
        sa.Column("base_id", ROW_ID, nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("parts", sa.JSON(), nullable=False),
        sa.Column("is_partial", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["base_id"], ["bases.id"], name="fk_base_identities_base_id"),
        sa.PrimaryKeyConstraint("base_id", name="pk_base_identities"),
    )
    op.create_table(
        "verdict_bases",
        sa.Column("verdict_id", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["verdict_id"], ["verdicts.id"], name="fk_verdict_bases_verdict_id"),
        sa.PrimaryKeyConstraint("verdict_id", name="pk_verdict_bases"),
    )
    op.create_table(
        "base_aliases",
        sa.Column("name", sa.Text(), nullable=False),
        *build_owner_columns("base_aliases"),
        sa.PrimaryKeyConstraint("name", name="pk_base_aliases"),
    )
    op.create_index("ix_base_aliases_base_id", "base_aliases", ["base_id"])
    op.create_table(
        "deleted_bases",
        sa.Column("name", sa.Text(), nullable=False),
        *build_owner_columns("deleted_bases"),
        sa.PrimaryKeyConstraint("base_id", name="pk_deleted_bases"),
    )


def build_owner_columns(table: str) -> list[sa.schema.SchemaItem]:
    """Give the columns of a row about a base that somebody made."""
    return [
        sa.Column("base_id", ROW_ID, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", ROW_ID),
        sa.ForeignKeyConstraint(["base_id"], ["bases.id"], name=f"fk_{table}_base_id"),
        sa.ForeignKeyConstraint(["created_by"], ["principals.id"], name=f"fk_{table}_created_by"),
    ]
