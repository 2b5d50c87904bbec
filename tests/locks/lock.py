"""Reads `locks/`: versions with their hashes, torch apart, and the sets that are installed."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.architecture.tree import REPOSITORY

LOCKS = REPOSITORY / "locks"
VERSIONS = LOCKS / "versions.txt"
TORCH = LOCKS / "torch.txt"
TOOLS = LOCKS / "tools.txt"
LOWEST = LOCKS / "lowest.txt"
# torch, and what only its builds for CUDA ask for.
OF_TORCH = re.compile(r"torch|triton|(nvidia|cuda)-.+")


@dataclass(frozen=True, slots=True)
class Pin:
    """One line of a lock: a version for the machines that its marker names."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]  # one a file of the version, sha256 in hex


def pins(file: Path) -> list[Pin]:
    """Read a file whose lines name exact versions."""
    return [_pin(line) for line in _lines(file)]


def pins_here(*files: Path) -> dict[str, Pin]:
    """Give what files say for this Python on this machine, by name."""
    return {pin.name: pin for file in files for pin in pins(file) if _is_for_here(pin.marker)}


def members(name: str) -> set[str]:
    """Name the packages of a set on this machine, without torch."""
    wanted = map(Requirement, _lines(LOCKS / f"{name}.txt"))
    return {canonicalize_name(one.name) for one in wanted if _is_for_here(str(one.marker or ""))}


def _lines(file: Path) -> Iterator[str]:
    """Give the requirements of a file, each on one line; no options, no comments."""
    text = re.sub(r"\\\n", " ", file.read_text())
    for line in text.splitlines():
        if line and not line.startswith(("#", "--", " ")):
            yield line


def _pin(line: str) -> Pin:
    stated = Requirement(line.partition(" --hash")[0])
    (exact,) = stated.specifier
    assert exact.operator == "==", line
    hashes = tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", line))
    return Pin(canonicalize_name(stated.name), exact.version, str(stated.marker or ""), hashes)


def _is_for_here(marker: str) -> bool:
    stated = Requirement(f"any ; {marker}" if marker else "any").marker
    return stated is None or stated.evaluate()
