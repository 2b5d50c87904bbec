"""The schema of the registry's database, as revisions that go up and down."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deltareg_migrations.schema import check, current, downgrade, newest_revision, upgrade

__all__ = ["check", "current", "downgrade", "newest_revision", "upgrade"]


def __getattr__(name: str) -> object:
    """Load `schema` on first use, as it needs the packages of the server."""
    if name in __all__:
        from deltareg_migrations import schema  # lazy on purpose, see above

        return getattr(schema, name)
    raise AttributeError(f"module 'deltareg_migrations' has no attribute {name!r}")
