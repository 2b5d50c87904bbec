"""A commit by a hub client: its changes are applied to the line's files and pushed as a folder.

The result is an existing version, a new version, or not a delta yet; then the changes are kept as a
draft. A wrong commit is refused, and the draft stays as it was.
"""

import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from deltareg.db.lines import versions as version_queries
from deltareg.db.session import read, with_retry
from deltareg.documents.json_values import is_object, parse_json
from deltareg.documents.model_card import MOST_CARD_BYTES
from deltareg.errors import (
    Conflict,
    DeltaregError,
    IntegrityFailure,
    InvalidInput,
    NotFound,
    QuotaExceeded,
    Refused,
    StaleRevision,
    Unavailable,
)
from deltareg.identity.left_out import is_sent
from deltareg.identity.manifest import check_path, check_paths
from deltareg.refs import LineRef
from deltareg.service.access.founding import require_push
from deltareg.service.hub.base_evidence import ChosenBase, NewestBase, choose_base, claims_of
from deltareg.service.hub.content import look_for_content
from deltareg.service.hub.copies import find_copied
from deltareg.service.hub.drafts import Changes, DraftState, drop_changes, find_standing, keep_changes
from deltareg.service.hub.files import CommitFile
from deltareg.service.hub.snapshots import COMMIT_DIGITS, MissingContent
from deltareg.service.push.staging import MOST_BYTES, find_staged, let_go, read_staged
from deltareg.service.registry import Caller, Registry

MOST_FILES = 1_000
_TRIES = 16
_INCOMPLETE = frozenset({"empty", "missing_config"})
_WEIGHTS, _INDEX = ".safetensors", ".safetensors.index.json"
_INDEX_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class CommitOperations:
    """The changes that a commit asks for.

    Attributes:
        files: Files by path; their bytes are staged, or those of an existing file.
        copied: The sha256 of files that the line has already, by the path of the copy.
        deleted: Paths to delete; folders end with a slash.
        message: The commit message, for people.
        parent: The commit that it is based on; empty where it names none.
    """

    files: Mapping[str, CommitFile] = field(default_factory=dict[str, CommitFile])
    copied: Mapping[str, str] = field(default_factory=dict[str, str])
    deleted: Sequence[str] = ()
    message: str = ""
    parent: str = ""


@dataclass(frozen=True, slots=True)
class PushedVersion:
    """The result of a push: the reference of the version, its digest and its kind."""

    ref: str
    digest: str
    kind: str


class PushFolder(Protocol):
    """Pushes a folder as `deltareg push` does, as the caller."""

    def __call__(
        self, folder: Path, line: LineRef, *, base: ChosenBase, message: str, newest_number: int
    ) -> PushedVersion:
        """Push the folder.

        Raises:
            Refused: The folder is no delta of the base.
            StaleRevision: The newest version of the line has another number.
        """
        ...


@dataclass(frozen=True, slots=True)
class CommitOutcome:
    """The outcome of a commit: its digits, and a message about it."""

    commit: str
    description: str


def commit(
    registry: Registry, caller: Caller, line: LineRef, asked: CommitOperations, *, push: PushFolder, scratch: Path
) -> CommitOutcome:
    """Apply a commit.

    Args:
        registry: The database and the store.
        caller: Who commits.
        line: The line that is committed to.
        asked: The changes.
        push: Pushes a folder as a version.
        scratch: An empty folder for it.

    Raises:
        Forbidden: The caller may not push there.
        StaleRevision: The commit is based on another commit than the current one.
        InvalidInput: The bytes of a file were never sent, or a path is malformed.
        Refused: The resulting folder is wrong, and no later commit could fix it.
        Unavailable: Others push there all the time.
    """
    for _ in range(_TRIES):
        standing = look_at_standing(registry, caller, line)
        _check_parent(asked, standing)
        try:
            return _apply(registry, caller, line, asked, standing, push=push, scratch=scratch)
        except StaleRevision:  # another commit was done first, here or at another server: apply it over that
            _empty(scratch)
        except (Conflict, InvalidInput, NotFound):
            look_at_standing(registry, caller, line)  # which says so if the line was renamed meanwhile
            raise
    raise Unavailable(f"others push to {line} again and again", fix="push again")


def _check_parent(asked: CommitOperations, standing: DraftState) -> None:
    if asked.parent and not standing.commit.startswith(asked.parent):
        raise StaleRevision(
            f"the commit is made over {asked.parent[:12]}, and main is {standing.commit[:12]} now",
            fix="leave parent_commit out, or take the newest",
        )


