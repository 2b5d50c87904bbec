"""The version that faults are put into: its files opened, its engine, its golden outputs, its trainer."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from deltareg.errors import DeltaregError, InvalidInput
from deltareg.host.weights_files import weights_digests
from deltareg.suites.golden import GoldenOrigin, GoldenOutputs, sample_of
from deltareg.suites.golden_file import GOLDEN_FILE, decode, encode
from deltareg.suites.golden_prompts import PROMPTS
from deltareg.suites.samples import Samples
from deltareg_verify.engine.engine import DeltaEngine
from deltareg_verify.workbench.faults import Fault, MutableDelta, MutableTensor
from deltareg_verify.workbench.faults.delta_files import is_changed, open_parts, write_parts
from deltareg_verify.workbench.short_training import ShortTrainings, SplitRows, Values
from deltareg_verify.workbench.trials import TrialDelta, Trials

if TYPE_CHECKING:
    from deltareg_verify.engine.torch_engine import TorchEngine


class Subject:
    """The version that faults are put into, opened once; it is what the broken ones replace."""

    def __init__(
        self, trials: Trials, delta: Path, stack: ExitStack, *, convention: str = "", other: Path | None = None
    ) -> None:
        """Open a version.

        Args:
            trials: The base with the suite.
            delta: The version's folder.
            stack: Closes it.
            convention: The convention of its values.
            other: Another version of the line, of another run.
        """
        self.path, self.convention = delta, convention
        self._trials, self._stack = trials, stack
        self._delta: TrialDelta = stack.enter_context(trials.open_delta(delta, convention=convention))
        self._opened = open_parts(self._delta.folder, self._delta.account, trials.base.tensors)
        if other is not None:
            self._opened.other = _parts_of(trials, other, convention)
        self.incumbent = trials.engine(self._delta, is_fixed=True)
        self.golden = self._golden()

    @property
    def has_golden(self) -> bool:
        """Whether it was pushed with golden outputs."""
        return (self._delta.folder.path / GOLDEN_FILE).is_file()

    def break_into(self, out: Path, fault: Fault, random: np.random.Generator) -> bool:
        """Write a broken delta; returns whether the fault had anything to work on."""
        before = self._opened
        broken = MutableDelta(dict(before.parts), dict(before.config), before.config_file, before.other)
        fault.inject(broken, random)
        if not is_changed(before, broken):
            return False
        write_parts(broken, self._delta.folder, out)
        return True

    def write(self, values: Values, out: Path) -> DeltaEngine:
        """Write a delta that a training left, with the golden outputs that its own process would record."""
        parts = self._opened.parts | {
            name: replace(self._opened.parts[name], values=np.ascontiguousarray(value))
            for name, value in values.items()
        }
        write_parts(MutableDelta(parts, self._opened.config, self._opened.config_file), self._delta.folder, out)
        delta = self._stack.enter_context(self._trials.open_delta(out, convention=self.convention))
        engine = self._trials.engine(delta, is_fixed=True)
        if self.has_golden and self.golden is not None:
            (out / GOLDEN_FILE).write_bytes(encode(_record(engine, self.golden, out)))
        return engine

    def trainings(self, rows: SplitRows, general: Samples, *, seconds: float) -> ShortTrainings:
        """Return what trains it.

        Raises:
            InvalidInput: None of its tensors can be trained here.
        """
        parts = self._find_trained()
        if not parts:
            raise InvalidInput("none of its tensors can be trained here")
        stored = {
            name: (self._delta.folder.tensors[name], float(np.sqrt(np.mean(np.square(part.change, dtype=np.float64)))))
            for name, part in parts.items()
        }
        trainer = cast("TorchEngine", self.incumbent).trainer(stored)
        whole = {name: part.values for name, part in parts.items()}
        neutral = {name: part.values if part.neutral is None else part.neutral for name, part in parts.items()}
        return ShortTrainings(trainer, self.incumbent, rows, general, whole, neutral, seconds)

    def _find_trained(self) -> Mapping[str, MutableTensor]:
        """Return the tensors to train: what the change is proportional to; without such, all of them.

        Factors that are drawn once and shared, as VeRA's, are none of these and stay as they are.
        """
        parts = {name: part for name, part in self._opened.proportional() if part.values.size}
        return parts or {name: part for name, part in self._opened.parts.items() if part.values.size}

    def _golden(self) -> GoldenOutputs | None:
        """Return its golden outputs; those that could have been recorded where it has none."""
        path = self._delta.folder.path / GOLDEN_FILE
        try:
            if path.is_file():
                return decode(path.read_bytes())
            inputs = self.incumbent.encode(PROMPTS)
            if not inputs:
                return None
            sample = sample_of(inputs, self.incumbent.outputs_for("attached", inputs))
            return GoldenOutputs((sample,), GoldenOrigin("by_library", self.incumbent.dtype))
        except DeltaregError:
            return None


def _record(engine: DeltaEngine, golden: GoldenOutputs, folder: Path) -> GoldenOutputs:
    """Compute golden outputs again, on the same inputs; what is told of the training stays, and shows no fault."""
    running = engine.in_dtype(golden.origin.dtype)
    samples = tuple(sample_of(one.inputs, running.outputs_for("attached", one.inputs)) for one in golden.samples)
    return replace(golden, samples=samples, origin=replace(golden.origin, weights=weights_digests(folder)))


def _parts_of(trials: Trials, version: Path, convention: str) -> Mapping[str, MutableTensor]:
    try:
        with trials.open_delta(version, convention=convention) as delta:
            return open_parts(delta.folder, delta.account, trials.base.tensors).parts
    except DeltaregError:  # another base, or another kind: there is just no other run to take from
        return {}
