"""Which base a repository means: by its name here, a former name, or its hub id."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.bases import bases as base_queries
from deltareg.db.bases.rows import BaseRow
from deltareg.db.hub import hub_names as queries
from deltareg.errors import InvalidInput, NotFound
from deltareg.refs import parse_base
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Base
from deltareg.service.bases.variants import parse_hub_id
from deltareg.service.hub.line_revisions import MAIN
from deltareg.service.registry import Caller

_COMMIT = re.compile(r"[0-9a-f]{40}")
_DIGITS = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True, slots=True)
class RepositoryBases:
    """The bases that a repository may mean.

    Attributes:
        repository: The id of the repository.
        bases: The bases that the caller may read and whose bytes are here, each with its revision
            on the hub; empty where none was recorded.
    """

    repository: str
    bases: Sequence[tuple[BaseRow, str]]


def known_bases(
    conn: sa.Connection, caller: Caller, repository: str, *, also_registered: bool = False
) -> RepositoryBases:
    """Find the bases that a repository may mean; a name here takes precedence over a hub id.

    With `also_registered`, those whose bytes are not here are found as well.
    """
    matches = [(row, "") for row in _find_named(conn, repository)] or _on_hub(conn, repository)
    return RepositoryBases(
        repository,
        [
            (row, revision)
            for row, revision in matches
            if (row.is_stored or also_registered) and caller.may(Right.READ, on=Base(row.name))
        ],
    )


def choose_base(known: RepositoryBases, revision: str) -> BaseRow:
    """Choose the base that a revision means.

    `main` is the base without a recorded revision, or the only base there is.

    Raises:
        NotFound: No base has that revision, or several could be meant.
    """
    if revision == MAIN:
        rows = [row for row, own in known.bases if not own]
        rows = rows or [row for row, _ in known.bases]
    else:
        rows = [row for row, own in known.bases if _is_meant(row, own, revision)]
    if len({row.id for row in rows}) == 1:
        return rows[0]
    choices = ", ".join(f"{row.name} ({own or 'no revision'})" for row, own in known.bases)
    if rows:
        raise NotFound(
            f"{known.repository} may be several bases here: {choices}",
            fix="name the revision that is meant, or the base: its name here is an id as well",
        )
    raise NotFound(
        f"{known.repository} has no revision {revision[:80]!r} here; there is: {choices}",
        fix="leave the revision out, or record it: deltareg base register PATH NAME"
        f" --hub-id {known.repository}@{revision[:80]}",
    )


def is_recorded(known: RepositoryBases, revision: str) -> bool:
    """Whether a revision is literally the hub commit that was recorded for one of the bases."""
    return bool(_COMMIT.fullmatch(revision)) and revision in {own for _, own in known.bases}


def _find_named(conn: sa.Connection, repository: str) -> Sequence[BaseRow]:
    try:
        name = parse_base(repository.lower())
    except InvalidInput:
        return ()
    return base_queries.base_rows(conn, name=name, limit=1)


def _on_hub(conn: sa.Connection, repository: str) -> list[tuple[BaseRow, str]]:
    try:
        hub_id, revision = parse_hub_id(repository)
    except InvalidInput:
        return []
    if revision:  # `ORG/NAME@REV` is no repository
        return []
    return [
        (row, entry.revision)
        for entry in queries.hub_ids_called(conn, hub_id)
        for row in base_queries.base_rows(conn, base_id=entry.base_id, limit=1)
    ]


def _is_meant(row: BaseRow, named: str, revision: str) -> bool:
    if named and named == revision:
        return True
    if not _DIGITS.fullmatch(revision):
        return False
    digest = row.manifest_digest.removeprefix("sha256:")
    return named.startswith(revision) or digest.startswith(revision)
