"""Pins: what the cache keeps whatever its size. Each is a file of its own, so no lock is needed.

::

    pins/<64 hex>       JSON: what was pinned, and the digests that it keeps
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from deltareg.client.disk.kept_files import keep_note, read_note, remove


class Pin(BaseModel):
    """One pin.

    Attributes:
        form: The format of the file.
        name: What was pinned, as people call it: `ns/name:v3`, or a digest.
        digests: The digests that it keeps, without their algorithm; the first is the pinned thing
            itself.
    """

    form: Literal["deltareg.pin/1"] = "deltareg.pin/1"
    name: str
    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pins:
    """The pins in a cache's folder."""

    root: Path

    def add(self, name: str, digests: tuple[str, ...]) -> Pin:
        """Pin something; pinning it again renews the pin."""
        pin = Pin(name=name, digests=digests)
        keep_note(self.root, self._path(digests[0]), pin.model_dump_json().encode())
        return pin

    def drop(self, pin: Pin) -> None:
        """Remove a pin."""
        remove(self._path(pin.digests[0]))

    def all(self) -> list[Pin]:
        """List the pins by name."""
        pins = (_read(path) for path in (self.root / "pins").glob("*"))
        return sorted((pin for pin in pins if pin is not None), key=lambda pin: pin.name)

    def list_digests(self) -> frozenset[str]:
        """Return all pinned digests, without their algorithm."""
        return frozenset(digest for pin in self.all() for digest in pin.digests)

    def _path(self, digest: str) -> Path:
        return self.root / "pins" / digest


def _read(path: Path) -> Pin | None:
    """Read a pin; an unreadable one pins the digest that its file is named after."""
    raw = read_note(path)
    if raw is None:  # unpinned at this moment
        return None
    try:
        return Pin.model_validate_json(raw)
    except ValidationError:
        return Pin(name=path.name, digests=(path.name,))
