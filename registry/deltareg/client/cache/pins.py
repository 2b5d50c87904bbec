"""Pins: what the cache keeps whatever its size; each a small file of its own, so no lock is needed.

::

    pins/<64 hex>       JSON: what was pinned, and the digests that stay for it
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
        digests: What stays, without the algorithm; the first is the thing itself.
    """

    form: Literal["deltareg.pin/1"] = "deltareg.pin/1"
    name: str
    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pins:
    """The pins below the folder of a cache."""

    root: Path

    def add(self, name: str, digests: tuple[str, ...]) -> Pin:
        """Pin something; pinning it again renews the pin."""
        pin = Pin(name=name, digests=digests)
        keep_note(self.root, self._path(digests[0]), pin.model_dump_json().encode())
        return pin

    def drop(self, pin: Pin) -> None:
        """Take a pin out."""
        remove(self._path(pin.digests[0]))

    def all(self) -> list[Pin]:
        """List the pins by name."""
        pins = (_read(path) for path in (self.root / "pins").glob("*"))
        return sorted((pin for pin in pins if pin is not None), key=lambda pin: pin.name)

    def list_digests(self) -> frozenset[str]:
        """Give all digests that stay, without their algorithm."""
        return frozenset(digest for pin in self.all() for digest in pin.digests)

    def _path(self, digest: str) -> Path:
        return self.root / "pins" / digest


def _read(path: Path) -> Pin | None:
    """Read a pin; one that cannot be read pins the thing that its file is named for."""
    raw = read_note(path)
    if raw is None:  # unpinned at this moment
        return None
    try:
        return Pin.model_validate_json(raw)
    except ValidationError:
        return Pin(name=path.name, digests=(path.name,))
