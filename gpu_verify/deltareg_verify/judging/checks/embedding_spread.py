"""Vectors of different inputs stay apart, and of a size that their users can compare.

Training without negatives, or with a wrong temperature, draws all vectors to one direction: every
two inputs are then alike, and a search finds nothing.
"""

from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.messages.figures import VectorSpread

_CODE = "collapsed"
_NOISE = 1e-6  # below it two directions are one, as far as float32 tells


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare the spread of the general probes' vectors with the base's."""
    base = case.figures("base")
    ours = case.figures("attached").spreads
    pairs = {
        name: (before, ours[name])
        for name, before in base.spreads.items()
        if name in ours and before.distance > _NOISE and before.size > 0
    }
    if not pairs:
        reason = base.refusal or "it gives no vectors that stand for whole inputs"
        return Finding("n/a", detail=f"the base has no spread of embeddings: {reason}")
    most = spec.number("most_growth")
    shares = {name: after.distance / before.distance for name, (before, after) in pairs.items()}
    least = {name: _least(spec, before) for name, (before, _) in pairs.items()}
    sick = next((name for name, share in shares.items() if not share >= least[name]), "")
    if sick:
        detail = f"{_describe_spread(sick, *pairs[sick])}: all inputs look alike"
        return Finding("fail", shares[sick], least[sick], 1.0, code=_CODE, detail=detail)
    for name, (before, after) in pairs.items():
        growth = after.size / before.size
        if not 1 / most <= growth <= most:
            detail = f"{_describe_spread(name, before, after)}: they are of another size altogether"
            return Finding("fail", growth, most, 1.0, code=_CODE, detail=detail)
    worst = min(shares, key=lambda name: shares[name])
    return Finding("pass", shares[worst], least[worst], 1.0, detail=_describe_spread(worst, *pairs[worst]))


def _least(spec: CheckSpec, before: VectorSpread) -> float:
    """Return the share that must remain: less where the base itself keeps inputs close together."""
    is_near = before.distance < spec.number("near")
    return spec.number("least_share_of_near" if is_near else "least_share")


def _describe_spread(name: str, before: VectorSpread, after: VectorSpread) -> str:
    return (
        f"{name}: different inputs lie {after.distance:.3g} apart (1 - cosine), the base's"
        f" {before.distance:.3g}; length {after.size:.3g}, the base's {before.size:.3g}"
    )


CHECK = Check(
    "embedding_spread",
    run,
    CheckForm(
        "vectors of different inputs stay apart",
        {"least_share": "0.02", "near": "0.3", "least_share_of_near": "0.01", "most_growth": 100},
        may_not_apply=True,
        fix="train with negatives in the batch and a lower learning rate",
    ),
)
