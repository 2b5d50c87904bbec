"""Golden outputs: outputs of a delta that another process computed, to be reproduced.

For every position only the largest values and their places are kept: they reveal a wrong base, a
wrong scale or a wrong head as well as all values would, and stay small. They are compared by value,
since kernels round differently and a digest of outputs could not match.
`deltareg.suites.golden_file` stores them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from deltareg.suites.training_progress import TrainingProgress
from deltareg.suites.training_start import TrainingStart
from deltareg.tensors.array import F32, Raw

How = Literal["in_training", "by_library", "by_publisher"]
HOWS: tuple[How, ...] = get_args(How)
KEPT = 20
MOST_ROWS = 256
_TOLD: Mapping[How, str] = {
    "in_training": "in training",
    "by_library": "by the library afterwards",
    "by_publisher": "by the publisher",
}
_SHOWN = ("peft", "adapters", "diffusers", "transformers", "torch")


@dataclass(frozen=True, slots=True)
class RecordedOutput:
    """The largest values of one output.

    Attributes:
        shape: The output's.
        places: (rows, k): along the last dimension, the largest first.
        values: (rows, k): the values there.
        rows: (rows,): their positions, counted along all other dimensions; None for all positions.
    """

    shape: tuple[int, ...]
    places: NDArray[np.int32]
    values: F32
    rows: NDArray[np.int32] | None = None

    def select_positions(self, values: F32) -> F32:
        """Return those positions of an output of the same shape, (rows, n)."""
        flat = values.reshape(-1, values.shape[-1])
        return flat if self.rows is None else flat[self.rows]


@dataclass(frozen=True, slots=True)
class GoldenSample:
    """The inputs of one forward of a network, with the outputs.

    Attributes:
        inputs: By parameter of the network's forward.
        outputs: By name in the network's answer.
    """

    inputs: Mapping[str, Raw]
    outputs: Mapping[str, RecordedOutput]


@dataclass(frozen=True, slots=True)
class GoldenOrigin:
    """The origin of outputs.

    Attributes:
        how: Computed by the training process, by the library after the delta was saved, or by the
            publisher's own program.
        dtype: The network's dtype, as safetensors spells it; empty if unknown.
        device: `cpu`, `cuda`, ….
        quantised: The packing of the base's weights, in the library's words; empty if they were not
            packed.
        software: Versions by package.
        weights: Digests of the tensor files beside it, by path.
        base: The root of the base that it was computed on; empty where it does not say.
    """

    how: How = "by_publisher"
    dtype: str = ""
    device: str = ""
    quantised: str = ""
    software: Mapping[str, str] = field(default_factory=dict[str, str])
    weights: Mapping[str, str] = field(default_factory=dict[str, str])
    base: str = ""

    @property
    def description(self) -> str:
        """Describe it: `recorded in training, with peft 0.21.2 in BF16 on cuda`."""
        by = next((f" with {n} {self.software[n]}" for n in _SHOWN if n in self.software), "")
        dtype = f" in {self.dtype}" if self.dtype else ""
        where = f" on {self.device}" if self.device else ""
        return f"recorded {_TOLD[self.how]}{',' if by else ''}{by}{dtype}{where}"


@dataclass(frozen=True, slots=True)
class GoldenOutputs:
    """Outputs that a delta has to reproduce.

    Attributes:
        samples: Forwards, each with its own inputs.
        origin: Their origin.
        training: The start of the delta's training; None if it was not recorded.
        progress: The progress of the training; None if unknown.
    """

    samples: tuple[GoldenSample, ...]
    origin: GoldenOrigin = field(default_factory=GoldenOrigin)
    training: TrainingStart | None = None
    progress: TrainingProgress | None = None


@dataclass(frozen=True, slots=True)
class GoldenComparison:
    """The deviation of outputs from recorded ones.

    Attributes:
        output: The output that deviates most.
        difference: max |recorded - found| / max(1, RMS of the recorded values); NaN stays NaN.
        distance: The root mean square of the difference over all recorded values; NaN stays NaN.
        scale: The root mean square of the recorded values.
        agreement: The share of positions whose largest value is at the same place, or within
            `slack` of the largest.
    """

    output: str
    difference: float
    distance: float
    scale: float
    agreement: float


def sample_of(inputs: Mapping[str, Raw], outputs: Mapping[str, F32]) -> GoldenSample:
    """Keep the largest values of every output that has a dimension."""
    recorded = {name: _largest(values) for name, values in outputs.items() if values.size}
    return GoldenSample(inputs, {name: output for name, output in recorded.items() if output.shape})


def compare(golden: GoldenOutputs, outputs: Sequence[Mapping[str, F32]], *, slack: float = 0.0) -> GoldenComparison:
    """Compare outputs with recorded ones; a missing one or one of another shape is entirely wrong.

    Args:
        golden: The recorded outputs.
        outputs: The outputs for each of its samples.
        slack: How far the largest value may be below another and still agree, as a share of max(1,
            RMS).
    """
    names = sorted({name for sample in golden.samples for name in sample.outputs})
    comparisons = [_compare(name, golden, outputs, slack) for name in names]
    # A NaN is the farthest of all; max() alone would pass over it.
    worst = max(comparisons, key=lambda one: np.inf if np.isnan(one.difference) else one.difference)
    farthest = max(comparisons, key=lambda one: np.inf if np.isnan(one.distance) else one.distance)
    return GoldenComparison(
        worst.output, worst.difference, farthest.distance, farthest.scale, min(one.agreement for one in comparisons)
    )


def distance(golden: GoldenOutputs, outputs: Sequence[Mapping[str, F32]]) -> float:
    """Return the root mean square of the difference to recorded values, as far as outputs exist.

    The outputs need not be the delta's: for the base's own outputs it is the size of the delta's
    effect.
    """
    squares: list[NDArray[np.float64]] = []
    for sample, computed in zip(golden.samples, outputs, strict=True):
        for name, recorded in sample.outputs.items():
            values = computed.get(name)
            if values is not None and values.shape == recorded.shape:
                there = np.take_along_axis(recorded.select_positions(values), recorded.places, axis=-1)
                squares.append(np.square(there.astype(np.float64) - recorded.values).reshape(-1))
    return float(np.sqrt(np.mean(np.concatenate(squares)))) if squares else 0.0


def _largest(values: F32) -> RecordedOutput:
    if not values.shape:
        return RecordedOutput((), np.zeros((1, 1), "<i4"), values.reshape(1, 1).astype("<f4"))
    flat = values.reshape(-1, values.shape[-1])
    row_numbers = None
    if len(flat) > MOST_ROWS:
        row_numbers = np.linspace(0, len(flat) - 1, MOST_ROWS).astype("<i4")
        flat = flat[row_numbers]
    places = np.argsort(-flat, axis=-1, kind="stable")[:, :KEPT].astype("<i4")
    largest = np.take_along_axis(flat, places, axis=-1).astype("<f4")
    return RecordedOutput(values.shape, places, largest, row_numbers)


def _compare(name: str, golden: GoldenOutputs, outputs: Sequence[Mapping[str, F32]], slack: float) -> GoldenComparison:
    """Compare one output over all samples that have it."""
    pairs = [
        (sample.outputs[name], sample_outputs.get(name))
        for sample, sample_outputs in zip(golden.samples, outputs, strict=True)
        if name in sample.outputs
    ]
    values = np.concatenate([recorded.values.reshape(-1) for recorded, _ in pairs]).astype(np.float64)
    scale = float(np.sqrt(np.mean(np.square(values))))
    differences: list[NDArray[np.float64]] = []
    agreed = positions = 0
    for recorded, computed in pairs:
        if computed is None or computed.shape != recorded.shape:
            return GoldenComparison(name, float("inf"), float("inf"), scale, 0.0)
        rows = recorded.select_positions(computed)
        there = np.take_along_axis(rows, recorded.places, axis=-1)
        differences.append(np.subtract(there, recorded.values, dtype=np.float64).reshape(-1))
        below = rows.max(axis=-1) - there[:, 0]
        agreed += int(np.count_nonzero(below <= slack * max(1.0, scale)))
        positions += len(rows)
    every = np.concatenate(differences)
    return GoldenComparison(
        name,
        float(np.max(np.abs(every))) / max(1.0, scale),
        float(np.sqrt(np.mean(np.square(every)))),
        scale,
        agreed / positions,
    )
