"""Numbers for people, and foreign text made safe to show, in a terminal or a report."""

import re

# What moves the cursor, hides text, turns its direction or is no character: C0, C1, bidi,
# zero-width, surrogates, noncharacters.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\ufffe\uffff]"
)
_BREAKS = re.compile(r"[\t\r\n]+")


def clean(text: str) -> str:
    """Make foreign text safe to print on one line."""
    if text.isprintable():  # most is, and holds nothing of what is taken out
        return str(text)  # markup as well, which is foreign text here
    return _UNSAFE.sub("", _BREAKS.sub(" ", text))


def clean_lines(text: str) -> str:
    """Make foreign text safe to print, keeping its line ends."""
    return _UNSAFE.sub("", text.replace("\t", "    "))


def cut(text: str, most: int) -> str:
    """Shorten a text, with a mark if it was cut."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def count(number: int, noun: str, plural: str = "") -> str:
    """Format a number with its noun: `1 tensor`, `4,096 tensors`, `2 entries`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def size(size_bytes: float) -> str:
    """Format a number of bytes with three digits: `13.6 MB`."""
    value, unit = float(size_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if abs(value) < 999.5:
            break
        value, unit = value / 1000, larger
    digits = 0 if unit == "B" or abs(value) >= 99.95 else 1
    return f"{value:.{digits}f} {unit}"


def seconds(value: float) -> str:
    """Format a duration: `35 ms`, `1.4 s`, `3 min 20 s`, `2 h 5 min`, `12 days`."""
    if value < 0.0995:
        return f"{value * 1000:.0f} ms"
    if value < 59.5:
        return f"{value:.1f} s" if value < 9.95 else f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{round(value / 86_400)} days"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def short(text: str) -> str:
    """Shorten the digests in a text to twelve digits: `sha256:4f2a19c0d3b1`."""
    return re.sub(r"((?:sha256|blake3):[0-9a-f]{12})[0-9a-f]{52}", r"\1", text)


def number(value: object) -> str:
    """Format a measured value: a few digits of a float, anything else as it is."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else clean(str(value))
