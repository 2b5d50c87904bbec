"""Suites: pushed as new versions, found by name as they are now, or by digest as they were.

The built-in suites have names of their own, which nobody else can use. All namespaces share suites:
whoever may read anything may read them.
"""

import base64
from collections.abc import Callable, Mapping

import sqlalchemy as sa

from deltareg.db.lines import deltas as delta_queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.session import read, try_transaction, with_retry
from deltareg.db.verdicts import suites as queries
from deltareg.db.verdicts.rows import SuiteRow
from deltareg.digest import sha256_of
from deltareg.errors import Conflict, InvalidInput, NotFound, StaleRevision, Unavailable
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, SHARED
from deltareg.service.clock import rfc3339
from deltareg.service.events import Action
from deltareg.service.paging import check_limit, page, read_number_cursor
from deltareg.service.registry import Caller, Registry
from deltareg.suites.consistency import named_references, refuse_contradictions
from deltareg.suites.suite import Suite, built_in, built_in_names, read_stored_suite, read_suite
from deltareg.wire import Page, SuiteInfo, SuitePush
from deltareg.wire.suites import describe_parsed

MOST_FILE_BYTES = 32 << 20
_MOST_DOCUMENTS = 64
_DOCUMENTS: dict[str, bytes] = {}  # by digest, so none is ever out of date


def push_suite(
    registry: Registry,
    caller: Caller,
    request: SuitePush,
    *,
    is_seen: Callable[[str], bool] | None = None,
    is_trial: bool = False,
) -> SuiteInfo:
    """Store a new version of a suite; pushing the newest version again changes nothing.

    Args:
        registry: The database and the store.
        caller: Who pushes.
        request: The document, and the files of its probe sets.
        is_seen: Whether the caller has seen the suite with this digest, which is empty for no
            suite; None if it does not matter.
        is_trial: Whether to only return what would be stored.

    Raises:
        InvalidInput: The document is no suite or does not hold together, its name is that of a
            built-in suite, it compares with a version that is not there, or a file does not fit.
        Conflict: A file of its probe sets is neither here nor in the request, or somebody pushed
            the same suite at the same time.
        StaleRevision: The suite is not the one that the caller has seen.
    """
    caller.require(Right.ADMIN, on=EVERYTHING)
    suite = read_suite(request.document.encode())
    if suite.name in built_in_names():
        raise InvalidInput(f"{suite.name} is a built-in suite", fix=f"give it another name, such as my-{suite.name}")
    names = _named_files(suite)
    contents = _files(request.files, names)

    def transaction(conn: sa.Connection) -> SuiteInfo:
        newest = queries.newest_suite(conn, suite.name)
        if newest is not None and newest.digest == str(suite.digest):
            return describe_suite(suite, newest)
        if is_seen is not None and not is_seen("" if newest is None else newest.digest):
            raise StaleRevision(
                f"suite {suite.name} was changed meanwhile", fix=f"look again: deltareg suite show {suite.name} --yaml"
            )
        refuse_contradictions(suite)
        _refuse_absent_references(conn, suite)
        for digest, content in contents.items():
            queries.add_file(conn, digest, content)
        unknown_files = names.keys() - queries.known_files(conn, names)
        if unknown_files:
            raise Conflict(
                f"the registry does not have {names[min(unknown_files)]}",
                fix="push the suite again, with its files beside it",
            )
        number = 1 if newest is None else newest.number + 1
        suite_id = queries.add_suite(
            conn,
            name=suite.name,
            number=number,
            digest=str(suite.digest),
            document=suite.document,
            created_by=caller.principal_id,
        )
        if suite_id is None:
            raise Conflict(f"somebody pushed {suite.name} v{number} just now", fix="push it again")
        queries.use_files(conn, suite_id, names)
        before = None if newest is None else {"digest": newest.digest, "version": newest.number}
        after = {"digest": str(suite.digest), "version": number}
        caller.record(conn, Action.SUITE_PUSH, f"suite/{suite.name}", on=EVERYTHING, before=before, after=after)
        row = queries.newest_suite(conn, suite.name)
        return describe_suite(suite, row).model_copy(update={"created": True})

    return (try_transaction if is_trial else with_retry)(registry.engine, transaction)


def _refuse_absent_references(conn: sa.Connection, suite: Suite) -> None:
    """Refuse a suite that compares with a version that is not there: it could never be judged."""
    for check, ref in named_references(suite):
        line = delta_queries.delta_row(conn, ref.line.namespace, ref.line.name)
        version = None if line is None else version_queries.find_version(conn, line.id, number=ref.version)
        if version is None or version.deleted_at is not None:
            raise InvalidInput(
                f"check {check}: there is no {ref} to compare with",
                fix="push that version first, or write `reference: best`",
            )


def list_suites(registry: Registry, caller: Caller) -> Page[SuiteInfo]:
    """List all suites as they are now, built-in suites first."""
    caller.require(Right.READ, on=SHARED)
    with read(registry.engine) as conn:
        rows = queries.newest_suites(conn)
    ours = [describe_suite(built_in(name), None) for name in built_in_names()]
    return Page(items=[*ours, *(describe_suite(read_stored_suite(row.document), row) for row in rows)])


def list_versions(registry: Registry, caller: Caller, name: str, *, cursor: str | None, limit: int) -> Page[SuiteInfo]:
    """List the versions of a suite, newest first."""
    caller.require(Right.READ, on=SHARED)
    before = read_number_cursor(cursor)
    with read(registry.engine) as conn:
        find_suite(conn, name)
        rows = queries.suite_versions(conn, name, before=before, limit=check_limit(limit) + 1)
    return page(
        rows, limit, show=lambda row: describe_suite(read_stored_suite(row.document), row), key=lambda row: row.number
    )


