"""Who signs in with a provider, what they are signed in with, and what is under way."""

import sqlalchemy as sa

from deltareg.db.tables.metadata import created_at, metadata, optional_row, required_row, row_id, text, time

# Who somebody is at a provider. The issuer and its subject name them, never an address or a name,
# which a provider may give to somebody else.
identities = sa.Table(
    "identities",
    metadata,
    row_id(),
    text("issuer"),
    text("subject"),
    required_row("principal_id", "principals.id"),
    text("email"),  # empty unless the provider says that it is theirs
    created_at(),
    sa.UniqueConstraint("issuer", "subject"),
    sa.Index(None, "principal_id"),
)

# Each is a token that lives as long as the provider confirms it, and what it is confirmed with.
sign_ins = sa.Table(
    "sign_ins",
    metadata,
    row_id(),
    required_row("identity_id", "identities.id"),
    required_row("token_id", "tokens.id"),
    text("provider"),
    sa.Column("sid", sa.Text),  # the session at the provider, if it says
    sa.Column("refresh", sa.LargeBinary),  # sealed
    text("machine"),  # where the command line signed in; empty for a browser
    created_at(),
    sa.Column("checked_at", sa.BigInteger, nullable=False),
    sa.Column("ends_at", sa.BigInteger, nullable=False),
    time("held_until"),  # a server asks the provider until then
    sa.UniqueConstraint("token_id"),
    sa.Index(None, "identity_id"),
    sa.Index(None, "sid"),
)

# A command line that waits until somebody signs in for it, with a code that they type.
device_requests = sa.Table(
    "device_requests",
    metadata,
    row_id(),
    text("device_hash"),
    text("code_hash"),
    text("machine"),
    text("address"),
    created_at(),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    optional_row("token_id", "tokens.id"),
    sa.UniqueConstraint("device_hash"),
    sa.UniqueConstraint("code_hash"),
    sa.Index(None, "expires_at"),
)

# A browser that was sent to a provider and has not come back.
sign_in_attempts = sa.Table(
    "sign_in_attempts",
    metadata,
    row_id(),
    text("state_hash"),
    text("provider"),
    text("next"),
    optional_row("device_id", "device_requests.id"),
    created_at(),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("state_hash"),
    sa.Index(None, "expires_at"),
)

# What a provider has said once, so that nobody says it again.
logout_tokens = sa.Table(
    "logout_tokens",
    metadata,
    row_id(),
    text("issuer"),
    text("jti"),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("issuer", "jti"),
    sa.Index(None, "expires_at"),
)
