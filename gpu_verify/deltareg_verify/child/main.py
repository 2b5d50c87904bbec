"""The child of one run: it enters the sandbox, opens the tenant's files, runs checks, and reports.

It runs in a process forked by the zygote, holds no credentials, and reports over one pipe.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypedDict

import numpy as np
from numpy.typing import NDArray

from deltareg.client.folders.base_folder import BaseFolder
from deltareg.client.folders.folder import open_folder
from deltareg.delta.base_manifest import base_identity, base_view
from deltareg.delta.fold import FoldedBase
from deltareg.delta.kind import Account
from deltareg.delta.kinds import all_kinds
from deltareg.identity.manifest import Manifest
from deltareg.suites.base_probes import BaseProbes
from deltareg.suites.lm_task import LmTask, fill_task, read_task
from deltareg.suites.probe_set import read_samples
from deltareg.suites.suite import ProbeSet, Suite, read_stored_suite
from deltareg_verify.child.answering import reply
from deltareg_verify.child.base_measurement import measure
from deltareg_verify.child.delta_network import account_served, as_served
from deltareg_verify.child.generality import tell_general
from deltareg_verify.child.proving import ProofAssignment, prove
from deltareg_verify.child.sides import SidesAssignment
from deltareg_verify.child.tensor_differences import compare
from deltareg_verify.engine.case import Case, CaseParts, DeltaFolder
from deltareg_verify.engine.dtypes import RUN_IN
from deltareg_verify.engine.engine import DeltaEngine, Outputs
from deltareg_verify.engine.torch_engine import (
    MemoryRoom,
    TorchEngine,
    class_with_place,
    environment,
    prepare_device,
    warm_for,
)
from deltareg_verify.engine.torch_engine import warm as warm_torch
from deltareg_verify.judging.checks import all_checks
from deltareg_verify.judging.examine import examine
from deltareg_verify.messages.assignment import Assignment, BaseAssignment, VersionOnBase
from deltareg_verify.messages.base_outputs import BaseOutputs
from deltareg_verify.messages.figures import Figures
from deltareg_verify.messages.report import ReportWriter
from deltareg_verify.sandbox import layers
from deltareg_verify.sandbox.escapes import escape, targets_of

__all__ = ["describe", "known_outputs", "prepare", "verify", "warm"]

_SPARE_CPU_S = 60


def warm() -> None:
    """Import in the zygote what every run needs: the libraries, the kinds, the checks."""
    warm_torch()
    all_kinds()
    all_checks()


def prepare(request: bytes) -> Callable[[BinaryIO], None]:
    """Parse a request, in the zygote, and return the function that the child runs.

    `verify ASSIGNMENT` runs a suite; `measure ASSIGNMENT` measures a base alone; `compare
    ASSIGNMENT` compares two versions, `general ASSIGNMENT` reports what both do on the general
    probes of their base, `answer ASSIGNMENT` has them answer a prompt; `prove ASSIGNMENT` decodes
    what is stored, and `decode ASSIGNMENT` writes the files of it; `describe {"device": …,
    "scratch": …}` describes the device; `escape TARGETS` tries to get out of the sandbox.
    """
    verb, _, body = request.partition(b" ")
    if verb == b"verify":
        assignment = Assignment.decode(body)
        warm_for(assignment.model_type)  # stays imported for all later runs
        return partial(verify, assignment)
    if verb == b"measure":
        of_base = BaseAssignment.decode(body)
        warm_for(of_base.model_type)
        return partial(measure, of_base)
    if verb in {b"compare", b"general", b"answer"}:
        return _beside(verb, SidesAssignment.decode(body))
    if verb in {b"prove", b"decode"}:
        return partial(prove, ProofAssignment.decode(body))
    if verb == b"escape":
        return partial(escape, targets_of(body))
    fields: dict[str, str] = json.loads(body)
    return partial(describe, device=fields["device"], scratch=Path(fields["scratch"]))


def _beside(verb: bytes, sides: SidesAssignment) -> Callable[[BinaryIO], None]:
    if verb == b"compare":
        return partial(compare, sides)
    warm_for(sides.model_type)
    return partial(tell_general if verb == b"general" else reply, sides)


def verify(assignment: Assignment, out: BinaryIO) -> None:
    """Run the suite over one version and report the results."""
    speaker = ReportWriter(out)
    os.environ["HOME"] = os.environ["TMPDIR"] = tempfile.tempdir = str(assignment.scratch)
    level = layers.enter(_bounds(assignment))
    with speaker.giving_up():
        device = prepare_device(assignment.device, threads=assignment.threads)
        room = MemoryRoom(device, assignment.memory_bytes)
        case = _case(assignment, partial(TorchEngine, device=device, room=room))
        for result in examine(case, waived=assignment.waived):
            speaker.check(result)
        dtype = RUN_IN.get(case.suite.dtype, case.dtype)
        surroundings = {**environment(device), **room.environment()}
        speaker.end(dtype=dtype, sandbox=level, environment=surroundings)


def describe(out: BinaryIO, *, device: str, scratch: Path) -> None:
    """Report the device, and which layers of the sandbox hold here."""
    speaker = ReportWriter(out)
    level = layers.enter(layers.SandboxLimits((), scratch, cpu_s=_SPARE_CPU_S, memory_bytes=None))
    with speaker.giving_up():
        surroundings = environment(prepare_device(device, threads=0))
        speaker.end(dtype="", sandbox=level, environment=surroundings)


def _bounds(assignment: Assignment) -> layers.SandboxLimits:
    threads = assignment.threads or len(os.sched_getaffinity(0))
    other_versions = (assignment.below, assignment.promoted, *assignment.references.values())
    others = [one for one in other_versions if one is not None]
    bases = {assignment.base, *(one.base for one in others)}
    own = (
        assignment.delta,
        assignment.manifest,
        assignment.base,
        assignment.base_manifest,
        assignment.suite,
        assignment.probes,
        *filter(None, (assignment.base_probes, assignment.base_figures, assignment.base_outputs)),
    )
    beside = (path for one in others for path in one.paths)
    return layers.SandboxLimits(
        readable=(*own, *beside, *layers.linked_from(bases)),
        writable=assignment.scratch,
        cpu_s=int(assignment.wall_s) * threads + _SPARE_CPU_S,
        memory_bytes=layers.memory_bound(assignment.device, assignment.memory_bytes),
        used_bytes=assignment.memory_bytes or None,
    )


def _case(assignment: Assignment, engine: Callable[..., TorchEngine]) -> Case:
    manifest = Manifest.decode(assignment.manifest.read_bytes())
    suite = read_stored_suite(assignment.suite.read_bytes())
    make_engine = partial(engine, suite=suite, samples=_samples_in_place(suite, assignment.probes))
    base = _open_base(assignment.base, assignment.base_manifest)
    below, promoted = assignment.below, assignment.promoted

    def account_folder(folder: DeltaFolder) -> Account:
        return _account(folder, base, manifest)

    parts = CaseParts(
        folder=lambda: open_folder(assignment.delta, convention=str(manifest.config.get("convention", ""))),
        account=account_folder,
        engine=lambda account: make_engine(as_served(base, account), account.effects),
        below=None if below is None else lambda: _fold_below(below),
        samples=lambda one: read_samples(one, _probes(assignment.probes / one.file)),
        task=lambda one: _task(one, assignment.probes),
        promoted=None if promoted is None else lambda ours: _engine_of(promoted, base, ours, make_engine),
        references={
            name: partial(_engine_beside, other, base, make=make_engine)
            for name, other in assignment.references.items()
        },
        names=assignment.names,
        **_of_base(assignment),
    )
    return Case(manifest, base, suite=suite, parts=parts, clock=time.perf_counter)


class _OfBase(TypedDict, total=False):
    probes: Callable[[], BaseProbes]
    figures: Callable[[], Figures]
    base_outputs: Callable[[DeltaEngine], Outputs | None]


def _of_base(assignment: Assignment) -> _OfBase:
    """Return what the supervisor brought about the base: its probe set, its own figures and outputs."""
    parts: _OfBase = {}
    probes, figures = assignment.base_probes, assignment.base_figures
    if probes is not None:
        parts["probes"] = lambda: BaseProbes.decode(probes.read_bytes())
    if figures is not None:
        parts["figures"] = lambda: Figures.decode(figures.read_bytes())
    if assignment.base_outputs is not None:
        parts["base_outputs"] = partial(known_outputs, assignment.base_outputs)
    return parts


def known_outputs(file: Path, engine: DeltaEngine) -> Outputs | None:
    """Return the outputs in a file, if they are of the very probe and network of an engine."""
    assert isinstance(engine, TorchEngine)
    known = BaseOutputs.decode(file.read_bytes())
    return known.outputs if known.probe == engine.digest_probe() else None


def _samples_in_place(suite: Suite, folder: Path) -> Callable[[], Mapping[str, NDArray[np.generic]]] | None:
    """Return what reads the samples that a suite has in place of the seeded probe; None without any."""
    one = suite.sets.get(suite.probe_set)
    return None if one is None else lambda: read_samples(one, _probes(folder / one.file)).arrays


def _probes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _task(probe_set: ProbeSet, folder: Path) -> LmTask:
    task = read_task(_probes(folder / probe_set.file), probe_set.file)
    return fill_task(task, lambda name: _probes(folder / name))


def _fold_below(below: VersionOnBase) -> FoldedBase:
    base = _open_base(below.base, below.base_manifest)
    return FoldedBase(_account_of(below, base).effects, base.tensors)


def _engine_beside(
    other: VersionOnBase, base: BaseFolder, ours: DeltaEngine, *, make: Callable[..., TorchEngine]
) -> DeltaEngine:
    return _engine_of(other, base, ours, make)


def _engine_of(
    other: VersionOnBase, base: BaseFolder, ours: DeltaEngine, make: Callable[..., TorchEngine]
) -> DeltaEngine:
    """Return the engine of another version; on the same base, that base is loaded once for both."""
    other_base = _open_base(other.base, other.base_manifest)
    account = _account_of(other, other_base)
    other_base = as_served(other_base, account)
    is_same_base = other_base.identity.whole == base.identity.whole
    if is_same_base and other_base.view.config == ours.config:
        return ours.beside(account.effects)
    return make(other_base, account.effects)


def _account_of(other: VersionOnBase, base: BaseFolder) -> Account:
    manifest = Manifest.decode(other.manifest.read_bytes())
    folder = open_folder(other.delta, convention=str(manifest.config.get("convention", "")))
    return _account(folder, base, manifest)


def _account(folder: DeltaFolder, base: BaseFolder, manifest: Manifest) -> Account:
    return account_served(folder.files, folder.tensors, base.view, kind=manifest.kind, find_class=class_with_place)


def _open_base(path: Path, manifest_file: Path) -> BaseFolder:
    manifest = Manifest.decode(manifest_file.read_bytes())
    folder = open_folder(path, purpose="base")
    return BaseFolder(path, folder, manifest, base_view(manifest), base_identity(manifest))
