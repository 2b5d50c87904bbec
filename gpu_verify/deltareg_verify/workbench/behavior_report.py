"""The document of a comparison: totals with intervals, the samples that differ most, measures."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

import numpy as np

from deltareg.suites.estimate import Estimate, of_ratio
from deltareg_verify.engine.changes import MEASURES, MeasureChange
from deltareg_verify.engine.contrast import Contrast
from deltareg_verify.judging.behavior_rows import BehaviorRow, RunningSide, rows_of, rows_of_probe
from deltareg_verify.judging.inputs import ComparisonInputs, MeasureSpec

Document = Mapping[str, object]
_MOST_TEXT = 2_000


def compare(
    a: RunningSide, b: RunningSide, inputs: ComparisonInputs, *, tokens: int, top: int, seed: int
) -> dict[str, object]:
    """Run both on all inputs and return how they differ.

    Args:
        a: The version before.
        b: The version after.
        inputs: The inputs to run them on.
        tokens: How far the texts that differ most are continued.
        top: How many samples to report, worst first.
        seed: The seed of the intervals.
    """
    rows: list[BehaviorRow] = []
    for name, samples in inputs.sets.items():
        rows += rows_of(name, samples, a, b, most=inputs.most)
    if not inputs.sets:
        rows += rows_of_probe(a, b)
    worst = sorted(rows, key=lambda row: row.gravity, reverse=True)[:top]
    examples = [{**_row(row), "continued": _compare_continuations(row, a, b, tokens)} for row in worst]
    contrasts = [row.contrast for row in rows if row.contrast is not None]
    is_alike = len(contrasts) == len(rows) and all(one.is_alike for one in contrasts)
    return {
        "is_different": not is_alike or any(_parts(one["continued"]) for one in examples),
        "source": inputs.source,
        "samples": len(rows),
        **_totals(contrasts, seed),
        "by_sample": [_apart(row) for row in rows],
        "prompts": examples,
        "measures": [_measure(one, inputs, a, b, seed) for one in inputs.measures],
        "notes": _notes(inputs, rows),
    }


def _row(row: BehaviorRow) -> dict[str, object]:
    contrast = row.contrast
    return _apart(row) | {
        "text": row.text[:_MOST_TEXT],
        "places": None if contrast is None else contrast.places,
        "mean_abs": None if contrast is None else _finite(contrast.mean_abs),
    }


def _apart(row: BehaviorRow) -> dict[str, object]:
    """Return how far the two are apart on a sample; empty where that is unknown."""
    contrast = row.contrast
    fields: dict[str, object] = {"set": row.name, "number": row.number}
    if contrast is None:
        return fields | dict.fromkeys(("kl", "agreement", "cosine"))
    return fields | {
        "kl": None if contrast.kl is None else contrast.kl / contrast.places,
        "agreement": None if contrast.agreed is None else contrast.agreed / contrast.places,
        "cosine": None if contrast.cosine is None else _finite(contrast.cosine),
    }


def _compare_continuations(row: BehaviorRow, a: RunningSide, b: RunningSide, tokens: int) -> dict[str, object] | None:
    if not row.text or not tokens:
        return None
    ours = a.continued(a.side.state, row.text, tokens)
    theirs = b.continued(b.side.state, row.text, tokens)
    if ours is None or theirs is None:
        return None
    is_same = ours == theirs
    return {
        "a": ours[1],
        "b": theirs[1],
        "parts_at_token": None if is_same else _common(ours[0], theirs[0]) + 1,
        "parts_at": None if is_same else _common(ours[1], theirs[1]),
    }


def _common(a: Sequence[object], b: Sequence[object]) -> int:
    """Count the equal tokens from the beginning on."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))


def _parts(continued: object) -> bool:
    return isinstance(continued, dict) and continued["parts_at_token"] is not None


def _totals(found: Sequence[Contrast], seed: int) -> dict[str, object]:
    scored = [one for one in found if one.agreed is not None]
    finite = [one for one in scored if one.kl is not None]
    kl = _ratio(((one.kl or 0.0, one.places) for one in finite), seed)
    agreement = _ratio(((one.agreed or 0, one.places) for one in scored), seed)
    apart = _ratio(((one.mean_abs * one.places, one.places) for one in found), seed)
    cosine = _ratio(((one.cosine, 1) for one in found if one.cosine is not None), seed)
    totals = {"kl": kl, "agreement": agreement, "mean_abs": apart, "cosine": cosine}
    return {name: None if value is None else _estimate(value) for name, value in totals.items()}


def _ratio(pairs: Iterable[tuple[float, float]], seed: int) -> Estimate | None:
    values = np.array(list(pairs), np.float64)
    return of_ratio(values[:, 0], values[:, 1], seed=seed) if len(values) else None


def _measure(one: MeasureSpec, inputs: ComparisonInputs, a: RunningSide, b: RunningSide, seed: int) -> Document:
    more = {} if one.within is None else {"within": one.within}
    samples = inputs.sets[one.probes]
    change: MeasureChange | None = MEASURES[one.measure](a.side, b.side, samples, seed=seed, **more)
    fields: dict[str, object] = {"name": one.name, "measure": one.measure, "set": one.probes}
    if change is None:
        return fields | dict.fromkeys(("a", "b", "change", "change_is", "is_decided"))
    return fields | {
        "a": _estimate(change.a),
        "b": _estimate(change.b),
        "change": _estimate(change.change) if change.is_alike else None,
        "change_is": "factor" if change.is_factor else "difference",
        "is_decided": change.is_decided,
    }


def _estimate(value: Estimate) -> dict[str, float | int | None]:
    return {name: _finite(number) for name, number in asdict(value).items()}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _notes(inputs: ComparisonInputs, rows: Sequence[BehaviorRow]) -> list[str]:
    contrasts = [row.contrast for row in rows if row.contrast is not None]
    sick = sum(1 for one in contrasts if one.agreed is not None and one.kl is None)
    narrower = max((one.narrower for one in contrasts), default=0)
    notes = [
        f"of {name} the first {inputs.most} of {len(samples)} samples were compared one by one"
        for name, samples in inputs.sets.items()
        if len(samples) > inputs.most
    ]
    if inputs.source == "probe":
        notes.append("compared on a seeded probe; prompts of your own tell more")
    if len(contrasts) < len(rows):
        notes.append(f"outputs that cannot be compared: of {_samples(len(rows) - len(contrasts))}")
    if sick:
        notes.append(f"values that are not finite: on {_samples(sick)}")
    if narrower:
        notes.append(f"tokens in the vocabulary of one of the two only: {narrower}")
    return notes


def _samples(number: int) -> str:
    return f"{number} sample" if number == 1 else f"{number} samples"
