"""Times as people and JSON see them: RFC 3339 in UTC, from the database's microseconds."""

from datetime import UTC, datetime, timedelta

from deltareg.errors import InvalidInput

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(microseconds: int) -> str:
    """Format a time: `2026-11-24T15:38:33.000001Z`."""
    return rfc3339_of(moment_of(microseconds))


def rfc3339_seconds(microseconds: int) -> str:
    """Format a time for a sentence, to the second: `2026-11-24T15:38:33Z`."""
    return moment_of(microseconds).isoformat(timespec="seconds").replace("+00:00", "Z")


def rfc3339_or_none(microseconds: int | None) -> str | None:
    """Format a time; return None for None."""
    return None if microseconds is None else rfc3339(microseconds)


def moment_of(microseconds: int) -> datetime:
    """Return a database time as a datetime in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


def rfc3339_of(moment: datetime) -> str:
    """Format a datetime in UTC as the wire does."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_time(text: str) -> int:
    """Parse an RFC 3339 time, or a date alone (midnight UTC), as microseconds since the epoch.

    Raises:
        InvalidInput: The text is neither.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"not a time: {text[:60]!r}", fix="write 2026-11-24T15:00:00Z or 2026-11-24") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)
