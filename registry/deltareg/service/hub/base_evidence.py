"""Which base a folder is a delta of, from what the folder and its line say; never guessed.

In this order: `deltareg: {base: NAME}` in the front matter of README.md; what adapter_config.json
names, and `base_model` of the front matter; the base of the line's newest version, where those say
nothing or name only a local path of the training machine.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from deltareg.db.bases import bases as base_queries
from deltareg.db.bases.rows import BaseRow
from deltareg.db.hub import hub_names as queries
from deltareg.documents.json_values import is_list, is_object
from deltareg.documents.yaml_document import read_yaml
from deltareg.errors import InvalidInput, Problem, Refused
from deltareg.refs import parse_base
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Base
from deltareg.service.bases.variants import parse_hub_id
from deltareg.service.registry import Caller

_MOST_BYTES = 1 << 20
_SNAPSHOT = re.compile(r"/models--([\w.-]+)/snapshots/([\w.-]+)/?$")
_SHOWN = 6


@dataclass(frozen=True, slots=True)
class ClaimedBase:
    """A base as some file names it.

    Attributes:
        where: The file, for people.
        name: A name in this registry, a hub id or a path.
        revision: The revision on the hub; mostly empty.
    """

    where: str
    name: str
    revision: str = ""

    @property
    def is_path(self) -> bool:
        """Whether it is a path on some machine, which identifies nothing here."""
        return self.name.startswith((".", "/", "~", "\\")) or self.name[1:3] == ":\\"


def named_bases(folder: Path) -> tuple[str, list[ClaimedBase]]:
    """Read what a folder says about its base: the name written for us, and what other tools wrote."""
    front = _front_matter(folder / "README.md")
    ours = front.get("deltareg")
    own_name = ours.get("base") if is_object(ours) else None
    claims = [*_in_config(folder / "adapter_config.json"), *_in_front_matter(front)]
    return own_name if isinstance(own_name, str) else "", [_of_cache(each) for each in claims]


def choose_base(conn: sa.Connection, caller: Caller, line: str, folder: Path, *, newest: str) -> tuple[str, str]:
    """Return the name of the base in this registry, and the file that named it.

    Args:
        conn: A transaction.
        caller: Who pushes; bases that it may not read do not exist for it.
        line: The line that is pushed to, for messages.
        folder: The folder that is pushed.
        newest: The base of the line's newest version; empty where there is none.

    Raises:
        Refused: Nothing names the base, the named base is unknown here, or two bases are named.
    """
    own_name, claims = named_bases(folder)
    if own_name:
        rows = _find_bases(conn, caller, ClaimedBase("README.md", own_name))
        if len(rows) == 1:
            return rows[0].name, "README.md"
        raise _unknown(conn, caller, ClaimedBase("README.md", own_name))
    speaking = [each for each in claims if not each.is_path]
    matches = {each: _find_bases(conn, caller, each) for each in speaking}
    for each, rows in matches.items():
        if not rows:
            raise _unknown(conn, caller, each)
    common = _common([{row.name for row in rows} for rows in matches.values()])
    if len(common) == 1:
        return next(iter(common)), speaking[0].where
    if speaking:
        raise _ambiguous(line, matches, common)
    if newest:
        return newest, f"the newest version of {line}"
    raise _silent(line, claims)


def _common(names: Sequence[set[str]]) -> set[str]:
    first, *others = names or [set[str]()]
    return first.intersection(*others)


def _find_bases(conn: sa.Connection, caller: Caller, named: ClaimedBase) -> list[BaseRow]:
    """Return the bases that a name may mean: one by its name here, else those with that hub id."""
    rows: Sequence[BaseRow] = ()
    try:
        rows = base_queries.base_rows(conn, name=parse_base(named.name.lower()), limit=1)
    except InvalidInput:
        rows = ()
    if not rows:
        rows = _of_hub(conn, named)
    unique = {row.id: row for row in rows if caller.may(Right.READ, on=Base(row.name))}
    return list(unique.values())


def _of_hub(conn: sa.Connection, named: ClaimedBase) -> list[BaseRow]:
    try:
        hub_id, revision = parse_hub_id(named.name)
    except InvalidInput:
        return []
    revision = named.revision or revision
    ids = queries.hub_ids_called(conn, hub_id)
    of_revision = [entry for entry in ids if revision and entry.revision == revision]
    of_revision = of_revision or [entry for entry in ids if not (revision and entry.revision)]
    return [row for entry in of_revision for row in base_queries.base_rows(conn, base_id=entry.base_id, limit=1)]


def _in_config(path: Path) -> list[ClaimedBase]:
    try:
        config: object = json.loads(_head(path))
    except ValueError:  # none, or one that a push refuses in better words
        return []
    if not is_object(config):
        return []
    name, revision = config.get("base_model_name_or_path"), config.get("revision")
    if not isinstance(name, str) or not name:
        return []
    return [ClaimedBase(path.name, name[:400], revision[:80] if isinstance(revision, str) else "")]


def _in_front_matter(front: dict[str, object]) -> list[ClaimedBase]:
    base_model = front.get("base_model")
    names = base_model if is_list(base_model) else [base_model]
    base_names = [name[:400] for name in names if isinstance(name, str) and name]
    return [ClaimedBase("README.md", base_names[0])] if len(base_names) == 1 else []


def _front_matter(path: Path) -> dict[str, object]:
    """Read the front matter of a README; return an empty one where it cannot be read."""
    text = _head(path).decode("utf-8", "replace")
    if not text.startswith("---"):
        return {}
    body = text[3:].partition("\n---")[0]
    try:
        return read_yaml(body.encode(), what="README.md")
    except InvalidInput:
        return {}


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except OSError:
        return b""


def _of_cache(named: ClaimedBase) -> ClaimedBase:
    """Turn a path within a hub cache into the hub id and revision that it is a copy of."""
    match = _SNAPSHOT.search(named.name)
    if match is None:
        return named
    return ClaimedBase(named.where, match[1].replace("--", "/", 1), match[2])


def _unknown(conn: sa.Connection, caller: Caller, named: ClaimedBase) -> Refused:
    rows = base_queries.base_rows(conn, limit=50)
    names = [row.name for row in rows if caller.may(Right.READ, on=Base(row.name))]
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    here = f" (bases here: {', '.join(names[:_SHOWN])}{more})" if names else ""
    revision = f"@{named.revision}" if named.revision else ""
    return _make_refusal(
        "base_mismatch",
        f"{named.where} names the base {named.name!r}{revision}, and no base here has that name or id on the hub",
        f"deltareg base register PATH NAME --hub-id {named.name}{revision}{here}",
    )


def _ambiguous(line: str, found: dict[ClaimedBase, list[BaseRow]], common: set[str]) -> Refused:
    names = sorted(common or {row.name for rows in found.values() for row in rows})
    claims = " and ".join(f"{each.where}: {each.name!r}" for each in found)
    return _make_refusal(
        "ambiguous",
        f"the base of {line} may be {' or '.join(names)} ({claims})",
        "say which in the front matter of README.md: deltareg: {base: " + names[0] + "}",
    )


def _silent(line: str, named: Sequence[ClaimedBase]) -> Refused:
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
