"""Runs two versions on samples one by one, and returns for each how far they are apart."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deltareg.errors import InvalidInput
from deltareg.suites.probe_set import Samples
from deltareg_verify.engine.changes import EngineSide
from deltareg_verify.engine.contrast import Contrast, contrast
from deltareg_verify.engine.engine import Outputs, State

_BATCH = 32
_FIX = "leave --prompts and --suite out to compare on a seeded probe"
Continue = Callable[[State, str, int], tuple[list[int], str] | None]
Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class RunningSide:
    """One of the two versions at hand: where it runs, and how it continues a text."""

    side: EngineSide
    continued: Continue


@dataclass(frozen=True, slots=True)
class BehaviorRow:
    """One sample.

    Attributes:
        name: Its probe set.
        number: Its place there, from 1 on.
        text: The text; empty for other samples.
        contrast: How far the two are apart; None where their outputs cannot be compared.
    """

    name: str
    number: int
    text: str
    contrast: Contrast | None

    @property
    def gravity(self) -> tuple[float, float]:
        """The sort key that puts the worst first: divergence, or how little alike states are."""
        contrast = self.contrast
        if contrast is None or (contrast.agreed is not None and contrast.kl is None):
            return float("inf"), 0.0
        if contrast.kl is not None:
            return contrast.kl / contrast.places, 1 - (contrast.agreed or 0) / contrast.places
        return 1 - (contrast.cosine or 0.0), contrast.mean_abs


def rows_of(name: str, samples: Samples, a: RunningSide, b: RunningSide, *, most: int) -> Iterator[BehaviorRow]:
    """Compare on every sample of a set, at most `most` of them.

    Raises:
        InvalidInput: A network does not run on them.
    """
    if samples.texts:
        for number, text in enumerate(samples.texts[:most], 1):
            yield BehaviorRow(name, number, text, _of_text(text, a.side, b.side))
        return
    for start in range(0, min(len(samples), most), _BATCH):
        batch = {k: v[start : start + _BATCH] for k, v in samples.arrays.items()}
        count = len(next(iter(batch.values())))
        before, after = _run(a.side, batch), _run(b.side, batch)
        for i, apart in enumerate(_one_by_one(before, after, count)):
            yield BehaviorRow(name, start + i + 1, "", apart)


def rows_of_probe(a: RunningSide, b: RunningSide) -> Iterator[BehaviorRow]:
    """Compare on the seeded probe, which every network has."""
    before, after = (x.side.engine.outputs(x.side.state) for x in (a, b))
    first = next(iter(before.values()))
    for i, apart in enumerate(_one_by_one(before, after, first.shape[0]), 1):
        yield BehaviorRow("probe", i, "", apart)


def _of_text(text: str, a: EngineSide, b: EngineSide) -> Contrast | None:
    before, after = a.engine.encode([text]), b.engine.encode([text])
    if before is None or after is None:
        raise InvalidInput("the base has no tokenizer, so it cannot be given texts", fix=_FIX)
    if not _is_same(before, after):  # two tokenizers: place i is not the same place in both
        return None
    return next(iter(_one_by_one(_run(a, before), _run(b, after), 1)))


def _is_same(a: Arrays, b: Arrays) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) and a[k].size for k in a)


def _run(side: EngineSide, inputs: Arrays) -> Outputs:
    try:
        return side.engine.outputs_for(side.state, inputs)
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        message = f"the network does not run on these inputs: {error}"
        raise InvalidInput(message, fix=_FIX) from error


def _one_by_one(a: Outputs, b: Outputs, count: int) -> Iterator[Contrast | None]:
    """Compare sample by sample the outputs that have one row per sample."""
    rowed = [{k: v for k, v in x.items() if v.ndim and v.shape[0] == count} for x in (a, b)]
    for i in range(count):
        yield contrast({k: v[i] for k, v in rowed[0].items()}, {k: v[i] for k, v in rowed[1].items()})
