"""How far images made from seeded noise are from real ones, for networks that denoise.

The probe set has `images`, as the network takes them (latents, or pixels), and the conditions
beside them (`encoder_hidden_states`, …), one row a sample. As many images are made as there are
real ones, by the base's scheduler and without guidance; both versions start from the same noise.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from deltareg.documents.json_values import is_object, parse_json
from deltareg.errors import InvalidInput
from deltareg.suites.catalogue import UNDECIDED, CheckForm
from deltareg.suites.probe_set import Samples
from deltareg.suites.samples import IMAGES
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.changes import EngineSide
from deltareg_verify.engine.continuing import Inputs
from deltareg_verify.engine.engine import F32
from deltareg_verify.engine.measures.denoising import Config, DenoisingRule, denoise
from deltareg_verify.engine.measures.images import distance, made_images
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.sample_comparison import SampleMeasure, rows_compared

_PLACES = ("scheduler/scheduler_config.json", "scheduler_config.json")
_OUTPUT = "sample"
_INPUTS = ("sample", "hidden_states")
_TIME = "timestep"
_DIMENSIONS = 4
_BATCH = 8


@dataclass(frozen=True, slots=True)
class _Denoiser:
    """The names of a denoising network's inputs and output."""

    images: str
    time: str
    output: str


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare how far the images of both are from the real ones."""
    return rows_compared(
        case,
        spec,
        partial(_values, case, int(spec.number("steps"))),
        SampleMeasure(
            description="kernel distance from real images",
            by="kid",
            aggregate=distance,
            needs="a network that denoises images",
        ),
    )


def _values(case: Case, steps: int, side: EngineSide, samples: Samples) -> list[object] | None:
    real = samples.arrays[IMAGES].astype(np.float32)
    if real.ndim != _DIMENSIONS or len(real) < 2:
        raise InvalidInput("`images` are two or more, each of channels, height and width")
    conditions = {name: value for name, value in samples.arrays.items() if name != IMAGES}
    denoiser = _denoiser(side, {**conditions, IMAGES: real})
    if denoiser is None:
        return None
    noise = np.random.default_rng(case.suite.seed).standard_normal(real.shape, np.float32)
    rule, images = DenoisingRule(_scheduler(case)), list[F32]()
    for at in range(0, len(real), _BATCH):
        rows = {name: value[at : at + _BATCH] for name, value in conditions.items()}
        predict = partial(_predict, side, denoiser, rows)
        images.append(denoise(rule, noise[at : at + _BATCH], predict, steps=steps))
    return list(made_images(np.concatenate(images), real))


def _predict(side: EngineSide, denoiser: _Denoiser, told: Inputs, images: F32, time: float) -> F32:
    times = np.full(len(images), time, np.float32 if time % 1 else np.int64)
    inputs = {**told, denoiser.images: images, denoiser.time: times}
    predicted = side.engine.outputs_for(side.state, inputs)[denoiser.output]
    # Some predict how sure they are, too, after the rest.
    return predicted[:, : images.shape[1]]


def _denoiser(side: EngineSide, samples: Inputs) -> _Denoiser | None:
    """Find the names of the network's inputs and output; None for one that denoises nothing."""
    # A part of a pipeline has its name before all that it takes.
    parts = {name.rpartition(_OUTPUT)[0] for name in side.engine.outputs(side.state)}
    first = {name: value[:1] for name, value in samples.items() if name != IMAGES}
    for part in sorted(parts):
        for images in _INPUTS:
            denoiser = _Denoiser(f"{part}{images}", f"{part}{_TIME}", f"{part}{_OUTPUT}")
            inputs = {**first, denoiser.images: samples[IMAGES][:1], denoiser.time: np.ones(1, np.int64)}
            try:
                answer = side.engine.outputs_for(side.state, inputs)
            except (InvalidInput, TypeError):
                continue
            if denoiser.output in answer:
                return denoiser
    return None


def _scheduler(case: Case) -> Config:
    """Read the config of the base's scheduler, or return the usual one where there is none."""
    for place in _PLACES:
        path = case.base.path / place
        if path.is_file():
            document: object = parse_json(path.read_bytes())
            if not is_object(document):
                raise InvalidInput(f"{place} of the base is no object")
            return document
    return {}


CHECK = Check(
    "image_distance",
    run,
    CheckForm(
        "how far the images that it makes are from real ones",
        {**UNDECIDED, "worse": "fail", "steps": 10},
        counts=("least_samples", "steps"),
        probes=("images",),
        takes_threshold=True,
        against=("base", "promoted"),
        may_not_apply=True,
    ),
)
