"""Which worker knows what a run needs: only that one is given it, and what nobody knows waits.

What a run needs are words (`wire.knowledge`): those of its suite, of its kind, and the kinds and
codecs of what it reads. The last two are looked up only for a worker that lacks one which this
server knows, as it happens during an upgrade; else a claim costs no statement more.

A server gives away, and ends, only runs that it knows itself: beside a server of a later release,
whose suites have checks that it does not know, these runs are the other's.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial

import sqlalchemy as sa

from deltareg.db.bases import bases as base_queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.runs import runs as run_queries
from deltareg.db.runs.rows import ClaimableRow, RunRow, ShownRunRow
from deltareg.db.session import read, with_retry
from deltareg.db.sql.row_protocols import present
from deltareg.db.storage.shares import PackHolder
from deltareg.errors import DeltaregError, Unavailable
from deltareg.identity.storage_map import StorageMap
from deltareg.service.registry import Registry
from deltareg.service.runs.needs import needed_by
from deltareg.service.verdicts.suites import document_at_hand, document_of
from deltareg.suites.needs import words_of_suite
from deltareg.suites.suite import built_in, built_in_names
from deltareg.wire import LeaseRequest
from deltareg.wire.knowledge import own_knowledge, tell_words, word_of_suite

_OF_BYTES = ("kind ", "codec ")
_MARK = re.compile(r"run [0-9a-f-]{36}|suite .* sha256:.*")
AnyRun = ClaimableRow | RunRow | ShownRunRow


@dataclass(slots=True)
class KnowingWorker:
    """A worker, and what it knows.

    Attributes:
        knows: The words that it says it knows; None if it does not say.
        unknown: The words that it has shown not to know.
    """

    knows: frozenset[str] | None
    unknown: frozenset[str]
    _beyond: frozenset[str] = field(init=False)  # known to this server and not to the worker

    def __post_init__(self) -> None:
        """Compare the worker with this server."""
        self._beyond = frozenset() if self.knows is None else own_knowledge() - self.knows

    @classmethod
    def of(cls, request: LeaseRequest, unknown: Collection[str] | None) -> "KnowingWorker":
        """Return the worker that asks for work."""
        return cls(None if request.knows is None else frozenset(request.knows), frozenset(unknown or ()))

    def lacks(self, conn: sa.Connection, run: AnyRun) -> frozenset[str]:
        """Return the words that a run needs and the worker, or this server, does not know."""
        words = words_of_run(conn, run)
        if self._is_short_of_bytes:
            words |= _words_of_bytes(conn, run)
        return self._lacking(run, words)

    def is_kept_from(self, registry: Registry, run: ClaimableRow) -> bool:
        """Whether the worker is not given a run."""
        at_hand = None if self._is_short_of_bytes else _words_at_hand(run)
        if at_hand is not None:
            return bool(self._lacking(run, at_hand))
        with read(registry.engine) as conn:
            is_kept, is_of_old = bool(self.lacks(conn, run)), is_forgotten(conn, run)
        if is_of_old:  # of a server of a release before that is gone: next time it can be taken
            with_retry(registry.engine, partial(_renew_suite, run=run))
        return is_kept

    @property
    def _is_short_of_bytes(self) -> bool:
        return any(word.startswith(_OF_BYTES) for word in self._beyond)

    def _lacking(self, run: AnyRun, words: frozenset[str]) -> frozenset[str]:
        lacking = words - own_knowledge()
        if self.knows is not None:
            lacking |= words - self.knows
        return lacking | ({*words, *marks_of(run)} & self.unknown)


def words_of_run(conn: sa.Connection, run: AnyRun) -> frozenset[str]:
    """Return the words that a run needs, but for those of the bytes that it reads."""
    at_hand = _words_at_hand(run)
    if at_hand is not None:
        return at_hand
    document = document_of(conn, run.suite, run.request.get("suite_digest", ""))
    words = frozenset({_suite_word(run)}) if document is None else words_of_suite(document)
    return words | {f"run {run.what}"}


def words_asked(conn: sa.Connection, what: str, suite: str, suite_digest: str) -> frozenset[str] | None:
    """Return the words and the mark of runs of a kind with a suite; None where nobody has that suite any more."""
    words = frozenset({f"run {what}"})
    if what != "verify":
        return words
    document = document_of(conn, suite, suite_digest)
    if document is None:
        return None if suite in built_in_names() else words | {word_of_suite(suite, suite_digest)}
    return words | words_of_suite(document)


def _words_at_hand(run: AnyRun) -> frozenset[str] | None:
    """Return the words of a run if no statement is needed to know them; else None."""
    words = frozenset({f"run {run.what}"})
    if run.what != "verify":
        return words
    document = document_at_hand(run.suite, run.request.get("suite_digest", ""))
    return None if document is None else words | words_of_suite(document)


def marks_of(run: AnyRun) -> list[str]:
    """Return what is noted, beside words, of a worker that did not know a run: the run, and its suite."""
    return [f"run {run.id}", *([_suite_word(run)] if run.what == "verify" else [])]


def tell_lacking(words: Collection[str]) -> str:
    """Name what is not known, without marks that say nothing to people if there are words."""
    plain = [word for word in words if not _MARK.fullmatch(word)]
    return tell_words(plain or ["what it needs"])


def require_known(conn: sa.Connection, run: RunRow) -> None:
    """Leave the end of a run that this server does not know to a server that does.

    Raises:
        Unavailable: It does not; another server may.
    """
    lacking = words_of_run(conn, run) - own_knowledge()
    if lacking and not is_forgotten(conn, run):
        raise Unavailable(
            f"this server's release does not know {tell_lacking(lacking)}",
            fix="a server of a later release takes it: try again",
        )


def is_forgotten(conn: sa.Connection, run: AnyRun) -> bool:
    """Whether a run asks for a built-in suite as it was in a release that stored none; nobody has it any more."""
    is_built_in = run.what == "verify" and run.suite in built_in_names()
    return is_built_in and document_of(conn, run.suite, run.request.get("suite_digest", "")) is None


def _renew_suite(conn: sa.Connection, run: ClaimableRow) -> None:
    """Have a waiting run verify with the suite as it is now."""
    suite = built_in(run.suite)
    run_queries.change_suite(conn, run.id, {**run.request, "suite_digest": str(suite.digest)})


def _suite_word(run: AnyRun) -> str:
    return word_of_suite(run.suite, run.request.get("suite_digest", ""))


def _words_of_bytes(conn: sa.Connection, run: AnyRun) -> frozenset[str]:
    """Return the kinds and codecs of the versions and bases that a run reads."""
    shown = run_queries.run_row(conn, run.id)
    if shown is None:
        return frozenset()
    holders = needed_by(conn, shown)
    ids = {held.row_id for held in holders if not held.is_base} | ({shown.version_id} - {None})
    versions = version_queries.versions_by_ids(conn, [present(one) for one in ids])
    kinds = {f"kind {version.kind}" for version in versions.values()}
    return frozenset(kinds) | {f"codec {codec}" for codec in _codecs(conn, holders)}


def _codecs(conn: sa.Connection, holders: Sequence[PackHolder]) -> set[int]:
    codecs: set[int] = set()
    for held in holders:
        content = base_queries.base_content if held.is_base else version_queries.content
        try:
            raw = content(conn, held.row_id).storage_map
            pieces = StorageMap.decode(raw).pieces.values() if raw else ()
        except DeltaregError:  # damaged: whoever reads it finds out
            continue
        codecs |= {chunk.codec for piece in pieces for chunk in piece.chunks}
    return codecs
