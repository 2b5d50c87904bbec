"""Refusing to return deleted bytes, with the command that restores them in the error."""

from deltareg.db.lines.version_rows import VersionRow
from deltareg.errors import Blocked
from deltareg.service.describe import ref_of


def refuse_deleted(version: VersionRow) -> None:
    """Refuse to return the bytes of a version that is deleted.

    Raises:
        Blocked: It is deleted; the message says how to restore it, or that it cannot be restored.
    """
    if version.deleted_at is None:
        return
    refuse_released(version)
    ref = ref_of(version)
    raise Blocked(f"{ref} is deleted", fix=f"bring it back: deltareg restore {ref}")


def refuse_released(version: VersionRow) -> None:
    """Refuse a version whose bytes collection has freed.

    Raises:
        Blocked: The bytes are gone for good.
    """
    if version.released_at is None:
        return
    raise Blocked(
        f"{ref_of(version)} is deleted, and collection has freed its bytes",
        fix=f"push it again, as a new version: deltareg push PATH {version.namespace}/{version.line}",
    )
