"""JSON in rows that is packed beside a known text and stays JSON for the database.

What SQL asks for stands in it as before: of the checks of a verdict, the names of those that failed
or warned, which rules of the database read. All of it stands packed in one more item,
`{"packed": TEXT}`; what is shorter as it is stays as it is. Servers of the release before find an
item without a name, and fail rather than judge by a part of the checks.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final, overload

import sqlalchemy as sa

from deltareg.db.sql.known_text import pack_known, unpack_known
from deltareg.db.sql.written_form import packs_rows
from deltareg.documents.json_values import is_list, is_object

PACKED: Final = "packed"
_SHOWN: Final = frozenset({"fail", "warn"})


class ChecksColumn(sa.types.TypeDecorator[Sequence[dict[str, object]]]):
    """A column of the checks of a verdict; reading returns the list that was written.

    A gate reads all verdicts of a version and asks few of them for their checks: packed ones are
    unpacked when somebody looks.
    """

    impl = sa.JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: Sequence[Mapping[str, object]] | None, dialect: sa.Dialect) -> object:
        """Pack the checks for their column."""
        return value if value is None or not packs_rows(dialect) else pack_checks(value)

    def process_result_value(self, value: object, dialect: sa.Dialect) -> Sequence[dict[str, object]] | None:
        """Give the checks of a row, packed or not."""
        text = _packed_checks(value)
        return value if text is None else _LateChecks(text)  # type: ignore[return-value]  # as they were written


class _LateChecks(Sequence[dict[str, object]]):
    """Packed checks, unpacked at the first look."""

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def _checks(self) -> list[dict[str, object]]:
        return _unpack(self._text)  # type: ignore[return-value]  # as they were written

    @overload
    def __getitem__(self, place: int) -> dict[str, object]: ...

    @overload
    def __getitem__(self, place: slice) -> list[dict[str, object]]: ...

    def __getitem__(self, place: int | slice) -> dict[str, object] | list[dict[str, object]]:
        return self._checks[place]

    def __len__(self) -> int:
        return len(self._checks)


class PackedObjectColumn(sa.types.TypeDecorator[dict[str, object]]):
    """A column of JSON objects that SQL does not look into; reading returns what was written."""

    impl = sa.JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: Mapping[str, object] | None, dialect: sa.Dialect) -> object:
        """Pack an object for its column."""
        return value if value is None or not packs_rows(dialect) else pack_object(value)

    def process_result_value(self, value: object, dialect: sa.Dialect) -> dict[str, object] | None:
        """Unpack the object of a row, packed or not."""
        text = _packed_in(value)
        return value if text is None else _unpack(text)  # type: ignore[return-value]  # as it was written


def pack_object(value: Mapping[str, object]) -> object:
    """Return a JSON object as its row has it."""
    return _shorter(value, {PACKED: _pack(value)})


def pack_checks(checks: Sequence[Mapping[str, object]]) -> object:
    """Return the checks as their row has them: those that SQL looks for, and all of them packed."""
    shown = [{"name": each["name"], "verdict": each["verdict"]} for each in checks if each.get("verdict") in _SHOWN]
    return _shorter(checks, [*shown, {PACKED: _pack(checks)}])


def unpack_checks(stored: object) -> object:
    """Return the checks that `pack_checks` packed, or that a row of an older release has."""
    text = _packed_checks(stored)
    return stored if text is None else _unpack(text)


def _packed_checks(stored: object) -> str | None:
    return _packed_in(stored[-1] if is_list(stored) and stored else None)


def _packed_in(value: object) -> str | None:
    """Return the packed text of an item that has nothing else."""
    text = value[PACKED] if is_object(value) and value.keys() == {PACKED} else None
    return text if isinstance(text, str) else None


def _shorter(value: object, packed: object) -> object:
    return packed if len(json.dumps(packed)) < len(json.dumps(value)) else value


def _pack(value: object) -> str:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return base64.b85encode(pack_known(text.encode("utf-8", "surrogatepass"))).decode()


def _unpack(text: str) -> object:
    return json.loads(unpack_known(base64.b85decode(text)).decode("utf-8", "surrogatepass"))
