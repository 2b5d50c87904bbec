"""Has a child decode uploaded bytes, where the supervisor needs their files.

The supervisor brings chunks undecoded and hashes the resulting files; nothing of a stranger's bytes
is decoded in the process that holds the token.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from deltareg.client.context import EncodedStorage
from deltareg.errors import Inconclusive, IntegrityFailure
from deltareg_verify.child.proving import STORED, ProofAssignment
from deltareg_verify.messages.report import listen
from deltareg_verify.supervisor.disk_usage import holds_more_than
from deltareg_verify.supervisor.options import WorkerOptions
from deltareg_verify.supervisor.parts import ChildRunner
from deltareg_verify.supervisor.stop import StopSignal

FOLDER_PREFIX = "decode-"
_SPARE_BYTES, _SPARE_FILE_BYTES = 16 << 20, 64 << 10


@dataclass(frozen=True, slots=True)
class ChildDecoder:
    """Decodes in children; a `deltareg.client.context.Decode`.

    Attributes:
        children: Runs the children.
        options: The limits of the children.
        stop: The worker's stop signal.
    """

    children: ChildRunner
    options: WorkerOptions
    stop: StopSignal

    def __call__(self, stored: EncodedStorage, into: Path) -> None:
        """Write the files of a stored version or base into an empty folder.

        Raises:
            IntegrityFailure: The bytes are not what the manifest says.
            Inconclusive: The child was killed, or could not do it.
        """
        self.options.scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX, dir=self.options.scratch) as name:
            assignment = self._assignment(stored, Path(name), into)
            most = _room_of(stored)
            output = self.children.run(
                b"decode " + assignment.encode(),
                wall_s=assignment.wall_s,
                interrupted=lambda: self._interruption(into, most),
                heard=lambda _: None,
            )
        report = listen(output)
        wrong = [check for check in report.checks if check.verdict == "fail"]
        if wrong:
            raise IntegrityFailure(wrong[0].detail)
        if [check.name for check in report.checks] != [STORED]:
            raise Inconclusive("the child did not say how much it decoded")

    def _assignment(self, stored: EncodedStorage, folder: Path, into: Path) -> ProofAssignment:
        own = folder / "own"
        own.mkdir()
        (folder / "manifest.json").write_bytes(stored.manifest.encode())
        (folder / "storage.json").write_bytes(stored.storage.encode())
        base = stored.base_manifest
        if base is not None:
            (folder / "base.json").write_bytes(base.encode())
        return ProofAssignment(
            manifest=folder / "manifest.json",
            storage=folder / "storage.json",
            chunks=stored.chunks,
            base=stored.base,
            base_manifest=None if base is None else folder / "base.json",
            scratch=own,
            threads=self.options.threads,
            wall_s=self.options.run_timeout_s,
            memory_bytes=self.options.memory_bytes,
            delivery=Path(os.path.abspath(into)),  # noqa: PTH100  # links on the way stay as they are
        )

    def _interruption(self, into: Path, most_bytes: int) -> str:
        if holds_more_than(into, most_bytes):
            return "the child fills the disk"
        return "the worker was asked to stop" if self.stop.is_overdue else ""


def _room_of(stored: EncodedStorage) -> int:
    """Return how much disk space the files may take."""
    files = stored.manifest.files
    return sum(file.size_bytes + _SPARE_FILE_BYTES for file in files) + _SPARE_BYTES