def _apply(
    registry: Registry,
    caller: Caller,
    line: LineRef,
    asked: CommitOperations,
    standing: DraftState,
    *,
    push: PushFolder,
    scratch: Path,
) -> CommitOutcome:
    """Apply a commit over a state of the line.

    Raises:
        StaleRevision: The line has another newest version meanwhile, or another draft.
    """
    own = _changes(standing.files, _with_copies(registry, caller, line, standing, asked))
    changes = {**standing.changes, **own}
    after = replace(standing, changes=changes)
    files = after.files
    if files == standing.files:
        return CommitOutcome(standing.commit, "nothing changed")
    if files == dict(standing.before) and standing.newest is not None:
        drop_changes(registry, caller, line, standing.changes)
        return CommitOutcome(standing.newest.commit, f"that is {standing.newest.name}")
    _check(line, files)
    lacking = _lacking(files)
    if not lacking:
        _write(registry, caller, line, after, scratch)
        lacking = _lacking_shards(scratch, files)
    if lacking:
        return _keep_draft(registry, caller, line, own, standing, after, lacking)
    base = _base(registry, caller, line, standing, scratch)
    try:
        pushed = push(scratch, line, base=base, message=asked.message, newest_number=standing.newest_number)
    except Refused as refused:
        codes = {problem.code for problem in refused.problems if problem.severity == "error"}
        if not codes or not codes <= _INCOMPLETE:
            raise
        return _keep_draft(registry, caller, line, own, standing, after, refused.message)
    is_more = drop_changes(registry, caller, line, changes)
    let_go(registry, str(line), caller, {e.sha256 for e in changes.values() if e is not None})
    if is_more:
        return _apply_rest(registry, caller, line, asked, pushed, base, push=push, scratch=scratch)
    return _describe_push(pushed, base)


def _apply_rest(
    registry: Registry,
    caller: Caller,
    line: LineRef,
    asked: CommitOperations,
    pushed: PushedVersion,
    base: ChosenBase,
    *,
    push: PushFolder,
    scratch: Path,
) -> CommitOutcome:
    """Apply what was kept as a draft at another server while a version was made that completes it."""
    _empty(scratch)
    rest = look_at_standing(registry, caller, line)
    whole = replace(rest, changes={})
    asked_again = CommitOperations(
        files={path: entry for path, entry in rest.changes.items() if entry is not None},
        deleted=[path for path, entry in rest.changes.items() if entry is None],
        message=asked.message,
    )
    try:
        return _apply(registry, caller, line, asked_again, whole, push=push, scratch=scratch)
    except DeltaregError:  # the commit itself is done; the rest stays a draft, whose next commit says what is wrong
        return _describe_push(pushed, base)


def _describe_push(pushed: PushedVersion, base: ChosenBase) -> CommitOutcome:
    digits = pushed.digest.removeprefix("sha256:")[:COMMIT_DIGITS]
    return CommitOutcome(digits, f"{pushed.ref} ({pushed.kind}, base {base.name}, by {base.where})")


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def look_at_standing(registry: Registry, caller: Caller, line: LineRef) -> DraftState:
    """Return the state of a line and its draft for somebody who pushes to it.

    Raises:
        Forbidden: The caller may not push to it.
        Unavailable: It was renamed since the request began.
    """
    # To found is to look and to lock.
    with_retry(registry.engine, lambda conn: require_push(conn, caller, on=line))
    with read(registry.engine) as conn:
        return find_standing(conn, caller, line)


def _with_copies(
    registry: Registry, caller: Caller, line: LineRef, standing: DraftState, asked: CommitOperations
) -> CommitOperations:
    if not asked.copied:
        return asked
    copies = find_copied(registry, caller, line, standing, asked.copied)
    return replace(asked, files={**asked.files, **copies})


def _changes(files: Mapping[str, CommitFile], asked: CommitOperations) -> Changes:
    """Return what a commit changes; files that deltas leave out are left out here as well."""
    deleted = [
        path
        for path in files
        if any(path == name or (name.endswith("/") and path.startswith(name)) for name in asked.deleted)
    ]
    changed: dict[str, CommitFile | None] = dict.fromkeys(deleted)
    for path, entry in asked.files.items():
        check_path(path)
        if is_sent(path):
            changed[path] = entry
    return changed


def _check(line: LineRef, files: Mapping[str, CommitFile]) -> None:
    check_paths(files)
    if len(files) > MOST_FILES:
        raise QuotaExceeded(f"{line} would have {len(files)} files, at most {MOST_FILES}")
    size = sum(entry.size_bytes for entry in files.values())
    if size > MOST_BYTES:
        raise QuotaExceeded(
            f"{line} would have {size} bytes; by this interface come at most {MOST_BYTES}",
            fix=f"push it with: deltareg push PATH {line} --base NAME",
        )


