"""Where bytes are: packs and who needs them, reusable pieces, uploads.

A pack row maps a digest to the one physical key that holds it now; the key is fresh for every
upload attempt and never used again (docs/design.md, Stored form).
"""

import sqlalchemy as sa

from deltareg.db.sql.document import DocumentColumn
from deltareg.db.tables.metadata import (
    Json,
    RowId,
    count,
    created_at,
    member,
    metadata,
    one_of,
    optional_row,
    required_row,
    row_id,
    text,
    time,
    uuid_id,
)
from deltareg.words import PACK_STATES, UPLOAD_PACK_STATES, UPLOAD_STATES, UPLOAD_SUBJECTS

packs = sa.Table(
    "packs",
    metadata,
    row_id(),
    text("scope"),  # ns:<name> or bases; equal bytes of two namespaces are two packs
    text("digest"),
    text("physical_key"),
    count("size_bytes"),
    text("state"),
    created_at(),
    # Since when its object is known to be damaged or gone, and what was found. Nothing relies on
    # such a pack; the next push of the same bytes brings it anew.
    time("bad_at"),
    sa.Column("bad_why", sa.Text),
    sa.UniqueConstraint("scope", "digest"),
    sa.UniqueConstraint("physical_key"),
    one_of("state", *PACK_STATES),
    sa.Index(None, "state", "id"),
)

sa.Index(
    "ix_packs_bad", packs.c.id, sqlite_where=packs.c.bad_at.is_not(None), postgresql_where=packs.c.bad_at.is_not(None)
)

# RESTRICT: as long as something needs a pack, no code can drop its row.
version_packs = sa.Table(
    "version_packs",
    metadata,
    member("version_id", "versions.id", ondelete="RESTRICT"),
    member("pack_id", "packs.id", ondelete="RESTRICT"),
    sa.Index(None, "pack_id"),
)

base_packs = sa.Table(
    "base_packs",
    metadata,
    member("base_id", "bases.id", ondelete="RESTRICT"),
    member("pack_id", "packs.id", ondelete="RESTRICT"),
    sa.Index(None, "pack_id"),
)


form_packs = sa.Table(
    "form_packs",
    metadata,
    member("form_id", "forms.id", ondelete="RESTRICT"),
    member("pack_id", "packs.id", ondelete="RESTRICT"),
    sa.Index(None, "pack_id"),
)

# What something ceased to need, written by triggers: only among these are packs that nothing needs. A row
# of its own each time, so that no transaction waits for another; no foreign key, for the same reason.
released_packs = sa.Table(
    "released_packs", metadata, row_id(), sa.Column("pack_id", RowId, nullable=False), sa.Index(None, "pack_id")
)


SHARE_FIGURES = ("referenced_bytes", "referenced_payload", "alone_bytes", "alone_payload")


def _share() -> tuple[sa.Column[int] | sa.Column[bool | None], ...]:
    """The byte counts of a holder's own pieces in one of its packs (service/push/shares.py).

    `is_owner` says whether the pack counts for the holder, as the oldest that needs it; NULL: that is not
    settled yet, or the holder is deleted.
    """
    is_owner: sa.Column[bool | None] = sa.Column("is_owner", sa.Boolean)
    return (*(count(name) for name in SHARE_FIGURES), is_owner)


# A share goes with the row that says that the pack is needed, and may come later than that: what
# has none, or one of another storage map, is measured by the next recount.
version_shares = sa.Table(
    "version_shares",
    metadata,
    sa.Column("version_id", RowId, primary_key=True),
    sa.Column("pack_id", RowId, primary_key=True),
    count("storage_revision"),
    *_share(),
    sa.ForeignKeyConstraint(
        ["version_id", "pack_id"], ["version_packs.version_id", "version_packs.pack_id"], ondelete="CASCADE"
    ),
)

# Written into the SQL, as both databases have to recognize it.
IS_SOUGHT = sa.literal_column("is_owner IS NULL OR is_owner", sa.Boolean)
sa.Index("ix_version_shares_owner", version_shares.c.pack_id, sqlite_where=IS_SOUGHT, postgresql_where=IS_SOUGHT)

base_shares = sa.Table(
    "base_shares",
    metadata,
    sa.Column("base_id", RowId, primary_key=True),
    sa.Column("pack_id", RowId, primary_key=True),
    *_share(),
    sa.ForeignKeyConstraint(["base_id", "pack_id"], ["base_packs.base_id", "base_packs.pack_id"], ondelete="CASCADE"),
)

pieces = sa.Table(
    "pieces",
    metadata,
    row_id(),
    text("scope"),
    text("digest"),
    sa.Column("base_root", sa.Text, nullable=False, server_default=""),
    sa.Column("entry", DocumentColumn(is_quick=True), nullable=False),
    # When it was decoded by somebody else than who sent it; only then is it offered. NULL: an
    # earlier release wrote down what was claimed.
    time("proven_at"),
    sa.UniqueConstraint("scope", "digest", "base_root"),
)

piece_packs = sa.Table(
    "piece_packs",
    metadata,
    member("piece_id", "pieces.id", ondelete="CASCADE"),
    member("pack_id", "packs.id", ondelete="RESTRICT"),
    sa.Index(None, "pack_id"),
)

uploads = sa.Table(
    "uploads",
    metadata,
    uuid_id(),
    required_row("principal_id", "principals.id"),
    text("scope"),
    text("subject"),
    text("target"),  # ns/name, or the name of a base
    text("manifest_digest"),
    # NULL once it is closed: what came of it has the manifest, or nobody needs it any more.
    # Packed quickly: it is written while others wait, and goes when the upload is closed.
    sa.Column("manifest", DocumentColumn(is_quick=True)),
    sa.Column("request", Json, nullable=False),
    sa.Column("state", sa.Text, nullable=False, server_default="open"),
    created_at(),
    count("touched_at"),
    optional_row("version_id", "versions.id"),
    optional_row("base_id", "bases.id"),
    one_of("subject", *UPLOAD_SUBJECTS),
    one_of("state", *UPLOAD_STATES),
    sa.Index(None, "state", "touched_at"),
    sa.Index(None, "principal_id"),
)

upload_packs = sa.Table(
    "upload_packs",
    metadata,
    row_id(),
    sa.Column("upload_id", sa.Text, sa.ForeignKey("uploads.id"), nullable=False),
    count("number"),
    text("physical_key"),
    sa.Column("digest", sa.Text),
    sa.Column("size_bytes", sa.BigInteger),
    sa.Column("state", sa.Text, nullable=False, server_default="writing"),
    created_at(),
    sa.UniqueConstraint("physical_key"),
    one_of("state", *UPLOAD_PACK_STATES),
    sa.Index(None, "upload_id", "number"),
)
# Written into the SQL, not bound, so that the planner sees that the partial index is enough.
UNADOPTED = upload_packs.c.state != sa.literal_column("'adopted'")
sa.Index("ix_upload_packs_unadopted", upload_packs.c.id, sqlite_where=UNADOPTED, postgresql_where=UNADOPTED)