def show_suite(registry: Registry, caller: Caller, name: str, *, digest: str | None = None) -> SuiteInfo:
    """Show a suite with its document, as it is now or as it was.

    Raises:
        NotFound: There is no suite of that name, or it never had that digest.
    """
    caller.require(Right.READ, on=SHARED)
    with read(registry.engine) as conn:
        suite = find_suite(conn, name) if digest is None else suite_of(conn, name, digest)
        row = queries.suite_by_digest(conn, str(suite.digest))
    info = describe_suite(suite, row)
    return info.model_copy(update={"document": suite.document.decode()})


def read_file(registry: Registry, caller: Caller, digest: str) -> bytes:
    """Read the file of a probe set.

    Raises:
        NotFound: There is no file with that digest.
    """
    caller.require(Right.READ, on=SHARED)
    with read(registry.engine) as conn:
        content = queries.file_content(conn, digest)
    if content is None:
        raise NotFound(f"there is no probe set {digest[:80]}", fix="deltareg suite ls")
    return content


def find_suite(conn: sa.Connection, name: str) -> Suite:
    """Return a suite as it is now.

    Raises:
        NotFound: There is no suite of that name.
    """
    if name in built_in_names():
        return built_in(name)
    row = queries.newest_suite(conn, name)
    if row is None:
        names = ", ".join([*built_in_names(), *(one.name for one in queries.newest_suites(conn))])
        raise NotFound(f"there is no suite {name[:80]!r}", fix=f"suites: {names}")
    return read_stored_suite(row.document)


def suite_of(conn: sa.Connection, name: str, digest: str) -> Suite:
    """Return a suite as it was when its document had a digest.

    Raises:
        NotFound: The suite never had that digest, or it is a built-in suite of a release that never
            served here.
        Unavailable: It is of a later release, and asks for what this one does not know; another server may.
    """
    if name in built_in_names() and str(built_in(name).digest) == digest:
        return built_in(name)
    document = document_of(conn, name, digest)
    if document is None:
        raise NotFound(f"suite {name[:80]} was never {digest[:80]}", fix=f"deltareg suite show {name}")
    try:
        return read_stored_suite(document)
    except InvalidInput as error:
        raise Unavailable(
            f"suite {name[:80]} is of a later release, and this server does not know all of it: {error.message}",
            fix="a server of that release does: try again",
        ) from error


def document_at_hand(name: str, digest: str) -> bytes | None:
    """Return the document of a suite with a digest, if it is known without a statement."""
    if name in built_in_names() and str(built_in(name).digest) == digest:
        return built_in(name).document
    return _DOCUMENTS.get(digest)


def document_of(conn: sa.Connection, name: str, digest: str) -> bytes | None:
    """Return the document of a suite with a digest, of whichever release; None if nobody stored it."""
    known = document_at_hand(name, digest)
    if known is not None:
        return known
    row = queries.suite_by_digest(conn, digest)
    document = row.document if row is not None and row.name == name else queries.release_suite(conn, name, digest)
    if document is not None:
        if len(_DOCUMENTS) >= _MOST_DOCUMENTS:
            _DOCUMENTS.pop(next(iter(_DOCUMENTS)), None)
        _DOCUMENTS[digest] = document
    return document


def keep_own_suites(registry: Registry) -> None:
    """Store the built-in suites of this release, for servers and workers of others that meet its runs."""
    own = {str(built_in(name).digest): (name, built_in(name).document) for name in built_in_names()}
    with read(registry.engine) as conn:
        absent = own.keys() - queries.kept_release_suites(conn, own)
    if absent:
        with_retry(registry.engine, lambda conn: queries.keep_release_suites(conn, {one: own[one] for one in absent}))


def describe_suite(suite: Suite, row: SuiteRow | None) -> SuiteInfo:
    """Describe a suite; without a row it is a built-in one."""
    info = describe_parsed(suite, is_built_in=row is None)
    if row is None:
        return info
    origin = {"version": row.number, "created_at": rfc3339(row.created_at), "created_by": row.maker or "registry"}
    return info.model_copy(update=origin)


def _files(given: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, bytes]:
    """Decode the files of a request, by digest; the suite must name each of them."""
    files: dict[str, bytes] = {}
    for name, text in given.items():
        try:
            content = base64.b64decode(text, validate=True)
        except ValueError as error:
            raise InvalidInput(f"the file {name[:80]!r} is no base64") from error
        digest = str(sha256_of(content))
        if digest not in wanted:
            raise InvalidInput(
                f"the suite names no file with the content of {name[:80]!r}",
                fix="let deltareg suite push write the digests",
            )
        files[digest] = content
    if sum(map(len, files.values())) > MOST_FILE_BYTES:
        raise InvalidInput(f"the files of a suite have at most {MOST_FILE_BYTES >> 20} MiB in all")
    return files


def _named_files(suite: Suite) -> dict[str, str]:
    """Return the names of a suite's files, by digest."""
    names: dict[str, str] = {}
    for one in suite.sets.values():
        if one.file and (one.digest is None or (one.is_task and not one.data)):
            raise InvalidInput(
                f"{one.file} has no digest, or names data that has none",
                fix="let deltareg suite push write the digests",
            )
        names |= {str(digest): name for name, digest in one.files.items()}
    return names
