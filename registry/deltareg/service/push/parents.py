"""The versions that a push says it was made from, and whether a merge may be made of them."""

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

    A manifest names them by digest. Where several lines have a version of it, the one that was
    named in the request is meant; a client of the release before names none, and then it is one of
    the line itself, or else the oldest.

    Raises:
        Refused: There is none of a digest in the namespace, or one is named twice.
    """
    digests = [str(parent) for parent in manifest.parents]
    found: dict[str, list[VersionRow]] = {}
    for row in queries.versions_by_digest(conn, line.namespace, digests):
        found.setdefault(row.manifest_digest, []).append(row)
    unknown = [digest for digest in digests if digest not in found]
    if unknown or len(found) < len(digests):
        wrong = f"no version here has the digest {unknown[0]}" if unknown else "a parent is twice"
        raise Refused([Problem("bad_config", wrong, fix="name each parent once: --parent")])
    meant = _refs(named)
    return [
        min(found[digest], key=lambda row: (ref_of(row) not in meant, row.line != line.name, row.id))
        for digest in digests
    ]


def check_merged(conn: sa.Connection, manifest: Manifest, parents: Iterable[VersionRow]) -> None:
    """Refuse a merge of what was revoked, or is made of what was; the caller holds the parents.

    Raises:
        Blocked: One of them is.
    """
    if not any(file.path == RECIPE_FILE for file in manifest.files):
        return
    for row in queries.versions_by_ids(conn, [parent.id for parent in parents]).values():
        ref = ref_of(row)
        if row.revoked_at is not None:
            told = f"{ref} was {tell_revocation(conn, row)}, and nothing is merged from it"
            raise Blocked(told, fix="merge versions that were not revoked")
        below = revoked_below(conn, row)
        if below:
            raise Blocked(f"{ref} {below}", fix="merge versions that have nothing of it")


def _refs(named: object) -> set[str]:
    """Read the references that a client sent; what is none names nothing."""
    found: set[str] = set()
    for text in named if is_list(named) else []:
        try:
            found.add(str(Ref.parse(str(text))))
        except InvalidInput:
            continue
    return found
