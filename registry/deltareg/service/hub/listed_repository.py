"""A repository as a list shows it: its newest version, and what `main` is for who asks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa

from deltareg.db.channels import channels as channel_queries
from deltareg.db.hub.hub_names import hub_ids_of
from deltareg.db.hub.rows import ListedRepositoryRow
from deltareg.db.lines import search as card_queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.session import read
from deltareg.documents.model_card import ModelCard
from deltareg.refs import LineRef
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Base
from deltareg.service.digest_cache import describe_manifest
from deltareg.service.hub.files import CommitTree
from deltareg.service.hub.main_version import HubLine, Main, pushes_to, unpromoted_mains
from deltareg.service.hub.outcomes import outcomes_of
from deltareg.service.hub.snapshots import commit_of
from deltareg.service.hub.tags import state_tags, tags_of
from deltareg.service.lines.cards import unpack_card
from deltareg.service.registry import Caller, Registry


@dataclass(frozen=True, slots=True)
class ListedRepository:
    """A repository in a list.

    Attributes:
        line: Its name.
        commit: The commit that `main` is for the caller; empty if nothing was promoted yet.
        tags: The tags of its newest version.
        library: The library that wrote that version's files.
        files: The paths of the files of that version.
        card: That version's card, if it has one.
        author: Who pushed that version.
        created_at: When the line began, in microseconds since the epoch.
        changed_at: When that version came.
        is_private: Whether members alone read it.
    """

    line: LineRef
    commit: str
    tags: Sequence[str]
    library: str
    files: Sequence[str]
    card: ModelCard | None
    author: str
    created_at: int
    changed_at: int
    is_private: bool


def describe_repositories(
    conn: sa.Connection, caller: Caller, rows: Sequence[ListedRepositoryRow], *, main: Main
) -> Mapping[int, ListedRepository]:
    """Describe lines by row id, with a few queries for all of them."""
    ids = [row.newest_id for row in rows]
    versions = version_queries.versions_by_ids(conn, ids)
    cards = {row_id: unpack_card(raw) for row_id, raw in card_queries.cards_of(conn, ids).items()}
    hub_ids = hub_ids_of(conn, {row.base_id for row in versions.values() if row.base_id is not None})
    commits = _main_commits(conn, caller, rows, main)
    outcomes = outcomes_of(conn, ids)
    listed: dict[int, ListedRepository] = {}
    for row in rows:
        version, card = versions[row.newest_id], cards.get(row.newest_id)
        summary = describe_manifest(version.manifest_digest, partial(_manifest, conn, version.id))
        library = summary.source.partition(" ")[0]
        base = version.base_name if version.base_name and caller.may(Right.READ, on=Base(version.base_name)) else ""
        listed[row.id] = ListedRepository(
            line=LineRef(row.namespace, row.name),
            commit=commits.get(row.id, ""),
            tags=tags_of(
                library=library,
                kind=version.kind,
                base=base,
                hub_ids=hub_ids.get(version.base_id or 0, ()) if base else (),
                card=card,
                labels=version.labels,
                states=state_tags(
                    version.number,
                    outcomes[version.id],
                    is_revoked=version.revoked_at is not None,
                    is_deprecated=bool(version.deprecation or version.line_deprecation),
                ),
            ),
            library=library or (card.library if card is not None else ""),
            files=summary.files,
            card=card,
            author=version.maker or "registry",
            created_at=row.created_at,
            changed_at=version.created_at,
            is_private=row.visibility == "private",
        )
    return listed


def _manifest(conn: sa.Connection, version_id: int) -> bytes:
    return version_queries.content(conn, version_id).manifest


def _main_commits(
    conn: sa.Connection, caller: Caller, rows: Sequence[ListedRepositoryRow], main: Main
) -> dict[int, str]:
    """Return the commit that `main` is of each line, as `main_version` says; none where it is nothing."""
    newest = {
        row.id: row.newest_id for row in rows if main == "newest" or pushes_to(caller, LineRef(row.namespace, row.name))
    }
    others = {row.id: HubLine(LineRef(row.namespace, row.name), row.id) for row in rows if row.id not in newest}
    served = {
        each.delta_id: each.version
        for each in channel_queries.pointers(conn, others)
        if each.name == caller.current_channel(others[each.delta_id].line, "prod")
    }
    unpromoted = unpromoted_mains(conn, caller, [each for row_id, each in others.items() if row_id not in served])
    chosen = {**newest, **served, **unpromoted}
    digests = version_queries.versions_by_ids(conn, chosen.values())
    return {row_id: commit_of(digests[version_id].manifest_digest) for row_id, version_id in chosen.items()}


def look_at_tags(registry: Registry, tree: CommitTree) -> tuple[list[str], ModelCard | None]:
    """Return the tags and the card of a commit; a draft and a base have no card here."""
    snapshot = tree.snapshot
    card, hub_ids = None, list[str]()
    if snapshot.held.row_id and not snapshot.held.is_base:
        with read(registry.engine) as conn:
            document = card_queries.card_of(conn, snapshot.held.row_id)
            base_id = version_queries.version_by_id(conn, snapshot.held.row_id).base_id
            card = None if document is None else unpack_card(document)
            hub_ids = hub_ids_of(conn, {base_id}).get(base_id, []) if snapshot.base and base_id else []
    tags = tags_of(
        library=tree.library,
        kind=tree.kind,
        base=snapshot.base,
        hub_ids=hub_ids,
        card=card,
        labels=snapshot.labels,
        states=snapshot.states,
    )
    return tags, card
