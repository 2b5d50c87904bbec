"""What a base gives by itself, for a run: this worker's earlier figures and outputs, or new ones.

Fifty versions that wait on one base are compared with figures that were measured for the first of
them. They are bound to all that they depend on: the base and its probe set, the dtype that the
suite asks for, the device and the software. Its outputs on the probe of a suite are held in this
process alone, and a run that computes on another probe does not take them. Both come from children
that saw no delta.
"""

import hashlib
import json
import logging
import os
import stat
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from deltareg.errors import BaseUnmeasured, DeltaregError, Inconclusive
from deltareg.identity.manifest import Manifest, canonical_json
from deltareg.suites.base_probes import BaseProbes
from deltareg.wire import BaseProbeSet, LeaseGrant
from deltareg_verify.messages.assignment import BaseAssignment, MeasureFiles
from deltareg_verify.messages.base_outputs import MOST_BYTES, OUTPUTS_FILE
from deltareg_verify.messages.figures import FORMAT, Figures
from deltareg_verify.messages.report import listen
from deltareg_verify.supervisor.disk_usage import holds_more_than
from deltareg_verify.supervisor.materials import Materials
from deltareg_verify.supervisor.options import WorkerOptions
from deltareg_verify.supervisor.parts import ChildRunner

log = logging.getLogger(__name__)

_DEPENDS_ON = ("torch", "transformers", "platform", "gpu", "cuda", "cudnn")
_MOST_KEPT = 64
_MOST_OUTPUTS = 8
_MEASURING, _DELIVERED = "measuring", "delivered"
_SHARE_OF_RUN = 0.5  # a verification computes with the base and with the delta


class FiguresStore(Protocol):
    """Where figures are stored; `deltareg.client.WorkerClient` is one."""

    def base_probes(self, name: str) -> BaseProbeSet:
        """Return the probe set of a base."""
        ...

    def figures_of(self, probes: BaseProbeSet, *, surroundings: str) -> str:
        """Return the figures that this worker signed in these surroundings."""
        ...

    def keep_figures(self, probes: BaseProbeSet, *, surroundings: str, figures: str) -> None:
        """Sign figures, and have them stored."""
        ...


