"""The golden outputs that a push takes along: the folder's own, others, or recorded on the way.

Outputs of the process that trained say the most, and are never replaced here. Where there are none,
the library that wrote the delta may be asked, if the base is at hand and small. That is an extra: a
push goes on without, and says why. Outputs count for the base that they were computed on, and the
folder that is pushed is only read.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deltareg.client.bases.bases import KnownBase
from deltareg.client.context import Context
from deltareg.client.folders.folder import Folder
from deltareg.client.folders.golden import add_kept, changed_weights, golden_file, leave_golden_out, origin_in
from deltareg.client.push.golden_before import counts_for, find_golden, find_same
from deltareg.client.push.library_recorder import find_recorded, record_by_library
from deltareg.client.push.line_before import LineBefore
from deltareg.errors import BaseMismatch, DeltaregError, InvalidInput
from deltareg.identity.manifest import Manifest
from deltareg.suites.golden import GoldenOrigin, How
from deltareg.suites.golden_file import GOLDEN_FILE, decode

MOST_BASE_BYTES = 3 << 30
UNSEEN = "no outputs from training, so half of all damage goes unseen: deltareg golden"
"""What the first push of a line says without them; docs/planted.md has the figures."""
_ALONE = frozenset({"", "deltareg"})


@dataclass(frozen=True, slots=True)
class GoldenChoice:
    """What a push is to do about golden outputs.

    Attributes:
        file: A file with outputs that the publisher computed; None for the folder's own.
        is_left_out: Whether the version is to have none.
    """

    file: Path | None = None
    is_left_out: bool = False


@dataclass(frozen=True, slots=True)
class GoldenOutcome:
    """The golden outputs that a push carries, in words.

    Attributes:
        described: Where the outputs come from; empty where there are none.
        missing: Why there are none; empty where there are, or nobody asked.
        note: What became of others that lay in the folder; mostly empty.
        how: How they were made; None where there are none.
    """

    described: str = ""
    missing: str = ""
    note: str = ""
    how: How | None = None

    @property
    def shows_damage(self) -> bool:
        """Whether they show what happened to the files since the training."""
        return self.how in {"in_training", "by_publisher"}


@dataclass(frozen=True, slots=True)
class PushedDelta:
    """A delta that is about to be pushed, as golden outputs are chosen for it.

    Attributes:
        folder: The opened folder.
        base: Its base.
        before: The line that is pushed to.
        library: What wrote the delta, as its files name it.
        manifest: Builds the manifest of what the folder holds by now.
    """

    folder: Folder
    base: KnownBase
    before: LineBefore
    library: str
    manifest: Callable[[], Manifest]


def take_golden(context: Context, delta: PushedDelta, choice: GoldenChoice) -> GoldenOutcome:
    """Decide which golden outputs a folder is pushed with, and put them among its files.

    Nothing is written to the folder.

    Raises:
        Refused: The folder's file is no golden file.
        InvalidInput: The file that was named is none, or is of other weights.
        BaseMismatch: The file that was named was computed on another base.
    """
    folder = delta.folder
    if choice.is_left_out:
        leave_golden_out(folder, why="not wanted")
        return GoldenOutcome()
    if choice.file is not None:
        return _take_file(delta, choice.file)
    origin = origin_in(folder)
    changed = () if origin is None else changed_weights(folder.path, origin)
    if origin is not None and origin.how != "by_library" and not _is_of_another(delta, origin):
        return GoldenOutcome(
            _describe_origin(origin, changed), how=origin.how
        )  # where weights changed since, verification judges
    why = "" if origin is None else _why_not_own(context, delta, origin, changed)
    if origin is not None and not why:
        return GoldenOutcome(_describe_origin(origin, changed), how=origin.how)
    if why:
        leave_golden_out(folder, why=why)
    return _find_or_record(context, delta)


def _take_file(delta: PushedDelta, path: Path) -> GoldenOutcome:
    """Take the file that the publisher names, or refuse it; it is never replaced."""
    folder, base = delta.folder, delta.base
    raw = golden_file(path)
    origin = decode(raw).origin
    changed = changed_weights(folder.path, origin)
    if changed:
        raise InvalidInput(
            f"{path} was recorded with other weights: {', '.join(changed)} {'is' if len(changed) == 1 else 'are'}"
            f" not what {'it was' if len(changed) == 1 else 'they were'} then",
            fix="push the folder that it was recorded with, or record again: deltareg golden record FOLDER --base"
            f" {base.name}",
        )
    if _is_of_another(delta, origin):
        raise BaseMismatch(
            f"{path} was computed on another base than {base.name}",
            fix=f"record it on this one: deltareg golden record FOLDER --base {base.name}",
        )
    own = folder.contents.get(GOLDEN_FILE)
    leave_golden_out(folder, why="--golden names another file")
    add_kept(folder, raw)
    is_other = own is not None and bytes(own.data) != raw
    note = f"the {GOLDEN_FILE} in the folder is not used: --golden names another" if is_other else ""
    return GoldenOutcome(_describe_origin(origin, ()), note=note, how=origin.how)


def _is_of_another(delta: PushedDelta, origin: GoldenOrigin) -> bool:
    """Whether outputs say that they were computed on another base."""
    return origin.base not in {"", str(delta.base.view.root)}


def _why_not_own(context: Context, delta: PushedDelta, origin: GoldenOrigin, changed: Sequence[str]) -> str:
    """Return why the library's outputs in the folder do not count; empty where they do."""
    if _is_of_another(delta, origin):
        return "computed on another base"
    if changed:
        return "of other weights"
    if origin.base:
        return ""
    same = find_same(context, delta.before, delta.manifest(), delta.base)
    if same is not None and counts_for(origin, delta.base, verdict=same.verdict):
        return ""  # the same push again
    return "it does not say on which base it was computed: an earlier release wrote it"


def _find_or_record(context: Context, delta: PushedDelta) -> GoldenOutcome:
    """Take the outputs that exist of these files on this base; else have the library compute some."""
    folder, base, files = delta.folder, delta.base, delta.manifest().files
    earlier = find_golden(context, delta.before, files, base)
    if earlier is not None:
        add_kept(folder, earlier.raw)
        return GoldenOutcome(f"{earlier.origin.description}; those of {earlier.ref}", how=earlier.origin.how)
    same = find_same(context, delta.before, delta.manifest(), base)
    if same is not None:  # with outputs it would be another version
        return GoldenOutcome(missing=f"{same.ref} was pushed without")
    raw = find_recorded(context, base, files)
    if raw is None and context.config.golden == "never":
        return GoldenOutcome()
    if raw is None:
        missing = _why_not(folder, base, delta.library)
        if missing:
            return GoldenOutcome(missing=missing)
        try:
            raw = record_by_library(context, folder, base, files, library=delta.library)
        except DeltaregError as error:
            return GoldenOutcome(missing=error.message)
    add_kept(folder, raw)
    origin = decode(raw).origin
    return GoldenOutcome(_describe_origin(origin, ()), how=origin.how)


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
