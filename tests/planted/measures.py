"""What can be measured of a delta on samples of both domains, beside what the checks say."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from deltareg_verify.case import Case
from deltareg_verify.checks.idle import computed_targets
from deltareg_verify.checks.norm_ratio import layer_type, size_ratios
from deltareg_verify.checks.spectral import spectra
from deltareg_verify.engine import Engine, State
from tests.planted.bases import SUBJECTS, domain_probe
from tests.planted.data import Domain, Examples

_SENTENCES, _LABELLED = 64, 256
F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a network does on one domain.

    Attributes:
        loss: Mean cross-entropy, of the next word or of the label.
        accuracy: How often the largest value is at the right place.
        logits: (rows, places), log-probabilities.
    """

    loss: float
    accuracy: float
    logits: NDArray[np.float64]


def samples(base: str, domain: Domain) -> Examples:
    """Give the examples of a domain on which deltas are measured."""
    count = _SENTENCES if SUBJECTS[base].is_language else _LABELLED
    return domain_probe(base, domain, count, seed=5)


def behaviour(engine: Engine, state: State, base: str, domain: Domain) -> Behaviour:
    """Measure base or delta on unseen examples of a domain."""
    probe = {name: value.numpy() for name, value in samples(base, domain).items()}
    wanted = probe.pop("labels")
    found = engine.outputs_for(state, probe)["logits"]
    if SUBJECTS[base].is_language:
        found = found[:, -wanted.shape[1] : -1]
        wanted = wanted[:, 1:]
    rows, right = _log_softmax(found.reshape(-1, found.shape[-1])), wanted.reshape(-1)
    loss = -float(np.mean(rows[np.arange(len(right)), right]))
    return Behaviour(loss, float(np.mean(rows.argmax(axis=1) == right)), rows)


def measure(case: Case, base: str) -> dict[str, float]:
    """Measure all there is to measure; the names are the columns of the values table."""
    return {**_behaviours(case.engine, base), **_sizes(case)}


def _behaviours(engine: Engine, base: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for domain in ("tuned", "general"):
        before, after = (behaviour(engine, state, base, domain) for state in ("base", "attached"))
        found |= {
            f"{domain}_loss_base": before.loss,
            f"{domain}_loss": after.loss,
            f"{domain}_accuracy_base": before.accuracy,
            f"{domain}_accuracy": after.accuracy,
            f"{domain}_kl": _divergence(before.logits, after.logits),
            f"{domain}_agreement": _agreement(before.logits, after.logits),
        }
    return found


def _sizes(case: Case) -> dict[str, float]:
    changes = case.changes
    if not changes:
        return {}
    ratios = size_ratios(changes, matrix_floor=0.01, vector_floor=0.5)
    computed = computed_targets(case.account)
    idle = [not c.delta_rms for c in changes if c.target in computed]
    found = {
        "norm": max(ratios.values()),
        "norm_over_type": _over_type(ratios),
        "idle": float(np.mean(idle)) if idle else 0.0,
    }
    products = spectra(case, floor=0.01)
    if products:
        found |= {
            "spectral": max(one.ratio for one in products),
            "spectral_over_type": _over_type({one.target: one.ratio for one in products}),
            "effective_rank": min(one.effective_rank for one in products),
        }
    return found


def _over_type(ratios: Mapping[str, float]) -> float:
    """Give the largest ratio in units of the median of its layer type."""
    types: dict[str, list[float]] = {}
    for name, ratio in ratios.items():
        types.setdefault(layer_type(name), []).append(ratio)
    usual = {kind: median(of) for kind, of in types.items()}
    over = [r / usual[layer_type(n)] for n, r in ratios.items() if usual[layer_type(n)] > 0]
    return max(over, default=1.0)


def _log_softmax(values: F32) -> NDArray[np.float64]:
    with np.errstate(all="ignore"):
        shifted = values.astype(np.float64) - values.max(axis=1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _divergence(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    with np.errstate(all="ignore"):
        return float(np.mean(np.sum(np.exp(before) * (before - after), axis=1)))


def _agreement(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    return float(np.mean(before.argmax(axis=1) == after.argmax(axis=1)))