def _lacking(files: Mapping[str, CommitFile]) -> str:
    """Return what files lack to be a delta, judging by their names; empty if nothing."""
    weights = [path for path in files if path.endswith(_WEIGHTS)]
    if not weights:
        return "it has no weights yet (*.safetensors)"
    is_peft = any(path.rpartition("/")[2] == "adapter_model.safetensors" for path in weights)
    if is_peft and not any(p.rpartition("/")[2] == "adapter_config.json" for p in files):
        return "adapter_config.json is missing"
    return ""


def _lacking_shards(folder: Path, files: Mapping[str, CommitFile]) -> str:
    for path, entry in files.items():
        if not path.endswith(_INDEX) or entry.size_bytes > _INDEX_BYTES:
            continue
        try:
            index = parse_json((folder / path).read_bytes())
        except ValueError:
            continue  # the push says what is wrong with it
        places = index.get("weight_map") if is_object(index) else None
        beside = path.rpartition("/")[0]
        shards = {str(name) for name in places.values()} if is_object(places) else set[str]()
        missing = sorted(n for n in shards if (f"{beside}/{n}" if beside else n) not in files)
        if missing:
            return f"{path} names {missing[0][:120]}, which is missing"
    return ""


def _write(registry: Registry, caller: Caller, line: LineRef, standing: DraftState, scratch: Path) -> None:
    """Write the files of a draft into a folder, and check each against its digest.

    Raises:
        InvalidInput: The bytes of a file were never sent.
    """
    files = standing.files
    staged = find_staged(registry, str(line), caller, {entry.sha256 for entry in files.values()})
    there = {entry.sha256: path for path, entry in standing.before.items()}
    for path, entry in files.items():
        place = scratch / path
        place.parent.mkdir(parents=True, exist_ok=True)
        row = staged.get(entry.sha256)
        if row is not None:
            chunks = read_staged(registry.store, row, 0, row.size_bytes)
        elif entry.sha256 in there:
            chunks = _of_newest(registry, caller, line, standing, there[entry.sha256])
        else:
            raise _never_sent(path)
        _write_checked(place, entry, chunks)


def _write_checked(place: Path, entry: CommitFile, chunks: Iterator[memoryview]) -> None:
    hashed = hashlib.sha256()
    with place.open("wb") as file:
        for chunk in chunks:
            hashed.update(chunk)
            file.write(chunk)
    if hashed.hexdigest() != entry.sha256:
        raise IntegrityFailure(f"{entry.path} is not what it was announced as")


def _of_newest(
    registry: Registry, caller: Caller, line: LineRef, standing: DraftState, path: str
) -> Iterator[memoryview]:
    assert standing.newest is not None
    digest = standing.newest.manifest_digest
    content = look_for_content(registry, caller, str(line), digest, path, main="newest")
    if isinstance(content, MissingContent):
        raise content.error
    return content.read(0, content.entry.size_bytes)


def _never_sent(path: str) -> InvalidInput:
    return InvalidInput(f"the bytes of {path} were never sent, or too long ago", fix="push again")


def _keep_draft(
    registry: Registry,
    caller: Caller,
    line: LineRef,
    own: Changes,
    standing: DraftState,
    after: DraftState,
    lacking: str,
) -> CommitOutcome:
    """Store changes that make no delta yet as a draft; their bytes must have been sent."""
    there = {entry.sha256 for entry in after.before.values()}
    needed = {e.sha256: path for path, e in own.items() if e is not None and e.sha256 not in there}
    staged = find_staged(registry, str(line), caller, needed)
    for sha256, path in needed.items():
        if sha256 not in staged:
            raise _never_sent(path)
    keep_changes(registry, caller, line, own, over=standing)
    description = f"kept as your draft of {line}, no version yet: {lacking}"
    return CommitOutcome(after.commit, description)


def _base(registry: Registry, caller: Caller, line: LineRef, standing: DraftState, folder: Path) -> ChosenBase:
    claimed = _claimed_before(registry, caller, line, standing)
    with read(registry.engine) as conn:
        newest = NewestBase()
        if standing.newest is not None:
            row = version_queries.version_by_id(conn, standing.newest.held.row_id)
            newest = NewestBase(row.base_name or "", claimed)
        return choose_base(conn, caller, str(line), folder, newest=newest)


def _claimed_before(registry: Registry, caller: Caller, line: LineRef, standing: DraftState) -> frozenset[str]:
    """Return the names that the files of the newest version have for their base."""

    def read(path: str) -> bytes:
        entry = standing.before.get(path)
        if entry is None or entry.size_bytes > MOST_CARD_BYTES:
            return b""
        return b"".join(_of_newest(registry, caller, line, standing, path))

    return frozenset(claim.name for claim in claims_of(read).claims)
