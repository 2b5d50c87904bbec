"""Durations, moments and sizes as people write them: `1h30m`, `7d`, `2026-11-24`, `50GB`, `512MiB`."""

import re
from datetime import UTC, datetime, timedelta

from deltareg.errors import InvalidInput

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)?")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_SIZE_LIMIT = 1 << 62
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)


def parse_duration(text: str) -> float:
    """Parse `30s`, `1h30m`, `90d` or a plain number of seconds, and return seconds.

    Raises:
        InvalidInput: It is none of these.
    """
    parts = _DURATION.findall(text)
    if not text or "".join(number + unit for number, unit in parts) != text:
        raise InvalidInput(f"not a duration: {text[:60]!r}", fix="write 30s, 10m, 1h30m or 90d")
    return sum(float(number) * _SECONDS[unit or "s"] for number, unit in parts)


def parse_age(text: str) -> float:
    """Parse a duration that may well be in days, and return seconds: `30` alone is refused, `0` is not.

    Raises:
        InvalidInput: It is none, or the last number has no unit.
    """
    age_s = parse_duration(text)
    if age_s and text[-1].isdecimal():
        raise InvalidInput(f"{text} has no unit", fix=f"write {text}d for days, or {text}h, {text}m, {text}s")
    return age_s


def read_moment(text: str | None, *, now: datetime | None = None) -> str | None:
    """Return a moment in RFC 3339: a time or a date as it is, a duration as long before now.

    Raises:
        InvalidInput: It is none of these.
    """
    if text is None or "-" in text:
        return text
    try:
        moment = (now or datetime.now(UTC)) - timedelta(seconds=parse_age(text))
    except (InvalidInput, OverflowError) as error:
        raise InvalidInput(
            f"not a moment: {text[:60]!r}", fix="write 7d, 2026-11-24 or 2026-11-24T15:00:00Z"
        ) from error
    return moment.isoformat().replace("+00:00", "Z")


def parse_size(text: str) -> int:
    """Parse `50GB`, `512MiB` or a plain number of bytes, and return bytes.

    Raises:
        InvalidInput: It is none of these.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidInput(f"not a size: {text[:60]!r}", fix="write 50GB, 512MiB or a number of bytes")
    power = " kmgt".index(match[2].lower() or " ")
    size = float(match[1]) * (1024 if match[3] else 1000) ** power
    if size >= _SIZE_LIMIT:
        raise InvalidInput(f"not a size: {text[:60]!r}", fix="write 50GB, 512MiB or a number of bytes")
    return int(size)
