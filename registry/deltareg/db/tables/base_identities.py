"""The identities of bases, their former names, and their deletions.

These are tables of their own, as a base may have none of it: one that the release before stored has
no identity until somebody asks for it.
"""

import sqlalchemy as sa

from deltareg.db.tables.metadata import Json, created_at, created_by, member, metadata, required_row, text

# Over tensors and all beside them that decides what the base does (`identity.whole_base`). Partial:
# an older release stored it, and more of it may become known when it is pushed again.
base_identities = sa.Table(
    "base_identities",
    metadata,
    member("base_id", "bases.id"),
    text("identity"),
    sa.Column("parts", Json, nullable=False),
    sa.Column("is_partial", sa.Boolean, nullable=False),
    created_at(),
)

# The identity of the base that a verdict was made on; append-only, as verdicts are bound.
verdict_bases = sa.Table(
    "verdict_bases",
    metadata,
    sa.Column("verdict_id", sa.Text, sa.ForeignKey("verdicts.id"), primary_key=True),
    text("identity"),
)

# Names that a base had: they lead to it still.
base_aliases = sa.Table(
    "base_aliases",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    required_row("base_id", "bases.id"),
    created_at(),
    created_by(),
    sa.Index(None, "base_id"),
)

# A base that was deleted has given its name back; deleted versions may still tell of it.
deleted_bases = sa.Table(
    "deleted_bases", metadata, member("base_id", "bases.id"), text("name"), created_at(), created_by()
)
