"""Which base a folder is a delta of, from what the folder and its line say; never guessed.

In this order: `deltareg: {base: NAME}` in the front matter of README.md; the config and what else programs
wrote as they trained; `base_model` of the front matter; the base of the line's newest version, where those
say nothing, name only a local path of the training machine, or name what the files of that version name, too.
What is chosen may not contradict the config, unless the front matter insists: `deltareg: {trained_on: NAME}`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from deltareg.db.bases import bases as base_queries
from deltareg.db.bases.rows import BaseRow
from deltareg.documents.model_card import CARD_FILE, MOST_CARD_BYTES
from deltareg.errors import Problem, Refused
from deltareg.identity.base_claims import (
    ADAPTER_CONFIG,
    MODEL_CONFIG,
    BaseClaim,
    BaseClaims,
    parse_documents,
    read_claims,
)
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Base
from deltareg.service.bases.claimed import find_claimed, find_denial, refuse_denied
from deltareg.service.registry import Caller

_SHOWN = 6
_INSIST = "in the front matter of README.md, deltareg: {trained_on: NAME}"


@dataclass(frozen=True, slots=True)
class ChosenBase:
    """The base that a commit is pushed onto.

    Attributes:
        name: Its name in this registry.
        where: The file, or the version, that named it.
        is_insisted: Whether the card insists on it against the other files.
    """

    name: str
    where: str
    is_insisted: bool = False


@dataclass(frozen=True, slots=True)
class NewestBase:
    """The base of a line's newest version, and the names that the files of that version have for it.

    Attributes:
        name: Its name in this registry; empty where there is no version.
        claimed: The names.
    """

    name: str = ""
    claimed: frozenset[str] = frozenset()


def claims_of(read: Callable[[str], bytes]) -> BaseClaims:
    """Read what files say about their base; what cannot be read says nothing.

    Args:
        read: Returns the first bytes of a file, `MOST_CARD_BYTES` or less.
    """
    return read_claims(parse_documents({name: read(name) for name in (ADAPTER_CONFIG, MODEL_CONFIG)}), read(CARD_FILE))


def choose_base(conn: sa.Connection, caller: Caller, line: str, folder: Path, *, newest: NewestBase) -> ChosenBase:
    """Return the base of a folder that came by commits.

    Args:
        conn: A transaction.
        caller: Who pushes; bases that it may not read do not exist for it.
        line: The line that is pushed to, for messages.
        folder: The folder that is pushed.
        newest: The base of the line's newest version.

    Raises:
        Refused: Nothing names the base, the named base is unknown here, two bases are named, or the
            config names another one than the card.
    """
    said = claims_of(lambda name: _head(folder / name))
    row, where = _find_named(conn, caller, line, said, newest=newest)
    if row is None:
        return ChosenBase(newest.name, where)
    if said.trained_on:
        insisted = find_claimed(conn, caller, BaseClaim(CARD_FILE, said.trained_on)).bases
        if any(row.id in {one.id, one.full_id} for one in insisted):
            return ChosenBase(row.name, where, is_insisted=True)
    denial = find_denial(conn, caller, said, row, knows_places=True)
    if denial is not None:
        raise refuse_denied(denial, row, insist=_INSIST)
    return ChosenBase(row.name, where)


def _find_named(
    conn: sa.Connection, caller: Caller, line: str, said: BaseClaims, *, newest: NewestBase
) -> tuple[BaseRow | None, str]:
    own_name = said.base or said.trained_on
    if own_name:
        own = BaseClaim(CARD_FILE, own_name)
        rows = find_claimed(conn, caller, own).bases
        if len(rows) == 1:
            return rows[0], CARD_FILE
        raise _unknown(conn, caller, own)
    found = {each: find_claimed(conn, caller, each, knows_places=True).bases for each in said.claims}
    leading = {each: rows for each, rows in found.items() if rows}
    if leading:
        by_id = {row.id: row for rows in leading.values() for row in rows}
        common = set(by_id).intersection(*({row.id for row in rows} for rows in leading.values()))
        if len(common) == 1:
            return by_id[next(iter(common))], next(iter(leading)).where
        raise _ambiguous(line, leading, {by_id[one].name for one in common})
    unknown = next((each for each in said.claims if not each.is_path and each.name not in newest.claimed), None)
    if unknown is not None:
        raise _unknown(conn, caller, unknown)
    if not newest.name:
        raise _silent(line, said.claims)
    rows = base_queries.base_rows(conn, name=newest.name, limit=1)
    return (rows[0] if rows else None), f"the newest version of {line}"


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_CARD_BYTES)
    except OSError:
        return b""


def _unknown(conn: sa.Connection, caller: Caller, named: BaseClaim) -> Refused:
    rows = base_queries.base_rows(conn, limit=50)
    names = [row.name for row in rows if caller.may(Right.READ, on=Base(row.name))]
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    here = f" (bases here: {', '.join(names[:_SHOWN])}{more})" if names else ""
    revision = f"@{named.revision}" if named.revision else ""
    called = named.location.replace("\\", "/").rpartition("/")[2].lower()
    meant = f"; if {called} is meant, in the front matter of README.md: deltareg: {{base: {called}}}"
    is_named = called in names
    return _make_refusal(
        "base_mismatch",
        f"{named.where} names the base {named.name!r}{revision}, and no base here has that name or id on the hub",
        f"deltareg base register PATH {called if is_named else 'NAME'} --hub-id {named.name}{revision}"
        f"{meant if is_named else here}",
    )


def _ambiguous(line: str, found: dict[BaseClaim, Sequence[BaseRow]], common: set[str]) -> Refused:
    names = sorted(common or {row.name for rows in found.values() for row in rows})
    claims = " and ".join(f"{each.where}: {each.name!r}" for each in found)
    return _make_refusal(
        "ambiguous",
        f"the base of {line} may be {' or '.join(names)} ({claims})",
        "say which in the front matter of README.md: deltareg: {base: " + names[0] + "}",
    )


def _silent(line: str, named: Sequence[BaseClaim]) -> Refused:
    message = "nothing says which base it is a delta of"
    if named:
        message = f"{named[0].where} names a local path ({named[0].name}), which says nothing here"
    return _make_refusal(
        "base_mismatch",
        message,
        "say it in the front matter of README.md: deltareg: {base: NAME}; or push the first"
        f" version with: deltareg push PATH {line} --base NAME, and the line keeps it",
    )


def _make_refusal(code: str, message: str, fix: str) -> Refused:
    return Refused([Problem(code, message, fix=fix)])