@dataclass(frozen=True, slots=True)
class BaseMeasures:
    """Brings a base's figures, and has a child measure them where there are none.

    Attributes:
        kept: Where figures are stored.
        children: Runs the measuring children.
        options: The limits of the children.
        device: The device of the runs.
        environment: Software and device, as found at the start.
    """

    kept: FiguresStore
    children: ChildRunner
    options: WorkerOptions
    device: str
    environment: Mapping[str, str]
    _known: dict[tuple[str, str], bytes] = field(default_factory=dict[tuple[str, str], bytes])
    _outputs: dict[str, bytes | None] = field(default_factory=dict[str, "bytes | None"])

    def bring(
        self,
        grant: LeaseGrant,
        materials: Materials,
        folder: Path,
        *,
        interrupted: Callable[[], str],
        say: Callable[[str], None],
    ) -> MeasureFiles:
        """Write the probe set, the figures and the outputs of a run's base into a folder.

        A registry of an older release has neither; then the child draws and measures for itself.

        Raises:
            BaseUnmeasured: A child that measures it crashes, gives up or takes too long, as the
                child of the run would after it.
            Inconclusive: The run was interrupted.
        """
        probes = self._probes(grant)
        if probes is None:
            return MeasureFiles()
        file = _write_probes(probes, folder)
        surroundings = self.surroundings(materials.suite.dtype)
        key = (probes.digest, surroundings)
        figures = self._known.get(key) or self._fetch_figures(probes, surroundings)
        is_measured = figures is None and _is_measured_alone(materials)
        if is_measured:
            say(f"measures {grant.base.name} on its general probes, once for all versions of it")
            figures = self._measure(materials, file, folder, interrupted)
            if figures is not None:
                self._keep(probes, surroundings, figures)
        if figures is None:
            return MeasureFiles(file)
        outputs = self._bring_outputs(materials, file, folder, surroundings, interrupted, is_measured=is_measured)
        if len(self._known) >= _MOST_KEPT:
            del self._known[next(iter(self._known))]
        self._known[key] = figures
        (folder / "base-figures.json").write_bytes(figures)
        return MeasureFiles(file, folder / "base-figures.json", outputs)

    def bring_probes(self, grant: LeaseGrant, folder: Path) -> Path | None:
        """Write the probe set of a run's base into a folder; None where the registry has none."""
        probes = self._probes(grant)
        return None if probes is None else _write_probes(probes, folder)

    def surroundings(self, run_in: str) -> str:
        """Return everything that figures depend on beside the base, as canonical JSON.

        Args:
            run_in: The dtype that a suite asks for.
        """
        software = {name: self.environment[name] for name in _DEPENDS_ON if name in self.environment}
        device = self.device.partition(":")[0]
        return canonical_json({**software, "device": device, "run_in": run_in, "figures": str(FORMAT)}).decode()

    def _probes(self, grant: LeaseGrant) -> BaseProbeSet | None:
        try:
            probes = self.kept.base_probes(grant.base.name)
            BaseProbes.decode(probes.document.encode())
        except DeltaregError as error:
            log.info("no probe set base=%s: %s", grant.base.name, error.message)
            return None
        return probes

    def _fetch_figures(self, probes: BaseProbeSet, surroundings: str) -> bytes | None:
        figures = self.kept.figures_of(probes, surroundings=surroundings).encode()
        try:
            Figures.decode(figures)
        except DeltaregError:
            return None
        return figures

    def _bring_outputs(
        self,
        materials: Materials,
        probes: Path,
        folder: Path,
        surroundings: str,
        interrupted: Callable[[], str],
        *,
        is_measured: bool,
    ) -> Path | None:
        """Write the base's outputs on the suite's probe; None until a second run asks for them.

        Computing them takes as long as some two runs gain by them.
        """
        digest = hashlib.sha256(materials.base_manifest.read_bytes()).hexdigest()
        key = f"{digest} {materials.suite.digest} {surroundings}"
        is_second = self._outputs.get(key, b"") is None
        if is_second and _is_measured_alone(materials):
            self._outputs[key] = b""  # whatever happens, they are asked for once
            with suppress(BaseUnmeasured):
                self._measure(materials, probes, folder, interrupted, has_figures=True)
        if is_second or is_measured:
            self._outputs[key] = read_outputs(folder / _DELIVERED / OUTPUTS_FILE)
        self._outputs.setdefault(key, None)
        if len(self._outputs) > _MOST_OUTPUTS:
            del self._outputs[next(iter(self._outputs))]
        raw = self._outputs.get(key)
        if not raw:
            return None
        (folder / OUTPUTS_FILE).write_bytes(raw)
        return folder / OUTPUTS_FILE

    def _measure(
        self,
        materials: Materials,
        probes: Path,
        folder: Path,
        interrupted: Callable[[], str],
        *,
        has_figures: bool = False,
    ) -> bytes | None:
        own, delivery = folder / _MEASURING, folder / _DELIVERED
        own.mkdir()
        delivery.mkdir()
        assignment = BaseAssignment(
            base=materials.base.absolute(),
            base_manifest=materials.base_manifest,
            model_type=materials.model_type,
            suite=materials.suite_file,
            probes=probes,
            scratch=own,
            device=self.device,
            threads=self.options.threads,
            wall_s=self.options.run_timeout_s * _SHARE_OF_RUN,
            memory_bytes=self.options.memory_bytes,
            delivery=delivery.absolute(),
            has_figures=has_figures,
        )
        began = time.monotonic()
        try:
            output = self.children.run(
                b"measure " + assignment.encode(),
                wall_s=assignment.wall_s,
                interrupted=lambda: interrupted() or _overfill(delivery),
                heard=lambda _: None,
            )
            figures = listen(output).figures
        except Inconclusive as error:
            if interrupted():
                raise
            raise BaseUnmeasured(error.message, seconds=time.monotonic() - began) from error
        return None if figures is None else figures.encode()

    def _keep(self, probes: BaseProbeSet, surroundings: str, found: bytes) -> None:
        """Have figures stored; a worker that is not enrolled measures again the next time."""
        try:
            self.kept.keep_figures(probes, surroundings=surroundings, figures=found.decode())
        except DeltaregError as error:
            log.info("figures are not kept base=%s: %s", probes.base, error.message)


def _write_probes(probes: BaseProbeSet, folder: Path) -> Path:
    file = folder / "base-probes.json"
    file.write_text(probes.document, encoding="utf-8")
    return file


def _overfill(delivery: Path) -> str:
    return "the child fills the disk" if holds_more_than(delivery, 2 * MOST_BYTES) else ""


def read_outputs(file: Path) -> bytes:
    """Read what a child wrote, if it is a file and no link to another; empty where there is none."""
    try:
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as found:
            state = os.fstat(found.fileno())
            if not stat.S_ISREG(state.st_mode) or state.st_nlink > 1 or state.st_size > MOST_BYTES:
                return b""
            return found.read(MOST_BYTES)
    except OSError:
        return b""


def _is_measured_alone(materials: Materials) -> bool:
    """Return whether a base is one network, not a pipeline from which a delta picks parts."""
    manifest = Manifest.decode(materials.base_manifest.read_bytes())
    return not json.loads(str(manifest.config["config_json"])).get("_class_name")
