"""An event as CloudEvents 1.0 writes it, in JSON: https://cloudevents.io, section 3."""

import re

from deltareg.db.events.rows import PublicEventRow
from deltareg.errors import InvalidInput
from deltareg.service.clock import rfc3339
from deltareg.service.telling.types import PREFIX, fields_of
from deltareg.wire import Event

_ID = re.compile(r"(\d{1,18})(?:-([0-9a-f]{1,16}))?")


def event_of(row: PublicEventRow, *, source: str) -> Event:
    """Write an event; `sequence` is the extension of that name, which grows."""
    data: dict[str, object] = {"ref": row.subject, "actor": row.actor}
    if row.namespace is not None:
        data["namespace"] = row.namespace
    if row.namespace is not None and row.line is not None:
        data["delta"] = f"{row.namespace}/{row.line}"
    return Event(
        id=id_of(row.number, row.created_at),
        source=source,
        type=PREFIX + row.type,
        subject=row.subject,
        time=rfc3339(row.created_at),
        sequence=f"{row.number:018}",
        data=data | fields_of(row.action, row.before, row.after),
    )


def id_of(number: int, created_at: int) -> str:
    """Name an event: by its number, and by its time, for a restored database counts on anew."""
    return f"{number}-{created_at:x}"


def read_id(text: str) -> tuple[int, int | None]:
    """Read the number out of an id, and the time where it has one.

    Raises:
        InvalidInput: It is none.
    """
    found = _ID.fullmatch(text)
    if found is None:
        raise InvalidInput(f"not the id of an event: {text[:60]!r}", fix="write one as `events ls` shows it")
    return int(found[1]), None if found[2] is None else int(found[2], 16)
