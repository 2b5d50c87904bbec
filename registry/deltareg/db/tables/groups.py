"""Groups, and who is in them."""

import sqlalchemy as sa

from deltareg.db.tables.metadata import created_at, created_by, member, metadata

# A principal of the kind `group` is one as long as it has a row here: its name is never given away.
# `source` is the sign-in provider that keeps its members; empty where people do.
groups = sa.Table(
    "groups",
    metadata,
    member("group_id", "principals.id"),
    sa.Column("source", sa.Text, nullable=False, server_default=""),
    created_at(),
    created_by(),
)

# What has been is in the audit trail. The migration adds triggers: a group is in no group.
group_members = sa.Table(
    "group_members",
    metadata,
    member("group_id", "groups.group_id"),
    member("member_id", "principals.id"),
    created_at(),
    created_by(),
    sa.Index(None, "member_id", "group_id"),
)
