"""The golden outputs that a push takes along: the folder's own, others, or recorded on the way.

Outputs of the process that trained say the most, and are never replaced here. Where there are none,
the library that wrote the delta may be asked, if the base is at hand and small. That is an extra: a
push goes on without, and says why.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from deltareg.client.bases.bases import KnownBase
from deltareg.client.folders.folder import Folder
from deltareg.client.folders.golden import (
    add_golden,
    add_kept,
    changed_weights,
    leave_golden_out,
    origin_in,
    take_recorded,
)
from deltareg.client.push.golden_before import EarlierGolden
from deltareg.errors import DeltaregError
from deltareg.suites.golden import GoldenOrigin
from deltareg.suites.golden_file import GOLDEN_FILE

MOST_BASE_BYTES = 3 << 30
_ALONE = frozenset({"", "deltareg"})


class GoldenRecorder(Protocol):
    """Has the library that wrote a delta compute outputs, and keeps them in its folder."""

    def __call__(self, folder: Path, base: Path, *, library: str, convention: str) -> None:
        """Write `deltareg-golden.json` into the folder.

        Args:
            folder: The delta's.
            base: The base's.
            library: As the delta's files name what wrote them.
            convention: What the user says of its values.

        Raises:
            DeltaregError: It could not; nothing was written.
        """
        ...


@dataclass(frozen=True, slots=True)
class GoldenChoice:
    """What a push is to do about golden outputs.

    Attributes:
        file: A file with outputs that the publisher computed; None for the folder's own.
        is_left_out: Whether the version is to have none.
        record: Records where there are none; None for never.
    """

    file: Path | None = None
    is_left_out: bool = False
    record: GoldenRecorder | None = None


@dataclass(frozen=True, slots=True)
class GoldenOutcome:
    """The golden outputs that a push carries, in words.

    Attributes:
        described: Where the outputs come from; empty where there are none.
        missing: Why there are none; empty where there are, or nobody asked.
    """

    described: str = ""
    missing: str = ""


def take_golden(
    folder: Folder,
    base: KnownBase,
    choice: GoldenChoice,
    *,
    library: str,
    find_before: Callable[[], EarlierGolden | None],
) -> GoldenOutcome:
    """Decide which golden outputs a folder is pushed with, and put them among its files.

    Args:
        folder: The opened folder.
        base: Its base.
        choice: What is wanted.
        library: What wrote the delta, as its files name it.
        find_before: Looks for outputs that the line has already of the same files.

    Raises:
        Refused: The folder's file is no golden file.
        InvalidInput, Conflict: The file that was named is none, or the folder has one, too.
    """
    if choice.is_left_out:
        leave_golden_out(folder, why="not wanted")
        return GoldenOutcome()
    if choice.file is not None:
        add_golden(folder, choice.file)
    origin = origin_in(folder)
    changed = () if origin is None else changed_weights(folder.path, origin)
    if origin is not None and (origin.how != "by_library" or not changed):
        return GoldenOutcome(_describe_origin(origin, changed))
    if origin is not None:  # of other weights, and of no training: worth nothing any more
        leave_golden_out(folder, why="of other weights")
    if choice.record is None:
        return GoldenOutcome()
    before = find_before()
    if before is not None:
        add_kept(folder, before.raw)
        return GoldenOutcome(f"{before.origin.description}; those of {before.ref}")
    missing = _why_not(folder, base, library)
    return GoldenOutcome(missing=missing) if missing else _record(folder, base, choice, library)


def _record(folder: Folder, base: KnownBase, choice: GoldenChoice, library: str) -> GoldenOutcome:
    """Have the library compute outputs, and put them among the folder's files."""
    assert choice.record is not None
    assert base.folder is not None
    try:
        choice.record(folder.path, base.folder.path, library=library, convention=folder.convention)
    except DeltaregError as error:
        return GoldenOutcome(missing=error.message)
    take_recorded(folder)
    folder.left_out[:] = [one for one in folder.left_out if not one.startswith(GOLDEN_FILE)]
    found = origin_in(folder)
    return GoldenOutcome("" if found is None else _describe_origin(found, []))


def _describe_origin(origin: GoldenOrigin, changed: Sequence[str]) -> str:
    if not changed:
        return origin.description
    return f"{origin.description}; {', '.join(changed)} changed since, which verification will judge"


def _why_not(folder: Folder, base: KnownBase, library: str) -> str:
    if library in _ALONE:
        return "no library reads such a delta by itself"
    if folder.source.is_file():
        return "it is one file, in a folder of others"
    if base.folder is None:
        return "the base is not on this machine"
    size = sum(file.size_bytes for file in base.folder.folder.contents.values())
    if size > MOST_BASE_BYTES:
        return f"the base has {size / 2**30:.1f} GiB, too much to run it on the way"
    return ""
