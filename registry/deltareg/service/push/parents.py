"""The parents that a push names, and whether a merge may be made of them."""

from collections.abc import Iterable

import sqlalchemy as sa

from deltareg.db.lines import versions as queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.delta.merge.recipe import RECIPE_FILE
from deltareg.documents.json_values import is_list
from deltareg.errors import Blocked, InvalidInput, Problem, Refused
from deltareg.identity.manifest import Manifest
from deltareg.refs import LineRef, Ref
from deltareg.service.describe import ref_of
from deltareg.service.lines.revoked import revoked_below, tell_revocation


def named_parents(conn: sa.Connection, line: LineRef, manifest: Manifest, named: object) -> list[VersionRow]:
    """Find the versions that a manifest names as its parents, in its order.

    A manifest names parents by digest. If several versions have that digest, the one that the
    request names is chosen; without one, as from clients of the release before, the one in the line
    itself, else the oldest.

    Raises:
        Refused: The namespace has no version with such a digest, or a parent is named twice.
    """
    digests = [str(parent) for parent in manifest.parents]
    by_digest: dict[str, list[VersionRow]] = {}
    for row in queries.versions_by_digest(conn, line.namespace, digests):
        by_digest.setdefault(row.manifest_digest, []).append(row)
    unknown = [digest for digest in digests if digest not in by_digest]
    if unknown or len(by_digest) < len(digests):
        wrong = f"no version here has the digest {unknown[0]}" if unknown else "a parent is twice"
        raise Refused([Problem("bad_config", wrong, fix="name each parent once: --parent")])
    named_refs = _refs(named)
    return [
        min(by_digest[digest], key=lambda row: (ref_of(row) not in named_refs, row.line != line.name, row.id))
        for digest in digests
    ]


def check_merged(conn: sa.Connection, manifest: Manifest, parents: Iterable[VersionRow]) -> None:
    """Refuse a merge of a version that is revoked or made of a revoked one.

    The caller must hold the locks of the parents.

    Raises:
        Blocked: One of the parents is.
    """
    if not any(file.path == RECIPE_FILE for file in manifest.files):
        return
    for row in queries.versions_by_ids(conn, [parent.id for parent in parents]).values():
        ref = ref_of(row)
        if row.revoked_at is not None:
            message = f"{ref} was {tell_revocation(conn, row)}, and nothing is merged from it"
            raise Blocked(message, fix="merge versions that were not revoked")
        below = revoked_below(conn, row)
        if below:
            raise Blocked(f"{ref} {below}", fix="merge versions that have nothing of it")


def _refs(named: object) -> set[str]:
    """Parse the references that a client sent; malformed ones are skipped."""
    refs: set[str] = set()
    for text in named if is_list(named) else []:
        try:
            refs.add(str(Ref.parse(str(text))))
        except InvalidInput:
            continue
    return refs
