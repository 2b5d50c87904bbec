"""Freeze windows of a policy: times at which a channel accepts no move.

A window recurs every week, by the wall clock of a zone, or lies between two times. Whether it is
active is judged by the database's time; nothing here reads a clock. A window must name the zone of
its times: a guessed zone would begin somebody's holidays at the wrong time.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from deltareg.documents.strict_fields import DocumentPlace, read_object, read_text
from deltareg.errors import InvalidInput

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_KEYS = ("from", "to", "zone", "reason")
_DAY_TIME = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun) ([01]\d|2[0-3]):([0-5]\d)")
_MINUTES = 7 * 24 * 60
_EXAMPLE = '"Fri 16:00", or "2026-12-20T00:00:00Z"'
_NO_ZONE = "says no zone, and the server would have to guess one"
_A_ZONE = "add zone: Europe/Berlin, or whichever it is; zone: UTC is one as well"


@dataclass(frozen=True, slots=True)
class WeeklyFreeze:
    """A window that recurs every week.

    Attributes:
        starts: Minutes since Monday 00:00 on the wall clock of the zone.
        ends: The same; earlier than `starts` if the window spans Sunday night.
        zone: A name of the time zone database, such as `Europe/Berlin`.
        reason: Why.
    """

    starts: int
    ends: int
    zone: str = "UTC"
    reason: str = ""

    def end_at(self, at: datetime) -> datetime | None:
        """Return when the window that is active at a time ends; None if it is not active.

        A window is one stretch of time: an hour that clocks show twice neither reopens nor
        interrupts it, and an end within an hour that clocks skip moves to the jump.
        """
        zone = ZoneInfo(self.zone)
        today = at.astimezone(zone).date()
        monday = datetime.combine(today - timedelta(days=today.weekday()), time())
        length = (self.ends - self.starts) % _MINUTES
        stands: list[datetime] = []
        for week in (-1, 0, 1):
            begin = monday + timedelta(weeks=week, minutes=self.starts)
            end = _instant(begin + timedelta(minutes=length), zone)
            if _instant(begin, zone) <= at < end:
                stands.append(end)
        return max(stands, default=None)

    def fields(self) -> dict[str, object]:
        """Return the window as a document."""
        ends = {"from": _day_time(self.starts), "to": _day_time(self.ends)}
        return {**ends, "zone": self.zone} | _why(self)


@dataclass(frozen=True, slots=True)
class FreezePeriod:
    """A window between two times: the first inclusive, the second exclusive."""

    starts: datetime
    ends: datetime
    reason: str = ""

    def end_at(self, at: datetime) -> datetime | None:
        """Return when the window that is active at a time ends; None if it is not active."""
        return self.ends if self.starts <= at < self.ends else None

    def fields(self) -> dict[str, object]:
        """Return the window as a document."""
        return {"from": _rfc3339(self.starts), "to": _rfc3339(self.ends)} | _why(self)


FreezeWindow = WeeklyFreeze | FreezePeriod


@dataclass(frozen=True, slots=True)
class StandingWindow:
    """A window that is active now, with its end."""

    window: FreezeWindow
    ends: datetime

    def __str__(self) -> str:
        """Describe it: `a freeze window until 2026-11-30T07:00:00Z: weekend`."""
        reason = f": {self.window.reason}" if self.window.reason else ""
        return f"a freeze window until {_rfc3339(self.ends)}{reason}"


def standing_window(windows: Iterable[FreezeWindow], at: datetime) -> StandingWindow | None:
    """Return the window that is active at a time; among several, the one that ends last."""
    ends = [(window, window.end_at(at)) for window in windows]
    standings = [StandingWindow(window, end) for window, end in ends if end is not None]
    return max(standings, key=lambda standing: standing.ends, default=None)


def parse_window(value: object, place: DocumentPlace) -> FreezeWindow:
    """Read one window of a policy.

    Raises:
        InvalidInput: Its times have different forms, or leave no time between them.
    """
    fields = read_object(value, place, known=_KEYS)
    reason = ""
    if "reason" in fields:
        reason = read_text(fields["reason"], place.at("reason"), example="reason: weekend")
    starts, ends = (_time_text(fields, place, key) for key in ("from", "to"))
    weekly = [_DAY_TIME.fullmatch(starts), _DAY_TIME.fullmatch(ends)]
    zone = _zone(fields, place)
    if all(weekly):
        if zone is None:
            raise place.wrong(_NO_ZONE, fix=_A_ZONE)
        window = WeeklyFreeze(_minutes(starts), _minutes(ends), zone.key, reason)
        if window.starts == window.ends:
            raise place.wrong("begins and ends at one time", fix="name a later end")
        return window
    if any(weekly):
        raise place.wrong("one end is a day of the week, the other is not", fix=f"{_EXAMPLE}")
    span = FreezePeriod(_moment(starts, place.at("from"), zone), _moment(ends, place.at("to"), zone), reason)
    if span.ends <= span.starts:
        raise place.wrong("ends before it begins", fix="let `to` be after `from`")
    return span


def with_zone(fields: Mapping[str, object]) -> dict[str, object]:
    """Return a stored window with its zone: UTC if it has none."""
    is_weekly = _DAY_TIME.fullmatch(str(fields.get("from", ""))) is not None
    return {**fields, "zone": "UTC"} if is_weekly and "zone" not in fields else dict(fields)


def without_utc(fields: Mapping[str, object]) -> dict[str, object]:
    """Return a window as it is stored: UTC is left out, for compatibility."""
    return {key: value for key, value in fields.items() if (key, value) != ("zone", "UTC")}


def _time_text(fields: Mapping[str, object], place: DocumentPlace, key: str) -> str:
    if key not in fields:
        raise place.wrong(f"has no `{key}`", fix=f"write {key}: {_EXAMPLE}")
    return read_text(fields[key], place.at(key), example=_EXAMPLE)


def _zone(fields: Mapping[str, object], place: DocumentPlace) -> ZoneInfo | None:
    if "zone" not in fields:
        return None
    name = read_text(fields["zone"], place.at("zone"), example="zone: Europe/Berlin")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise place.at("zone").wrong(
            f"there is no time zone {name!r}", fix="write a name such as Europe/Berlin"
        ) from error


def _moment(text: str, place: DocumentPlace, zone: ZoneInfo | None) -> datetime:
    """Parse a time with its own offset, or by the clock of the window's zone."""
    try:
        moment = datetime.fromisoformat(text).replace(microsecond=0)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
        if zone is not None:
            return _instant(moment, zone)
    except (ValueError, OverflowError) as error:
        raise _no_time(text, place) from error
    raise place.wrong(f"{text} {_NO_ZONE}", fix=f"write {text[:10]}T00:00:00Z, or {_A_ZONE}")


def _instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return when a wall clock shows a time: the first of two, or the jump if it skips it."""
    at = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if at.astimezone(zone).replace(tzinfo=None) == wall:
        return at
    before = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    offset = before.astimezone(zone).utcoffset()
    while at - before > timedelta(seconds=1):  # the clocks jump between the two
        middle = (before + (at - before) / 2).replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            at = middle
    return at


def _no_time(text: str, place: DocumentPlace) -> InvalidInput:
    return place.wrong(f"is no time: {text[:60]!r}", fix=f"write {_EXAMPLE}")


def _minutes(text: str) -> int:
    day, _, clock = text.partition(" ")
    return (DAYS.index(day) * 24 + int(clock[:2])) * 60 + int(clock[3:])


def _day_time(minutes: int) -> str:
    day, rest = divmod(minutes, 24 * 60)
    return f"{DAYS[day]} {rest // 60:02}:{rest % 60:02}"


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _why(window: FreezeWindow) -> dict[str, object]:
    return {"reason": window.reason} if window.reason else {}
