"""The general probe sets of bases, and the figures that workers measured of the bases on them."""

import sqlalchemy as sa

from deltareg.db.tables.metadata import count, created_at, created_by, member, metadata, text

# Drawn once, when a base is registered or first verified on. Append-only, as is the table below.
base_probes = sa.Table(
    "base_probes",
    metadata,
    member("base_id", "bases.id"),
    text("digest"),
    sa.Column("document", sa.LargeBinary, nullable=False),
    created_at(),
)

# What a worker signed about a base in some surroundings; a worker believes only what it signed.
base_figures = sa.Table(
    "base_figures",
    metadata,
    member("base_id", "bases.id"),
    sa.Column("surroundings", sa.Text, primary_key=True),
    sa.Column("keyid", sa.Text, primary_key=True),
    sa.Column("envelope", sa.LargeBinary, nullable=False),
    created_at(),
    created_by(),
)

# Where measuring a base came to nothing: on which device, how long it took and why. It is taken out
# by who measures it after all.
unmeasured_bases = sa.Table(
    "unmeasured_bases",
    metadata,
    member("base_id", "bases.id"),
    sa.Column("device", sa.Text, primary_key=True),
    count("seconds"),
    text("reason"),
    created_at(),
    created_by(),
)
