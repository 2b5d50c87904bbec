"""The audit log of a registry: written to a file, and verified from the registry or the file."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path

from deltareg.client.context import Context
from deltareg.client.results.log_report import LogFinding, LogReport, RowProof
from deltareg.client.trust.kept_verification import keep_verified, recall_verified
from deltareg.client.trust.last_checkpoint import hold_to, recall_checkpoint, said_in, see_checkpoint, server_keys
from deltareg.client.trust.trusted_keys import TrustedKeys, pin_followed, pinned_keys, trusted_keys
from deltareg.errors import BadSignature, IntegrityFailure, InvalidInput, Unavailable
from deltareg.signing.keys import PublicKey
from deltareg.trail.check import LogCheck, LogDefect, LogEvidence
from deltareg.trail.checkpoint import open_checkpoint
from deltareg.trail.excerpt import FORM as EXCERPT
from deltareg.trail.excerpt import ExcerptCheck
from deltareg.trail.leaves import STATEMENT, hash_of
from deltareg.trail.lines import Line, check_lines, read_lines, write_line
from deltareg.trail.log_copy import KeptLog
from deltareg.trail.merkle import check_inclusion
from deltareg.trail.statements import check_change
from deltareg.trail.verified import VerifiedLog
from deltareg.wire import InclusionProof, TrailExcerpt, TrailPage
from deltareg.wire.log_lines import PART, log_lines

_EXCERPT_PART = 200


def fetch_lines(context: Context, *, position: int | None = None) -> Iterator[Line]:
    """Yield the lines of the registry's log, from a position or the beginning on."""

    def read(after: str | None) -> TrailPage:
        return context.api.get(
            "/audit/log", TrailPage, after=after, limit=PART, position=position if after is None else None
        )

    return log_lines(read, server=context.config.server)


def write_log(context: Context, path: Path) -> int:
    """Write the log to a file, whole or not at all; return its number of rows."""
    return _write_lines(fetch_lines(context), path)


def write_excerpt(context: Context, path: Path, asked: Mapping[str, str]) -> int:
    """Write rows of the log with their proofs to a file, whole or not at all; return how many.

    Args:
        context: The registry.
        path: The file.
        asked: Which rows: values of the filters of the audit trail, by name.

    Raises:
        Unavailable: A row that was asked for is not sealed yet.
    """
    return _write_lines(_excerpt_lines(context, asked), path)


def _excerpt_lines(context: Context, asked: Mapping[str, str]) -> Iterator[Line]:
    cursor: str | None = None
    note, rows = "", 0
    while True:
        part = context.api.get("/audit/excerpt", TrailExcerpt, cursor=cursor, limit=_EXCERPT_PART, **asked)
        if cursor is None:
            server = context.config.server
            yield {"form": EXCERPT, "origin": part.checkpoint.origin, "server": server, "asked": dict(asked)}
        if part.unsealed:
            raise Unavailable(f"{part.unsealed} of these rows are not sealed yet", fix="ask again in some seconds")
        if part.checkpoint.note != note:
            note = part.checkpoint.note
            rotations = [row.model_dump(mode="json") for row in part.checkpoint.rotations]
            yield {"checkpoint": note, **({"rotations": rotations} if rotations else {})}
        for row in part.rows:
            line = row.model_dump(mode="json")
            yield line if row.statement else {k: v for k, v in line.items() if k != "statement"}
        rows, cursor = rows + len(part.rows), part.after
        if cursor is None:
            yield {"end": True, "rows": rows}
            return


def _write_lines(lines: Iterable[Line], path: Path) -> int:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    rows = 0
    try:
        with draft.open("w", encoding="utf-8") as file:
            for line in lines:
                file.write(write_line(line))
                rows += "position" in line
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return rows


def verify_log(
    context: Context,
    path: Path | None = None,
    *,
    keys_file: Path | None = None,
    against: Sequence[Path] = (),
    whole: bool = False,
) -> LogReport:
    """Verify the log of the registry, or one in a file without any server.

    The log is checked against the registry's last checkpoint that this machine saw, and against
    files with checkpoints. Of the registry's own log, only rows since the last verification are
    read, unless that was long ago or something is wrong with them.

    Args:
        context: The registry.
        path: The log's file; None for the registry itself.
        keys_file: The file with the keys to trust; None for the keys pinned for the registry.
        against: Files with checkpoints that were kept elsewhere; all rows are read to compare with them.
        whole: Whether to read all rows in any case.

    Raises:
        InvalidInput: A file does not hold what it should.
        BadSignature: A checkpoint to check against has no trusted signature.
    """
    trusted = _load_trusted_keys(context, keys_file, is_offline=path is not None)
    keys, revoked = server_keys(trusted), server_keys(trusted, revoked=True)
    server = context.config.server
    evidence, names = _load_known(recall_checkpoint(server), against, [*keys, *revoked])
    since = None if whole or against or path is not None else recall_verified(server, keys)
    if since is not None and (report := _verify_since(context, since, keys, revoked, evidence, names)):
        return report
    context_file = nullcontext() if path is None else path.open(encoding="utf-8", errors="replace")
    try:
        with context_file as file:
            lines = fetch_lines(context) if file is None else read_lines(file)
            nothing: dict[str, object] = {}
            first = next(lines, nothing)
            if first.get("form") == EXCERPT:
                return _check_excerpt(first, lines, keys, evidence, names)
            check = check_lines(chain([first], lines), keys, evidence, revoked=revoked)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is no export of the log") from error
    if path is None:
        keep_verified(server, check, None)
        _pin_new(context, check)
    return _report(check, names)


