"""How far two outputs for one input are apart: distributions over tokens or classes, or states."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deltareg_verify.engine.engine import F32, Outputs

_SCORES = ("logits", "logits_per_image")
_STATES = "last_hidden_state"
_ROWS = 64
_ALIKE = 1e-6


@dataclass(frozen=True, slots=True)
class Contrast:
    """How far two outputs are apart.

    Attributes:
        places: How many tokens, or samples, were compared.
        kl: Sum over places of KL(a||b) in nats; None for states, or if a value is not finite.
        agreed: At how many places both rank the same one first; None for states.
        mean_abs: Mean of the absolute differences of all values.
        cosine: Between the two as vectors; None for distributions.
        narrower: Values per place that only one of the two has, such as added tokens.
    """

    places: int
    kl: float | None
    agreed: int | None
    mean_abs: float
    cosine: float | None = None
    narrower: int = 0

    @property
    def is_alike(self) -> bool:
        """Whether no difference shows: the same rank first everywhere, or the same direction."""
        if self.agreed is not None:
            return self.agreed == self.places and not self.narrower
        return self.cosine is not None and self.cosine > 1 - _ALIKE


def contrast(a: Outputs, b: Outputs) -> Contrast | None:
    """Compare the outputs of two forwards for one sample; None when they have nothing in common.

    Args:
        a: Outputs by name, without the dimension of samples.
        b: The same of the other forward.
    """
    shared = [name for name in a if name in b and a[name].ndim == b[name].ndim and a[name].ndim]
    scores = next((name for name in _SCORES if name in shared), None)
    if scores is not None and min(a[scores].shape[-1], b[scores].shape[-1]) > 1:
        return of_scores(a[scores], b[scores])
    states = _STATES if _STATES in shared else next(iter(shared), None)
    return None if states is None else of_states(a[states], b[states])


def of_scores(a: F32, b: F32) -> Contrast:
    """Compare (tokens, vocabulary) or (classes,) of logits, over the values that both have.

    A delta may put virtual tokens before the others, so rows are matched from the end.
    """
    a, b = _match_rows(np.atleast_2d(a), np.atleast_2d(b))
    narrower = abs(a.shape[1] - b.shape[1])
    width = min(a.shape[1], b.shape[1])
    kl, agreed, apart = 0.0, 0, 0.0
    for start in range(0, len(a), _ROWS):
        ours, theirs = (x[start : start + _ROWS, :width].astype(np.float64) for x in (a, b))
        sane = np.isfinite(ours).all(1) & np.isfinite(theirs).all(1)
        p, q = _log_softmax(ours), _log_softmax(theirs)
        kl += float((np.exp(p) * (p - q)).sum()) if sane.all() else np.nan
        agreed += int(((ours.argmax(1) == theirs.argmax(1)) & sane).sum())
        apart += float(np.abs(ours - theirs).sum())
    # Rounding may leave a trace below zero, which no divergence is.
    divergence = max(kl, 0.0) if np.isfinite(kl) else None
    return Contrast(len(a), divergence, agreed, apart / (len(a) * width), narrower=narrower)


def of_states(a: F32, b: F32) -> Contrast | None:
    """Compare vectors of any shape; None when their shapes differ."""
    if a.ndim > 1:
        a, b = _match_rows(a, b)
    if a.shape != b.shape or not a.size:
        return None
    ours, theirs = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    norms = float(np.linalg.norm(ours) * np.linalg.norm(theirs))
    same = np.array_equal(ours, theirs)
    cosine = 1.0 if same else float(ours @ theirs) / norms if norms else 0.0
    places = len(a) if a.ndim > 1 else 1
    return Contrast(places, None, None, float(np.abs(ours - theirs).mean()), cosine)


def _match_rows(a: F32, b: F32) -> tuple[F32, F32]:
    rows = min(len(a), len(b))
    return a[len(a) - rows :], b[len(b) - rows :]


def _log_softmax(x: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        shifted = x - x.max(1, keepdims=True)
        logs: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return logs
