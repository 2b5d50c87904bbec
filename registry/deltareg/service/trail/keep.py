"""Keeping checkpoints outside the database: in a file beside it, and in the store of blobs.

There whoever changes the database does not reach them, or not both, and a store that locks objects
lets nobody take them back. A place that does not answer holds nothing up: the next batch is told
to it again, with a checkpoint over all before it.
"""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from deltareg.errors import DeltaregError
from deltareg.service.trail.seal import Batch
from deltareg.store import BlobStore
from deltareg.trail.kept import kept_line

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Places:
    """Where checkpoints are kept.

    Attributes:
        store: The store of blobs; None for none.
        file: A file that grows by a line a batch; None for none.
    """

    store: BlobStore | None = None
    file: Path | None = None

    def keep(self, batch: Batch) -> None:
        """Keep the checkpoint of a batch in each place; what fails is told and left."""
        line = kept_line(batch.note, batch.leaves)
        if self.file is not None:
            try:
                _append(self.file, line)
            except OSError as error:
                log.warning("the checkpoint is not kept in %s: %s", self.file, error)
        if self.store is not None:
            name = evidence_name(batch)
            try:
                self.store.keep(name, line.encode())
            except DeltaregError as error:
                log.warning("the checkpoint is not kept in the store: %s", error)


def evidence_name(batch: Batch) -> str:
    """Name what is kept of a batch in the store: by its log, its size and its root."""
    log_name = batch.checkpoint.origin.rpartition("/")[2]
    return f"log/{log_name}/{batch.checkpoint.size:018}-{batch.checkpoint.root.hex()[:16]}"


def _append(path: Path, line: str) -> None:
    """Add a line to a file of this user's, at once and durably; a line that was cut is ended."""
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
