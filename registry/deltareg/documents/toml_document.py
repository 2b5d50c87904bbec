"""TOML that somebody else wrote: parsed in bounded time, with one kind of error."""

from typing import Final

_MOST_BYTES: Final = 1 << 20
_LONGEST_LINE: Final = 16 << 10


def parse_toml(raw: bytes) -> dict[str, object]:
    """Parse a document in UTF-8.

    Raises:
        ValueError: It is none, is nested too deep, or is larger than any that is written here.
    """
    import tomllib  # most commands read none

    # The library takes quadratic time over a key of many parts, which stands on one line.
    if len(raw) > _MOST_BYTES or max(map(len, raw.splitlines()), default=0) > _LONGEST_LINE:
        raise ValueError(f"it has more than {_MOST_BYTES >> 20} MiB, or a line of more than {_LONGEST_LINE >> 10} KiB")
    try:
        return tomllib.loads(raw.decode())
    except RecursionError:
        raise ValueError("it is nested too deep") from None
