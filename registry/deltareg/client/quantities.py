"""Durations and sizes as people write them: `30s`, `1h30m`, `50GB`, `512MiB`."""

import re

from deltareg.errors import InvalidInput

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)?")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
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


def parse_size(text: str) -> int:
    """Parse `50GB`, `512MiB` or a plain number of bytes, and return bytes.

    Raises:
        InvalidInput: It is none of these.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidInput(f"not a size: {text[:60]!r}", fix="write 50GB, 512MiB or a number of bytes")
    power = " kmgt".index(match[2].lower() or " ")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** power)
