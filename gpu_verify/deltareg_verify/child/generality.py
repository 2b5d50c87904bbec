"""The child that reports what two versions do on the general probes of their base, beside it.

The figures are those that a verification holds a version to (`checks/general_perplexity.py` and its
neighbours), with the interval over the texts, which a verdict does not use.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from deltareg.client.folders.base_folder import BaseFolder
from deltareg.statistics.intervals import F64, mean_interval
from deltareg.suites.base_probes import BaseProbes, draw
from deltareg.suites.estimate import Estimate, exponential, of_ratio, within
from deltareg.wire.findings import Estimated, GeneralFigure, GeneralFound
from deltareg_verify.child.side_networks import Make, find_on_networks, plain_engine, serve_sides
from deltareg_verify.child.sides import SidesAssignment
from deltareg_verify.engine.case import base_figures
from deltareg_verify.engine.engine import State
from deltareg_verify.engine.torch_engine import TorchEngine, text_losses
from deltareg_verify.messages.figures import Figures, ProbeLoss

_ALL, _KNOWN = "perplexity on general text", "perplexity on what the base knows best"
_ENTROPY = "entropy of the classes named, in nats"
_DISTANCE = "distance between vectors of different inputs"
_DIGITS = 5
_FEWEST = 2
_NO_NUMBERS = "the base predicts no general text, names no classes and makes no vectors of it"
_OTHER_HEADS = "the versions bring heads that the base has not, so nothing general is known of it"

Losses = Sequence[tuple[str, ProbeLoss]]


@dataclass(frozen=True, slots=True)
class _Found:
    """The measures of one network: its figures, and the loss of each text."""

    figures: Figures
    losses: Losses

    def rows(self, classes: Sequence[str]) -> F64:
        """Return (n, 2): the loss and tokens of each text of some classes."""
        rows = [(one.total, one.tokens) for name, one in self.losses if name in classes]
        return np.array(rows, np.float64).reshape(-1, 2)


def tell_general(assignment: SidesAssignment, out: BinaryIO) -> None:
    """Compute the figures of the base and of both versions, and report them."""
    find_on_networks(assignment, out, _general)


def _general(assignment: SidesAssignment, base: BaseFolder, make: Make) -> GeneralFound:
    versions = serve_sides(assignment, base, make)
    plain = plain_engine(versions, base, make)
    if plain is None:
        return GeneralFound(note=_OTHER_HEADS)
    probe_file = assignment.base_probes
    probes = (
        draw(str(base.view.root), base.view.config)
        if probe_file is None
        else BaseProbes.decode(probe_file.read_bytes())
    )
    before = _of_base(plain, probes)
    if before.figures.refusal:
        return GeneralFound(note=f"the base does not take its general probes: {before.figures.refusal}")
    a, b = (_of_version(versions[name].engine, probes, before.figures) for name in ("a", "b"))
    figures = list(_figures(before, a, b))
    return GeneralFound(figures=figures, note="" if figures else _NO_NUMBERS)


def _of_base(engine: TorchEngine, probes: BaseProbes) -> _Found:
    figures = base_figures(engine, probes)
    return _Found(figures, () if figures.refusal else _losses(engine, "base", probes))


def _of_version(engine: TorchEngine, probes: BaseProbes, base: Figures) -> _Found:
    figures = engine.general("attached", probes, ways=base.batching.keys())
    return _Found(figures, _losses(engine, "attached", probes))


def _losses(engine: TorchEngine, state: State, probes: BaseProbes) -> Losses:
    return engine.run_judge(state, probes, text_losses)


def _figures(base: _Found, a: _Found, b: _Found) -> Iterator[GeneralFigure]:
    """Yield each figure that the base has."""
    known_classes = base.figures.known
    every = tuple(base.figures.losses)
    for name, classes in ((_ALL, every), (_KNOWN, known_classes)):
        if classes and (name == _ALL or set(known_classes) != set(every)):
            yield _perplexity(name, *(one.rows(classes) for one in (base, a, b)))
    sides = [one.figures for one in (base, a, b)]
    if all(one.classes for one in sides):
        yield _plain(_ENTROPY, [one.classes.said for one in sides if one.classes])
    for output in base.figures.spreads:
        spreads = [one.spreads[output] for one in sides if output in one.spreads]
        if len(spreads) == len(sides):
            yield _plain(f"{_DISTANCE} ({output})", [one.distance for one in spreads])


def _perplexity(name: str, *rows: F64) -> GeneralFigure:
    is_counted = np.all([one[:, 1] > 0 for one in rows], axis=0)
    base, a, b = (one[is_counted] for one in rows)
    estimates = [_convert_estimate(exponential(of_ratio(one[:, 0], one[:, 1]))) for one in (base, a, b)]
    steps, sizes = b[:, 0] - a[:, 0], b[:, 1]
    mean = float(steps.sum() / sizes.sum())
    change = exponential(within(mean, mean_interval(steps, sizes), len(steps)))
    return GeneralFigure(
        name=name, n=len(base), base=estimates[0], a=estimates[1], b=estimates[2], change=_convert_estimate(change)
    )


def _plain(name: str, values: Sequence[float]) -> GeneralFigure:
    base, a, b = (Estimated(value=_number(value)) for value in values)
    return GeneralFigure(name=name, n=0, base=base, a=a, b=b)


def _convert_estimate(found: Estimate) -> Estimated:
    value, low, high = (_number(one) for one in (found.value, found.low, found.high))
    return Estimated(value=value, low=low, high=high)


def _number(value: float) -> float | None:
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
