"""Pushed suites, and the files of their probe sets."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import sqlalchemy as sa

from deltareg.db.sql.fetch import fetch_all, fetch_one
from deltareg.db.sql.upsert import insert
from deltareg.db.tables import principals, release_suites, suite_files, suite_uses, suites
from deltareg.db.verdicts.rows import SuiteRow


def newest_suite(conn: sa.Connection, name: str) -> SuiteRow | None:
    """Find the newest version of a suite."""
    query = _select().where(suites.c.name == name).order_by(suites.c.number.desc()).limit(1)
    return fetch_one(conn, query, SuiteRow)


def suite_by_digest(conn: sa.Connection, digest: str) -> SuiteRow | None:
    """Find a suite by the digest of its document, the newest if it was pushed more than once."""
    query = _select().where(suites.c.digest == digest).order_by(suites.c.number.desc()).limit(1)
    return fetch_one(conn, query, SuiteRow)


def suite_versions(conn: sa.Connection, name: str, *, before: int | None = None, limit: int = 50) -> Sequence[SuiteRow]:
    """List the versions of a suite, newest first."""
    query = _select().where(suites.c.name == name)
    if before is not None:
        query = query.where(suites.c.number < before)
    return fetch_all(conn, query.order_by(suites.c.number.desc()).limit(limit), SuiteRow)


def newest_suites(conn: sa.Connection) -> Sequence[SuiteRow]:
    """List the newest version of every suite by name."""
    newest = sa.select(sa.func.max(suites.c.id)).group_by(suites.c.name)
    return fetch_all(conn, _select().where(suites.c.id.in_(newest)).order_by(suites.c.name), SuiteRow)


def add_suite(
    conn: sa.Connection, *, name: str, number: int, digest: str, document: bytes, created_by: int
) -> int | None:
    """Insert a version of a suite and return its id; None if the number was taken meanwhile."""
    row = insert(conn, suites).values(name=name, number=number, digest=digest, document=document, created_by=created_by)
    added = conn.execute(row.on_conflict_do_nothing().returning(suites.c.id)).first()
    return None if added is None else int(added.id)


def add_file(conn: sa.Connection, digest: str, content: bytes) -> None:
    """Insert the file of a probe set unless it is stored already."""
    row = insert(conn, suite_files).values(digest=digest, size_bytes=len(content), content=content)
    conn.execute(row.on_conflict_do_nothing(index_elements=["digest"]))


def use_files(conn: sa.Connection, suite_id: int, digests: Iterable[str]) -> None:
    """Link stored files to a suite."""
    for digest in sorted(set(digests)):
        file_id = sa.select(suite_files.c.id).where(suite_files.c.digest == digest)
        conn.execute(sa.insert(suite_uses).values(suite_id=suite_id, file_id=file_id.scalar_subquery()))


def known_files(conn: sa.Connection, digests: Iterable[str]) -> set[str]:
    """Return which of some files are stored."""
    query = sa.select(suite_files.c.digest).where(suite_files.c.digest.in_(sorted(set(digests))))
    return set(conn.execute(query).scalars())


def file_content(conn: sa.Connection, digest: str) -> bytes | None:
    """Read the file of a probe set."""
    query = sa.select(suite_files.c.content).where(suite_files.c.digest == digest)
    return conn.execute(query).scalar()


def release_suite(conn: sa.Connection, name: str, digest: str) -> bytes | None:
    """Return the document of a built-in suite of a release that served here; None if there was none."""
    is_it = sa.and_(release_suites.c.digest == digest, release_suites.c.name == name)
    return conn.execute(sa.select(release_suites.c.document).where(is_it)).scalar()


def kept_release_suites(conn: sa.Connection, digests: Iterable[str]) -> set[str]:
    """Return which built-in suites are stored, of some digests."""
    query = sa.select(release_suites.c.digest).where(release_suites.c.digest.in_(sorted(digests)))
    return set(conn.execute(query).scalars())


def keep_release_suites(conn: sa.Connection, documents: Mapping[str, tuple[str, bytes]]) -> None:
    """Store the built-in suites of a release, name and document by digest."""
    for digest, (name, document) in sorted(documents.items()):
        row = insert(conn, release_suites).values(digest=digest, name=name, document=document)
        conn.execute(row.on_conflict_do_nothing(index_elements=["digest"]))


@cache
def _select() -> sa.Select[*tuple[object, ...]]:
    return sa.select(suites, principals.c.name.label("maker")).outerjoin(
        principals, principals.c.id == suites.c.created_by
    )
