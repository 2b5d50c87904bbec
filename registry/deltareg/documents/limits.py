"""Limits as people write them in files and see them in plans: `bytes: 200GB`, `uploads: none`."""

from collections.abc import Mapping
from typing import Final

from deltareg.words import QuotaResource

NO_LIMIT: Final = "none"
_UNITS: Final = {"TB": 10**12, "TiB": 2**40, "GB": 10**9, "GiB": 2**30, "MB": 10**6, "MiB": 2**20, "kB": 10**3}


def write_limits(limits: Mapping[QuotaResource, int | None]) -> dict[str, object]:
    """Write limits by resource as files do: exactly, and with a unit where one leaves nothing over."""
    return {name: _write(name, most) for name, most in sorted(limits.items())}


def _write(name: str, most: int | None) -> object:
    if most is None:
        return NO_LIMIT
    unit = next((unit for unit, size in _UNITS.items() if most and most % size == 0), None)
    return most if name != "bytes" or unit is None else f"{most // _UNITS[unit]}{unit}"
