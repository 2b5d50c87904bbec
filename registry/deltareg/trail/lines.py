"""A log as lines of JSON, for export and for verification without the registry.

The first line names the log. Its rows follow in order, each with its stored hash. After a row come
the items that it completes: hashes that proofs consist of, and the checkpoint that signs all rows
so far. Rows of the audit trail that are not sealed yet come next, and the last line marks the end.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from deltareg.documents.json_values import is_object
from deltareg.errors import InvalidInput, Refused
from deltareg.signing.keys import PublicKey
from deltareg.tensors.header import strict_json_object
from deltareg.trail.check import LogCheck, LogEvidence, LogLeaf
from deltareg.trail.verified import VerifiedLog

FORM: Final = "deltareg.audit-log/1"
_FIX = "write it with: deltareg audit export --proofs --out FILE"
_NUMBERS = 3
_HIGHEST = 8  # of the levels of hashes: more rows than numbers have bits
_DEEPEST = 64
Line = Mapping[str, object]


def read_lines(text: Iterable[str]) -> Iterator[Line]:
    """Read the lines of an export.

    Raises:
        InvalidInput: It is not an export.
    """
    for number, line in enumerate(text, start=1):
        if not line.strip():
            continue
        try:
            fields = strict_json_object(line.strip().encode(), max_depth=_DEEPEST)
        except (Refused, UnicodeEncodeError) as error:
            raise InvalidInput(f"line {number} is none of a log: {error}", fix=_FIX) from error
        yield fields


def write_line(line: Line) -> str:
    """Format a line, with its newline."""
    return json.dumps(line, separators=(",", ":"), ensure_ascii=False, allow_nan=False) + "\n"


def check_lines(
    lines: Iterable[Line],
    keys: Iterable[PublicKey],
    known: LogEvidence,
    *,
    revoked: Iterable[PublicKey] = (),
    since: VerifiedLog | None = None,
) -> LogCheck:
    """Verify a log line by line; the other arguments are those of `LogCheck`.

    Raises:
        InvalidInput: The lines are not those of a log.
        BadSignature: `since` does not count for this log.
    """
    rest = iter(lines)
    nothing: Line = {}
    first = next(rest, nothing)
    origin = first.get("origin")
    if first.get("form") != FORM or not isinstance(origin, str):
        raise InvalidInput("it is no export of the log with proofs", fix=_FIX)
    check = LogCheck(origin, keys, known, revoked=revoked, since=since)
    is_whole = False
    for line in rest:
        is_whole = _feed(check, line)
    if not is_whole:
        check.cut_off()
    check.finish()
    return check


def _feed(check: LogCheck, line: Line) -> bool:
    """Pass one line to the check; return whether it is the last line of a log."""
    match line:
        case {"position": _, "row": _, "hash": _, "leaf": _}:
            check.entry(_entry(line))
        case {"node": {"level": int(level), "number": int(number), "hash": str(kept)}} if 0 < level <= _HIGHEST:
            check.node(level, number, _bytes(kept))
        case {"checkpoint": str(note), "size": int(size)}:
            check.checkpoint(note, kept_as=size)
        case {"outside": leaf, "is_waiting": bool(is_waiting)} if is_object(leaf):
            check.outside(leaf, is_waiting=is_waiting)
        case {"state": str(subject), "says": says} if is_object(says):
            check.state(subject, says)
        case {"end": True}:
            sealed = line.get("size")
            check.hold_state(size=sealed if isinstance(sealed, int) else None)
            return True
        case _:
            raise InvalidInput(f"a line that is none of a log: {str(line)[:80]}", fix=_FIX)
    return False


def _entry(line: Line) -> LogLeaf:
    position, row, sealed_by = line["position"], line["row"], line.get("sealed_by")
    leaf, statement = line["leaf"], line.get("statement", "")
    if not (leaf is None or is_object(leaf)) or not isinstance(statement, str):
        raise InvalidInput("a row of the log is of another form", fix=_FIX)
    numbers = [each for each in (position, row, sealed_by) if isinstance(each, int)]
    if len(numbers) != _NUMBERS:
        raise InvalidInput("a row of the log has no numbers", fix=_FIX)
    return LogLeaf(numbers[0], numbers[1], _bytes(line["hash"]), numbers[2], leaf, statement)


def _bytes(value: object) -> bytes:
    try:
        return bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        return b""
