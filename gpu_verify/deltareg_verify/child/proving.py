"""The child that decodes uploaded bytes in the sandbox, and reports what is wrong.

For a proof it keeps nothing; for a verification it writes the files into a folder.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from deltareg.client.folders.folder import open_folder
from deltareg.client.packs.proof import LIES, ProofMismatch, rebuilding, wrong_parts
from deltareg.client.packs.rebuilt_files import write_files
from deltareg.client.packs.transfer import reader
from deltareg.client.progress import SILENT
from deltareg.codec import ReadRange, cores
from deltareg.digest import Digest, tensor_digest
from deltareg.errors import Inconclusive
from deltareg.identity.manifest import Manifest
from deltareg.identity.storage_map import StorageMap
from deltareg.wire import CheckResult
from deltareg_verify.messages.report import ReportWriter
from deltareg_verify.messages.requests import ProcessRequest
from deltareg_verify.sandbox import layers

STORED = "stored"
"""What the child calls its one check."""
_SPARE_CPU_S = 60


@dataclass(frozen=True, slots=True)
class ProofAssignment(ProcessRequest):
    """One decoding as the child sees it: paths and limits, no credentials, no addresses.

    Attributes:
        manifest: A file with the manifest bytes.
        storage: A file with the storage map.
        chunks: A file with the encoded chunks, in the order of need.
        base: The folder of the base that they are decoded against, its root checked; None without
            one.
        base_manifest: A file with the base's manifest bytes.
        scratch: The one folder that the child may write.
        threads: Processor threads; 0 takes all.
        wall_s: Seconds after which the child is killed.
        memory_bytes: Private memory; 0 sets no limit.
        hashes_base: Whether to hash the base's tensors again, before blaming the uploader.
        delivery: The folder to write the files into; None for a proof, which keeps nothing.
    """

    manifest: Path
    storage: Path
    chunks: Path
    base: Path | None
    base_manifest: Path | None
    scratch: Path
    threads: int
    wall_s: float
    memory_bytes: int
    hashes_base: bool = False
    delivery: Path | None = None


def prove(assignment: ProofAssignment, out: BinaryIO) -> None:
    """Decode the stored bytes and report what is wrong with them."""
    speaker = ReportWriter(out)
    threads = assignment.threads or len(os.sched_getaffinity(0))
    manifest = Manifest.decode(assignment.manifest.read_bytes())
    level = layers.enter(_bounds(assignment, manifest, threads))
    with speaker.giving_up():
        storage = StorageMap.decode(assignment.storage.read_bytes())
        references = _references(assignment, storage)
        workers = min(threads, cores())
        for wrong in _wrong(assignment, manifest, storage, references, workers=workers):
            result = CheckResult(name="wrong", value=wrong.name, verdict="fail", code="corrupt", detail=wrong.detail)
            speaker.check(result)
        count = len(manifest.pieces())
        speaker.check(CheckResult(name=STORED, value=count, verdict="pass"))
        speaker.end(dtype="", sandbox=level, environment={})


def _wrong(
    assignment: ProofAssignment,
    manifest: Manifest,
    storage: StorageMap,
    references: Mapping[Digest, ReadRange],
    *,
    workers: int,
) -> Iterator[ProofMismatch]:
    """Yield what is wrong; with a delivery folder, write the files until something is wrong."""
    chunks, delivery = assignment.chunks, assignment.delivery
    if delivery is None:
        yield from wrong_parts(manifest, storage, chunks, references, workers=workers)
        return
    try:
        with rebuilding(manifest, storage, chunks, references, workers=workers) as rebuild:
            write_files(delivery, manifest, rebuild, meter=SILENT.task("", None))
    except LIES as error:
        yield ProofMismatch("files", error.message)


def _references(assignment: ProofAssignment, storage: StorageMap) -> Mapping[Digest, ReadRange]:
    """Return the base's tensors that something is decoded against."""
    if assignment.base is None or assignment.base_manifest is None:
        return {}
    manifest = Manifest.decode(assignment.base_manifest.read_bytes())
    tensors = open_folder(assignment.base, purpose="base").tensors
    outside = storage.outside
    needed = [tensor for tensor in manifest.tensors if tensor.digest in outside]
    for tensor in needed if assignment.hashes_base else ():
        data = tensors[tensor.name].read()
        if tensor_digest(tensor.dtype, tensor.shape, [data]) != tensor.digest:
            raise Inconclusive(f"the base at hand is damaged: {tensor.name} is another tensor")
    return {tensor.digest: reader(tensors[tensor.name].read()) for tensor in needed}


def _bounds(assignment: ProofAssignment, manifest: Manifest, threads: int) -> layers.SandboxLimits:
    own = [assignment.manifest, assignment.storage, assignment.chunks]
    own += [path for path in (assignment.base, assignment.base_manifest) if path is not None]
    return layers.SandboxLimits(
        readable=(*own, *layers.linked_from(filter(None, [assignment.base]))),
        writable=assignment.scratch,
        cpu_s=int(assignment.wall_s) * threads + _SPARE_CPU_S,
        memory_bytes=assignment.memory_bytes or None,
        used_bytes=assignment.memory_bytes or None,
        delivery=assignment.delivery,
        file_bytes=max([layers.FILE_BYTES, *(file.size_bytes for file in manifest.files)]),
    )
