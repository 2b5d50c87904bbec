"""Keeping checkpoints outside the database: in a file beside it, and in the store of blobs.

There, whoever changes the database cannot reach them, or not both, and a store that locks objects
lets nobody delete them. A place that does not answer blocks nothing: the next batch sends it a
checkpoint that covers all earlier ones.
"""

import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deltareg.db.session import read
from deltareg.db.trail import trail as queries
from deltareg.errors import DeltaregError
from deltareg.service.registry import Registry
from deltareg.service.trail.leaves import hashes_in
from deltareg.service.trail.seal import SealBatch
from deltareg.store import BlobStore
from deltareg.trail.log_copy import KeptLog, kept_line
from deltareg.trail.merkle import Frontier

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CheckpointStores:
    """Where checkpoints are kept.

    Attributes:
        store: The store of blobs; None for none.
        file: A file that grows by a line a batch; None for none.
        failing: The places that failed the last time.
    """

    store: BlobStore | None = None
    file: Path | None = None
    failing: set[str] = field(default_factory=set[str], compare=False)

    def keep(self, batch: SealBatch) -> bool:
        """Store the checkpoint of a batch in each place; log failures and go on.

        Return whether a place guarantees that nobody can delete it.
        """
        line, is_locked = kept_line(batch.note, batch.leaves), False
        if self.file is not None:
            with self._tolerant(str(self.file)):
                _append(self.file, line)
        if self.store is not None:
            with self._tolerant("the store"):
                is_locked = self.store.keep(evidence_name(batch), line.encode())
        return is_locked

    @contextmanager
    def _tolerant(self, where: str) -> Generator[None, None, None]:
        """Warn about a place that fails, once until it works again."""
        try:
            yield
        except (OSError, DeltaregError) as error:
            if where not in self.failing:
                log.warning("checkpoints are not kept in %s: %s", where, error)
            self.failing.add(where)
        else:
            self.failing.discard(where)


def differs_from_kept(registry: Registry, path: Path) -> str:
    """Return how the log differs from the last checkpoint in a file; empty if it continues it.

    The file is trusted as it is: whoever changes it causes a warning and nothing else.
    """
    try:
        *_, last = path.read_text(encoding="utf-8").splitlines()
        checkpoint = KeptLog.head_of(last)
    except (OSError, ValueError, DeltaregError):
        return ""
    with read(registry.engine) as conn:
        if queries.origin_of_log(conn) != checkpoint.origin:
            return f"it is another log than {checkpoint.origin}"
        size = queries.log_size(conn)
        if size < checkpoint.size:
            return f"it has {size} rows, and had {checkpoint.size}"
        root = Frontier.of(hashes_in(conn), checkpoint.size).root()
    return "" if root == checkpoint.root else f"its first {checkpoint.size} rows are others than they were"


def evidence_name(batch: SealBatch) -> str:
    """Return the name under which the store holds a batch: its log, its size and its root."""
    log_name = batch.checkpoint.origin.rpartition("/")[2]
    return f"log/{log_name}/{batch.checkpoint.size:018}-{batch.checkpoint.root.hex()[:16]}"


def _append(path: Path, line: str) -> None:
    """Append a line durably to a file that only this user reads; end a line that was cut off."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
            if file.read(1) != b"\n":
                line = "\n" + line
        file.write(line.encode())
        os.fsync(file.fileno())
