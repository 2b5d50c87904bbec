"""Freeze windows of a policy: times at which a channel accepts no move, without anybody's doing.

A window comes back every week, by the wall clock of a zone, or stands between two times. Whether it
stands is asked with the database's time; nothing here reads a clock.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from deltareg.documents.strict_fields import Place, read_object, read_text
from deltareg.errors import InvalidInput

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_KEYS = ("from", "to", "zone", "reason")
_DAY_TIME = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun) ([01]\d|2[0-3]):([0-5]\d)")
_MINUTES = 7 * 24 * 60
_EXAMPLE = '"Fri 16:00", or "2026-12-20T00:00:00Z"'


@dataclass(frozen=True, slots=True)
class Weekly:
    """A window that comes back every week.

    Attributes:
        starts: Minutes since Monday 00:00 on the wall clock of the zone.
        ends: The same; earlier than `starts` when the window goes over Sunday night.
        zone: A name of the time zone database, such as `Europe/Berlin`.
        reason: Why.
    """

    starts: int
    ends: int
    zone: str = "UTC"
    reason: str = ""

    def end_at(self, at: datetime) -> datetime | None:
        """Give when the window ends that stands at a time; None while none stands."""
        local = at.astimezone(ZoneInfo(self.zone))
        now = (local.weekday() * 24 + local.hour) * 60 + local.minute
        if (now - self.starts) % _MINUTES >= (self.ends - self.starts) % _MINUTES:
            return None
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        days, minutes = divmod(self.ends, 24 * 60)
        ahead = (days - local.weekday()) % 7
        if ahead == 0 and self.ends <= now:
            ahead = 7
        # Arithmetic on the wall clock: a night in which the clocks change is longer or shorter.
        end = midnight + timedelta(days=ahead, minutes=minutes)
        return end.astimezone(UTC)

    def fields(self) -> dict[str, object]:
        """Give the window as the document has it."""
        zone = {} if self.zone == "UTC" else {"zone": self.zone}
        return {"from": _day_time(self.starts), "to": _day_time(self.ends)} | zone | _why(self)


@dataclass(frozen=True, slots=True)
class Span:
    """A window between two times: from the first on, to the second without it."""

    starts: datetime
    ends: datetime
    reason: str = ""

    def end_at(self, at: datetime) -> datetime | None:
        """Give when the window ends that stands at a time; None while none stands."""
        return self.ends if self.starts <= at < self.ends else None

    def fields(self) -> dict[str, object]:
        """Give the window as the document has it."""
        return {"from": _rfc3339(self.starts), "to": _rfc3339(self.ends)} | _why(self)


FreezeWindow = Weekly | Span


@dataclass(frozen=True, slots=True)
class StandingWindow:
    """A window that stands now, and when it ends."""

    window: FreezeWindow
    ends: datetime

    def __str__(self) -> str:
        """Say it: `a freeze window until 2026-11-30T07:00:00Z: weekend`."""
        reason = f": {self.window.reason}" if self.window.reason else ""
        return f"a freeze window until {_rfc3339(self.ends)}{reason}"


def standing_window(windows: Iterable[FreezeWindow], at: datetime) -> StandingWindow | None:
    """Give the window that stands at a time, of several the one that ends last."""
    ends = [(window, window.end_at(at)) for window in windows]
    found = [StandingWindow(window, end) for window, end in ends if end is not None]
    return max(found, key=lambda standing: standing.ends, default=None)


def parse_window(value: object, place: Place) -> FreezeWindow:
    """Read one window of a policy.

    Raises:
        InvalidInput: Its times are not both of one form, or leave no time between them.
    """
    fields = read_object(value, place, known=_KEYS)
    reason = ""
    if "reason" in fields:
        reason = read_text(fields["reason"], place.at("reason"), example="reason: weekend")
    starts, ends = (_time_text(fields, place, key) for key in ("from", "to"))
    weekly = [_DAY_TIME.fullmatch(starts), _DAY_TIME.fullmatch(ends)]
    if all(weekly):
        window = Weekly(_minutes(starts), _minutes(ends), _zone(fields, place), reason)
        if window.starts == window.ends:
            raise place.wrong("begins and ends at one time", fix="name a later end")
        return window
    if any(weekly):
        raise place.wrong("one end is a day of the week, the other is not", fix=f"{_EXAMPLE}")
    span = Span(_moment(starts, place.at("from")), _moment(ends, place.at("to")), reason)
    if "zone" in fields:
        raise place.at("zone").wrong(
            "goes with days of the week", fix="leave it out: times say their zone themselves"
        )
    if span.ends <= span.starts:
        raise place.wrong("ends before it begins", fix="let `to` be after `from`")
    return span


def _time_text(fields: Mapping[str, object], place: Place, key: str) -> str:
    if key not in fields:
        raise place.wrong(f"has no `{key}`", fix=f"write {key}: {_EXAMPLE}")
    return read_text(fields[key], place.at(key), example=_EXAMPLE)


def _zone(fields: Mapping[str, object], place: Place) -> str:
    if "zone" not in fields:
        return "UTC"
    name = read_text(fields["zone"], place.at("zone"), example="zone: Europe/Berlin")
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise place.at("zone").wrong(
            f"there is no time zone {name!r}", fix="write a name such as Europe/Berlin"
        ) from error


def _moment(text: str, place: Place) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        in_utc = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _no_time(text, place) from error
    return in_utc.replace(microsecond=0)


def _no_time(text: str, place: Place) -> InvalidInput:
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
