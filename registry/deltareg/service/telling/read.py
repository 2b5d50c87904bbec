"""Reading events: a page, or what has come since, as far as the caller may see it now."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from deltareg.db.events import outbox as queries
from deltareg.db.lines import deltas
from deltareg.db.session import read
from deltareg.errors import InvalidInput, NotFound
from deltareg.refs import LineRef, parse_name
from deltareg.service.authority.grants import Right
from deltareg.service.authority.refusals import absent
from deltareg.service.authority.resources import SHARED, Namespace
from deltareg.service.paging import check_limit
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_line
from deltareg.service.telling.cloud_events import event_of, read_id
from deltareg.service.telling.types import NAMES, PREFIX
from deltareg.wire import EventPage

_MOST_TYPES = 32


@dataclass(frozen=True, slots=True)
class EventFilter:
    """What somebody wants to hear of.

    Attributes:
        namespace: Only of this namespace.
        line: Only of this line of it.
        types: Only these; a `*` stands for anything, nothing for all.
    """

    namespace: str | None = None
    line: str | None = None
    types: tuple[str, ...] = ()

    @classmethod
    def of(cls, of: str | None, types: str) -> "EventFilter":
        """Read what is asked for: `ns`, `ns/name`, and types with commas between them.

        Raises:
            InvalidInput: It names no namespace or line, or a type that there is not.
        """
        kinds = read_types([each.strip() for each in types.split(",") if each.strip()])
        if of is None:
            return cls(types=kinds)
        if "/" not in of:
            return cls(parse_name(of, "namespace"), None, kinds)
        line = LineRef.parse(of)
        return cls(line.namespace, line.name, kinds)


def read_types(types: Sequence[str]) -> tuple[str, ...]:
    """Check types as people write them: `channel.promoted`, `channel.*`, with the prefix or not.

    Raises:
        InvalidInput: There is none like it.
    """
    found = tuple(dict.fromkeys(each.removeprefix(PREFIX) for each in types))
    if len(found) > _MOST_TYPES:
        raise InvalidInput(f"{len(found)} types, at most {_MOST_TYPES}", fix="write channel.*")
    for each in found:
        if each not in {*NAMES, *_groups(), "*"}:
            groups = ", ".join(sorted(_groups()))
            raise InvalidInput(
                f"there is no type of event {each[:60]!r}",
                fix=f"one of {groups}, or one of them whole, as channel.promoted",
            )
    return found


def list_events(
    registry: Registry, caller: Caller, wanted: EventFilter, *, after: str | None, newest: bool = False, limit: int
) -> EventPage:
    """Give events in their order, on from one, or the newest ones.

    Raises:
        NotFound: The namespace or line is not there for the caller, or what came after that event
            is not kept any more.
        InvalidInput: `after` is no id, or the limit is out of bounds.
    """
    caller.require(Right.READ, on=SHARED)
    wanted = _as_now(caller, wanted)
    with read(registry.engine) as conn:
        _check_seen(conn, caller, wanted)
        head = queries.head(conn)
        if head is None:
            return EventPage(items=[], next="0", is_more=False)
        start = 0 if after is None else _start(conn, after, last=head.number)
        rows = queries.told_events(
            conn,
            sight=caller.sight,
            namespace=wanted.namespace,
            line=wanted.line,
            types=wanted.types,
            after=start,
            until=head.number,
            limit=check_limit(limit) + 1,
            newest=newest,
        )
    is_more = len(rows) > limit
    rows = rows[-limit:] if newest else rows[:limit]
    items = [event_of(row, source=head.source) for row in rows]
    goes_on = items[-1].id if is_more and not newest else str(head.number)
    return EventPage(items=items, next=goes_on, is_more=is_more)


def begin_now(registry: Registry, caller: Caller, wanted: EventFilter) -> EventPage:
    """Give where to go on for somebody who wants to hear of what comes from now on.

    Raises:
        NotFound: The namespace or line is not there for the caller.
    """
    caller.require(Right.READ, on=SHARED)
    wanted = _as_now(caller, wanted)
    with read(registry.engine) as conn:
        _check_seen(conn, caller, wanted)
        head = queries.head(conn)
    return EventPage(items=[], next=str(head.number if head else 0), is_more=False)


def _start(conn: sa.Connection, after: str, *, last: int) -> int:
    """Give the number to go on after.

    Raises:
        NotFound: What comes after it is not kept any more, or it was never here.
    """
    number, created_at = read_id(after)
    first = queries.first_number(conn)
    if number + 1 < (last + 1 if first is None else first):
        raise NotFound(
            f"what came after event {after} is not kept any more: events are kept for a week",
            fix="begin with what there is, without it; what was before is in deltareg log",
        )
    known = queries.created_at_of(conn, number)
    if number > last or (created_at is not None and known is not None and known != created_at):
        raise NotFound(
            f"event {after} is not of this history: the registry was restored from a backup",
            fix="begin with what there is, without it, and look at what changed: deltareg log",
        )
    return number


def _as_now(caller: Caller, wanted: EventFilter) -> EventFilter:
    if wanted.namespace is None:
        return wanted
    if wanted.line is None:
        return replace(wanted, namespace=caller.current_namespace(wanted.namespace))
    line = caller.current_line(LineRef(wanted.namespace, wanted.line))
    return replace(wanted, namespace=line.namespace, line=line.name)


def _check_seen(conn: sa.Connection, caller: Caller, wanted: EventFilter) -> None:
    if wanted.namespace is None:
        return
    if wanted.line is not None:
        find_line(conn, caller, LineRef(wanted.namespace, wanted.line))
        return
    place = Namespace(wanted.namespace)
    if not caller.sees(place):
        caller.require(Right.READ, on=place)
    if deltas.namespace_id(conn, place.name) is None:
        raise absent(place)


def _groups() -> set[str]:
    return {f"{name.partition('.')[0]}.*" for name in NAMES}