def _verify_since(
    context: Context,
    since: VerifiedLog,
    keys: Sequence[PublicKey],
    revoked: Sequence[PublicKey],
    evidence: LogEvidence,
    names: list[str],
) -> LogReport | None:
    """Verify the rows behind those that were verified; None if it takes all rows to say more.

    A checkpoint that is older than that was compared with then.
    """
    head = since.checkpoint
    newer = [each for each in evidence.checkpoints if each[1].size >= head.size or each[1].origin != head.origin]
    lines = fetch_lines(context, position=head.size)
    begin = list(islice(lines, 2))
    if any(line.get("position", head.size) != head.size for line in begin):
        return None  # a server of before gives the log from its beginning on
    try:
        check = check_lines(chain(begin, lines), keys, LogEvidence(newer), revoked=revoked, since=since)
    except BadSignature:  # it is another log by now
        return None
    if check.findings:
        return None
    keep_verified(context.config.server, check, since)
    _pin_new(context, check)
    at = datetime.fromtimestamp(since.whole_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return _report(check, names).model_copy(update={"read_before": head.size, "read_at": at})


def _pin_new(context: Context, check: LogCheck) -> None:
    """Trust the keys that trusted ones vouch for in a log that holds."""
    if check.new_keys and not check.findings:
        pin_followed(context, check.new_keys)


def prove_row(context: Context, number: int) -> RowProof:
    """Have the registry prove that a row is in its log, and verify the proof.

    Raises:
        LogRewritten: The log is not the one that this machine saw.
        IntegrityFailure: The proof does not hold.
        NotFound: The row is not there, or not sealed yet.
    """
    see_checkpoint(context)
    proof = context.api.get(f"/audit/rows/{number}/proof", InclusionProof)
    keys = server_keys(trusted_keys(context)[0])
    try:
        signed = open_checkpoint(proof.checkpoint.note, keys)
    except BadSignature:  # a rotation came in between
        see_checkpoint(context)
        keys = server_keys(trusted_keys(context)[0])
        signed = open_checkpoint(proof.checkpoint.note, keys)
    head, leaf = signed.checkpoint, proof.leaf
    checkpoint = recall_checkpoint(context.config.server)
    if checkpoint is not None:
        hold_to(context, said_in(checkpoint), head)
    if leaf.get("id") != number:
        raise IntegrityFailure("the registry proves another row than was asked for")
    try:
        hashes = [bytes.fromhex(each) for each in proof.hashes]
    except ValueError as error:
        raise IntegrityFailure("the registry's proof is none") from error
    check_inclusion(hash_of(leaf), proof.position, head.size, hashes, root=head.root)
    if STATEMENT in leaf:
        check_change(proof.statement.encode(), leaf, keys)
    return RowProof(
        row=number,
        position=proof.position,
        action=str(leaf.get("action")),
        subject=str(leaf.get("subject")),
        actor=str(leaf.get("actor")),
        origin=head.origin,
        size=head.size,
        root=head.root.hex(),
        keyid=signed.key.keyid,
        is_signed=STATEMENT in leaf,
    )


def _load_trusted_keys(context: Context, keys_file: Path | None, *, is_offline: bool) -> TrustedKeys:
    if keys_file is not None:
        return TrustedKeys.read(keys_file)
    pinned = pinned_keys(context.config.server) if is_offline else None
    return pinned or trusted_keys(context)[0]


def _load_known(seen: str | None, against: Sequence[Path], keys: Sequence[PublicKey]) -> tuple[LogEvidence, list[str]]:
    evidence, names = LogEvidence(), [str(path) for path in against]
    if seen is not None:
        names.insert(0, "what this machine saw last")
        evidence.checkpoints.append((names[0], said_in(seen)))
    for path in against:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"{path} cannot be read as checkpoints: {error}") from error
        part = KeptLog.read(text, keys, where=str(path)).known
        evidence.checkpoints += part.checkpoints
        evidence.leaves |= part.leaves
    return evidence, names


def _check_excerpt(
    first: Line, lines: Iterable[Line], keys: Sequence[PublicKey], evidence: LogEvidence, against: list[str]
) -> LogReport:
    check = ExcerptCheck(first, keys, evidence)
    check.read(lines)
    last = check.last
    size = 0 if last is None else last.checkpoint.size
    return LogReport(
        origin=check.origin,
        size=size,
        waiting=0,
        statements=check.statements,
        signed=size,
        from_before=0,
        rows=check.rows,
        root="" if last is None else last.checkpoint.root.hex(),
        keyid="" if last is None else last.key.keyid,
        against=tuple(against),
        findings=_findings(check.findings),
    )


def _findings(defects: Iterable[LogDefect]) -> tuple[LogFinding, ...]:
    return tuple(LogFinding(what=each.what, text=each.text, position=each.position, row=each.row) for each in defects)


def _report(check: LogCheck, against: list[str]) -> LogReport:
    last = check.last
    return LogReport(
        origin=check.origin,
        size=check.size,
        waiting=check.waiting,
        statements=check.statements,
        signed=0 if last is None else last.checkpoint.size,
        from_before=check.from_before,
        root="" if last is None else last.checkpoint.root.hex(),
        keyid="" if last is None else last.key.keyid,
        against=tuple(against),
        notices=tuple(check.notices),
        findings=_findings(check.findings),
    )
