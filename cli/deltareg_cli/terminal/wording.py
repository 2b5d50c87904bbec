"""Words and numbers for people: sizes, times, counts, and untrusted text made safe to print."""

from datetime import UTC, datetime

from deltareg.drawing.wording import clean, clean_lines, count, cut, number, seconds, short, size

__all__ = ["clean", "clean_lines", "count", "cut", "moment", "number", "rate", "seconds", "short", "size"]

_SPANS = ((60, "s"), (60, "min"), (24, "h"), (30, "day"), (12, "month"), (10**9, "year"))


def rate(size_bytes: int, seconds: float) -> str:
    """Format bytes per second: `42.0 MB/s`."""
    return f"{size(int(size_bytes / max(seconds, 1e-3)))}/s"


def moment(at: str, *, now: datetime) -> str:
    """Format a time of the wire relative to now: `3 min ago`, `in 80 days`."""
    try:
        then = datetime.fromisoformat(at)
    except ValueError:
        return clean(at)
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    distance = (now - then).total_seconds()
    if abs(distance) < 5:
        return "just now"
    span = _span(abs(distance))
    return f"{span} ago" if distance > 0 else f"in {span}"


def _span(distance: float) -> str:
    for limit, unit in _SPANS:
        if round(distance) < limit:
            whole = round(distance)
            plural = "s" if whole != 1 and unit in {"day", "month", "year"} else ""
            return f"{whole} {unit}{plural}"
        distance /= limit
    return "ages"


def who(name: str, via: str) -> str:
    """Name who did something, and the workflow that they did it by, if it was one."""
    return f"{name} via {via}" if via else name
