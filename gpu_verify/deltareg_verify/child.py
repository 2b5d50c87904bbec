"""The child of one run: it enters the sandbox, opens the tenant's files, runs checks, and tells.

It runs in a process forked by the zygote, holds no credentials, and says everything over one pipe.
"""

import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

from deltareg.base_manifest import base_identity, base_view
from deltareg.client.base_folder import BaseFolder
from deltareg.client.folder import open_folder
from deltareg.delta_manifest import assess
from deltareg.errors import DeltaregError
from deltareg.fold import Folding
from deltareg.kind import Account
from deltareg.manifest import Manifest
from deltareg.suite import built_in
from deltareg_verify import sandbox
from deltareg_verify.assignment import Assignment, Below
from deltareg_verify.case import Case, DeltaFolder, Parts
from deltareg_verify.examine import examine
from deltareg_verify.report import Speaker
from deltareg_verify.torch_engine import TorchEngine, environment, prepare_device, warm, warm_for

__all__ = ["describe", "prepare", "verify", "warm"]

_SPARE_CPU_S = 60


def prepare(request: bytes) -> Callable[[BinaryIO], None]:
    """Read a request, in the zygote, and give what the child is to do.

    `verify ASSIGNMENT` runs a suite; `describe {"device": …, "scratch": …}` tells about the device.
    """
    verb, _, body = request.partition(b" ")
    if verb == b"verify":
        assignment = Assignment.decode(body)
        warm_for(assignment.model_type)  # stays imported for all later runs
        return partial(verify, assignment)
    wanted: dict[str, str] = json.loads(body)
    return partial(describe, device=wanted["device"], scratch=Path(wanted["scratch"]))


def verify(assignment: Assignment, out: BinaryIO) -> None:
    """Run the suite over one version and say what it gave."""
    speaker = Speaker(out)
    os.environ["HOME"] = os.environ["TMPDIR"] = str(assignment.scratch)
    level = sandbox.enter(_bounds(assignment))
    try:
        device = prepare_device(assignment.device, threads=assignment.threads)
        case = _case(assignment, partial(TorchEngine, device=device))
        for result in examine(case):
            speaker.check(result)
        dtype = case.dtype
        speaker.end(dtype=dtype, sandbox=level, environment=environment(device))
    except DeltaregError as error:
        speaker.give_up(f"{error.message}; {error.fix}" if error.fix else error.message)
    except MemoryError:
        speaker.give_up("not enough memory; run it on a worker with more")


def describe(out: BinaryIO, *, device: str, scratch: Path) -> None:
    """Say what the device is and which layers of the sandbox hold here."""
    speaker = Speaker(out)
    level = sandbox.enter(sandbox.Bounds((), scratch, cpu_s=_SPARE_CPU_S, memory_bytes=None))
    try:
        found = environment(prepare_device(device, threads=0))
        speaker.end(dtype="", sandbox=level, environment=found)
    except DeltaregError as error:
        speaker.give_up(f"{error.message}; {error.fix}")


def _bounds(assignment: Assignment) -> sandbox.Bounds:
    threads = assignment.threads or len(os.sched_getaffinity(0))
    is_limited = assignment.device == "cpu" and assignment.memory_bytes > 0
    # A hub's cache is made of links into another folder.
    bases = [assignment.base] + ([] if assignment.below is None else [assignment.below.base])
    files = (path for base in bases for path in base.rglob("*"))
    linked = {path.resolve().parent for path in files if path.is_symlink()}
    own = (assignment.delta, assignment.manifest, assignment.base, assignment.base_manifest)
    below = () if assignment.below is None else assignment.below.paths
    return sandbox.Bounds(
        readable=(*own, *below, *sorted(linked)),
        writable=assignment.scratch,
        cpu_s=int(assignment.wall_s) * threads + _SPARE_CPU_S,
        memory_bytes=assignment.memory_bytes if is_limited else None,
    )


def _case(assignment: Assignment, engine: Callable[..., TorchEngine]) -> Case:
    manifest = Manifest.decode(assignment.manifest.read_bytes())
    suite = built_in(assignment.suite)
    base = _open_base(assignment.base, assignment.base_manifest)
    below = assignment.below

    def accounted(folder: DeltaFolder) -> Account:
        return assess(folder.files, folder.tensors, base.view, kind=manifest.kind).account

    parts = Parts(
        folder=lambda: open_folder(
            assignment.delta, convention=str(manifest.config.get("convention", ""))
        ),
        account=accounted,
        engine=lambda account: engine(base, account.effects, suite=suite),
        below=None if below is None else lambda: _fold_below(below),
    )
    return Case(manifest, base, suite=suite, parts=parts, clock=time.perf_counter)


def _fold_below(below: Below) -> Folding:
    manifest = Manifest.decode(below.manifest.read_bytes())
    base = _open_base(below.base, below.base_manifest)
    folder = open_folder(below.delta, convention=str(manifest.config.get("convention", "")))
    account = assess(folder.files, folder.tensors, base.view, kind=manifest.kind).account
    return Folding(account.effects, base.tensors)


def _open_base(path: Path, manifest_file: Path) -> BaseFolder:
    manifest = Manifest.decode(manifest_file.read_bytes())
    folder = open_folder(path, purpose="base")
    return BaseFolder(path, folder, manifest, base_view(manifest), base_identity(manifest))
