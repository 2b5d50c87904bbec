"""From a reference to a row, with an error that lists the choices when there is none.

What a caller has no right on is reported as not existing. That happens here, for every use case.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.access.bearers import live_token
from deltareg.db.bases import bases as base_queries
from deltareg.db.bases import variants as variant_queries
from deltareg.db.bases.rows import BaseRow
from deltareg.db.channels import channels as channel_queries
from deltareg.db.channels.rows import ChannelRow
from deltareg.db.lines import deltas as delta_queries
from deltareg.db.lines import resolve as resolve_queries
from deltareg.db.lines import versions as queries
from deltareg.db.lines.resolve import Told
from deltareg.db.lines.rows import LineRow
from deltareg.db.lines.version_rows import ResolvedRow, VersionRow
from deltareg.errors import Blocked, InvalidInput, NotFound
from deltareg.refs import NO_LINE, LineRef, Ref, plain_base
from deltareg.service.authority.grants import Right
from deltareg.service.authority.refusals import absent
from deltareg.service.authority.resources import SOMEWHERE, Base
from deltareg.service.describe import line_of, ref_of
from deltareg.service.registry import Caller
from deltareg.suites.suite import DEFAULT_SUITE, built_in
from deltareg.words import BareName

Bare = BareName
_SHOWN = 8


def find_line(
    conn: sa.Connection, caller: Caller, line: LineRef, *, lock: bool = False, also_deleted: bool = False
) -> LineRow:
    """Find a delta line.

    Raises:
        NotFound: The caller sees no line of that name.
        Blocked: It is deleted.
    """
    if not caller.sees(line):
        raise absent(line)
    row = delta_queries.delta_row(conn, line.namespace, line.name, lock=lock)
    if row is None:
        raise absent(line)
    if row.deleted_at is not None and not also_deleted:
        raise Blocked(f"{line} is deleted", fix=f"bring it back, while its bytes are there: deltareg restore {line}")
    return row


def find_base(conn: sa.Connection, caller: Caller, name: str) -> BaseRow:
    """Find a base by name.

    Raises:
        NotFound: The caller sees no base of that name.
    """
    name = caller.current_base(name)
    if not caller.sees(Base(name)):
        raise absent(Base(name))
    rows = base_queries.base_rows(conn, name=plain_base(name), limit=1)
    # A name that it had before lies in the namespace that it lies in.
    if not rows or not caller.sees(Base(rows[0].name)):
        raise absent(Base(name))
    return rows[0]


def find_variant(conn: sa.Connection, caller: Caller, name: str, *, base_id: int | None) -> BaseRow:
    """Find a variant of a base by its name.

    Raises:
        NotFound: There is no base of that name.
        InvalidInput: The base of that name is no variant of that base.
    """
    row = find_base(conn, caller, name)
    if row.scheme is None or row.full_id != base_id:
        names = ", ".join(one.name for one in variant_queries.variants_of(conn, base_id))
        raise InvalidInput(
            f"{name} is no variant of the base of this version",
            fix=f"name one of {names}"
            if names
            else "deltareg base register PATH NAME --variant-of ROOT --quantised SCHEME",
        )
    return row


def find_version(conn: sa.Connection, caller: Caller, ref: Ref, *, bare: Bare) -> VersionRow:
    """Find the version that a reference means; deleted versions are found by number only.

    Args:
        conn: A transaction.
        caller: Who asks.
        ref: The reference.
        bare: What `ns/name` alone means here: the newest version, or the one on `prod`.

    Raises:
        NotFound: There is no such line, version, channel or revision, or the channel serves
            nothing.
    """
    ref = caller.current_ref(ref)
    if ref.channel is not None or (ref.is_bare and bare == "prod"):
        return _on_channel(conn, caller, ref)
    if ref.line == NO_LINE:
        return _by_digest(conn, caller, ref)
    if not caller.sees(ref.line):
        raise absent(ref.line)
    if ref.prefix is not None:
        return _by_digest(conn, caller, ref)
    row = queries.find_version_named(
        conn,
        ref.line.namespace,
        ref.line.name,
        number=ref.version,
        semver=ref.label,
        digest=None if ref.digest is None else str(ref.digest),
    )
    if row is None:
        find_line(conn, caller, ref.line)
        raise NotFound(f"there is no version {ref}", fix=f"deltareg log {ref.line}")
    return row


def look_up(conn: sa.Connection, token_hash: str, *, ref: Ref, bare: Bare) -> Told:
    """Look up a token and the version that a reference means, in one statement.

    For references that one statement cannot express, it finds only the token. Whether the bearer
    may read the version is not checked yet: pass the result to `resolve_version`.
    """
    shown_suite = _shown_suite()
    line = ref.line.namespace, ref.line.name
    if ref.line == NO_LINE or ref.prefix is not None:
        return live_token(conn, token_hash), ()
    if ref.version is not None:
        return resolve_queries.by_number(conn, token_hash, line, ref.version, shown_suite)
    if ref.is_bare and bare == "newest":
        return resolve_queries.newest_of(conn, token_hash, line, shown_suite)
    if ref.is_bare or (ref.channel is not None and ref.revision is None and not ref.back):
        return resolve_queries.on_channel(conn, token_hash, line, ref.channel or "prod", shown_suite)
    return live_token(conn, token_hash), ()


def resolve_version(
    conn: sa.Connection, caller: Caller, ref: Ref, *, bare: Bare, found: Sequence[ResolvedRow] = ()
) -> Sequence[ResolvedRow]:
    """Find the version that a reference means, with all that is shown of it.

    Args:
        conn: A transaction.
        caller: Who asks; it must be allowed to read the line.
        ref: The reference.
        bare: What `ns/name` alone means here.
        found: The rows that `look_up` returned for them.

    Raises:
        Forbidden: The caller may not read the line.
        NotFound: As in `find_version`, which is used if `found` is empty.
    """
    if ref.line == NO_LINE:
        caller.require(Right.READ, on=SOMEWHERE)
        row = find_version(conn, caller, ref, bare=bare)
        caller.require(Right.READ, on=line_of(row))
        return resolve_queries.by_row_id(conn, row.id, _shown_suite())
    ref = caller.current_ref(ref)
    caller.require(Right.READ, on=ref.line)
    if found:
        return found
    row = find_version(conn, caller, ref, bare=bare)
    return resolve_queries.by_row_id(conn, row.id, _shown_suite())


def find_channel(conn: sa.Connection, caller: Caller, ref: LineRef, name: str, *, lock: bool = False) -> ChannelRow:
    """Find a channel of a line; with `lock`, it cannot move until the transaction ends.

    Raises:
        NotFound: The caller sees no such line, or the line has no such channel; then the error
            lists its channels.
    """
    name = caller.current_channel(ref, name)
    if not lock and caller.sees(ref):
        channel = channel_queries.channel_named(conn, ref.namespace, ref.name, name)
        if channel is not None:
            return channel
    line = find_line(conn, caller, ref)
    row = channel_queries.channel_row(conn, line.id, name, lock=lock)
    if row is None:
        names = ", ".join(channel.name for channel in channel_queries.channel_rows(conn, line.id))
        raise NotFound(
            f"{ref} has no channel {name!r}", fix=f"channels: {names}; or make it: deltareg channel create {ref} {name}"
        )
    return row


def _by_digest(conn: sa.Connection, caller: Caller, ref: Ref) -> VersionRow:
    """Find the one version, of a line or of all that the caller sees, whose digest is or begins so."""
    begins = str(ref.digest or ref.prefix)
    if ref.line == NO_LINE:
        rows = queries.versions_by_prefix(conn, begins, sight=caller.sight, limit=_SHOWN + 1)
    else:
        line = ref.line.namespace, ref.line.name
        rows = queries.versions_by_prefix(conn, begins, line=line, limit=_SHOWN + 1)
    if len(rows) > 1:
        names = ", ".join(ref_of(row) for row in rows[:_SHOWN])
        more = " and more" if len(rows) > _SHOWN else ""
        raise InvalidInput(f"{begins} is more than one version: {names}{more}", fix=f"name one: {ref_of(rows[0])}")
    if not rows:
        if ref.line != NO_LINE:
            find_line(conn, caller, ref.line)
        where = "" if ref.line == NO_LINE else f" of {ref.line}"
        fix = f"deltareg log {ref.line}" if where else f"deltareg search {begins}"
        raise NotFound(f"the digest of no version{where} begins with {begins}", fix=fix)
    return rows[0]


def _on_channel(conn: sa.Connection, caller: Caller, ref: Ref) -> VersionRow:
    name = ref.channel or caller.current_channel(ref.line, "prod")
    channel = find_channel(conn, caller, ref.line, name)
    number = channel.revision if ref.revision is None else ref.revision
    if ref.back:
        revision = channel_queries.version_back(conn, channel.id, number=number, back=ref.back)
    else:
        revision = channel_queries.revision_at(conn, channel.id, number=number)
    if revision is None or revision.version_id is None:
        raise NotFound(
            f"nothing is on {ref.line}@{channel.name}" + (f" at #{number}" if number else ""),
            fix=_choices(conn, channel, ref.line),
        )
    return queries.version_by_id(conn, revision.version_id)


def _shown_suite() -> resolve_queries.ShownSuite:
    suite = built_in(DEFAULT_SUITE)
    return suite.name, str(suite.digest)


def _choices(conn: sa.Connection, channel: ChannelRow, ref: LineRef) -> str:
    rows = queries.version_rows(conn, channel.delta_id, before=None, limit=5)
    if not rows:
        return f"push a version first: deltareg push PATH {ref} --base NAME"
    refs = ", ".join(ref_of(row) for row in rows)
    promote = f"deltareg promote {ref_of(rows[0])} --channel {channel.name}"
    return f"name a version ({refs}), or promote one: {promote}"
