"""The child that measures a base on its own general probes, for all verifications that follow.

It sees no delta: runs about many versions rely on its figures of the base, and none of them can
influence these.
"""

import os
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from deltareg.client.folders.base_folder import BaseFolder
from deltareg.client.folders.folder import open_folder
from deltareg.delta.base_manifest import base_identity, base_view
from deltareg.errors import NoProbe
from deltareg.identity.manifest import Manifest
from deltareg.suites.base_probes import BaseProbes
from deltareg.suites.suite import read_stored_suite
from deltareg_verify.engine.case import base_figures
from deltareg_verify.engine.torch_engine import MemoryRoom, TorchEngine, environment, prepare_device
from deltareg_verify.messages.assignment import BaseAssignment
from deltareg_verify.messages.base_outputs import MOST_BYTES, OUTPUTS_FILE, BaseOutputs
from deltareg_verify.messages.report import ReportWriter
from deltareg_verify.sandbox import layers

_SPARE_CPU_S = 60


def measure(assignment: BaseAssignment, out: BinaryIO) -> None:
    """Compute the figures of a base and report them, and write its outputs on the suite's probe."""
    speaker = ReportWriter(out)
    os.environ["HOME"] = os.environ["TMPDIR"] = tempfile.tempdir = str(assignment.scratch)
    level = layers.enter(_bounds(assignment))
    with speaker.giving_up():
        device = prepare_device(assignment.device, threads=assignment.threads)
        suite = read_stored_suite(assignment.suite.read_bytes())
        manifest = Manifest.decode(assignment.base_manifest.read_bytes())
        folder = open_folder(assignment.base, purpose="base")
        base = BaseFolder(assignment.base, folder, manifest, base_view(manifest), base_identity(manifest))
        room = MemoryRoom(device, assignment.memory_bytes)
        make = partial(TorchEngine, suite=suite, device=device, room=room)
        engine = make(base, ())
        if not assignment.has_figures:
            # Where no input can be drawn the run decides: its suite may bring samples, or its checks need none.
            with suppress(NoProbe):
                figures = base_figures(engine, BaseProbes.decode(assignment.probes.read_bytes()))
                if figures.is_finite:
                    speaker.figures(figures)
        if assignment.delivery is not None and not suite.probe_set:
            _write_outputs(engine, assignment.delivery)
        speaker.end(dtype="", sandbox=level, environment=environment(device))


def _write_outputs(engine: TorchEngine, folder: Path) -> None:
    """Write the base's outputs on the suite's probe into a folder; without them each run computes its own."""
    try:
        probe = engine.digest_probe()
        raw = BaseOutputs(probe, engine.outputs("base")).encode() if probe else b""
    except Exception:  # noqa: BLE001  # a base that takes no such probe is no finding
        return
    if 0 < len(raw) <= MOST_BYTES:
        (folder / OUTPUTS_FILE).write_bytes(raw)


def _bounds(assignment: BaseAssignment) -> layers.SandboxLimits:
    threads = assignment.threads or len(os.sched_getaffinity(0))
    return layers.SandboxLimits(
        readable=(
            assignment.base,
            assignment.base_manifest,
            assignment.suite,
            assignment.probes,
            *layers.linked_from([assignment.base]),
        ),
        writable=assignment.scratch,
        cpu_s=int(assignment.wall_s) * threads + _SPARE_CPU_S,
        memory_bytes=layers.memory_bound(assignment.device, assignment.memory_bytes),
        used_bytes=assignment.memory_bytes or None,
        delivery=assignment.delivery,
    )
