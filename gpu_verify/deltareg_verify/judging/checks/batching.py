"""The answers are the same alone or beside others, padded or not, with a cache or without.

Servers choose how they call a network, whatever the delta. What a base does by itself, such as one
that counts padding among its positions, is no finding about the delta: its own difference is
allowed, a few times over. At positions that a base never met, a head that the delta brings answers
arbitrarily, and the base has no head to compare it with. A kind that mixes the rows of a batch by
design is warned of.
"""

import math

from deltareg.delta.traits import traits_of
from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.dtypes import TOLERANCES
from deltareg_verify.judging.check import Check, Finding

_WORDS = {
    "batch": "beside others, padded on the right,",
    "padded_left": "padded on the left",
    "cache": "with a cache",
    "longest": "at the last positions",
}


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare each way of calling the network with calling it for one text alone."""
    base = case.figures("base")
    if not base.batching:
        detail = base.refusal or "it reads no text, or brings no tokenizer"
        return Finding("n/a", detail=f"nothing to put into a batch: {detail}")
    ours = case.figures("attached").batching
    tolerance, times = spec.number(TOLERANCES[case.engine.dtype]), spec.number("most_times")
    least = {"longest": spec.number("longest")}  # what knows its position may well differ there
    allowed = {way: max(tolerance, least.get(way, 0.0), times * own) for way, own in base.batching.items()}
    if base.classes is None and case.figures("attached").classes is not None:
        allowed["longest"] = math.nan
    # What stands before a text, or waits for a phrase, is not asked all of it.
    ways = [way for way in ours if not math.isnan(allowed[way])]
    sick = next((way for way in ways if not ours[way] <= allowed[way]), "")
    worst = sick or max(ways, key=lambda way: ours[way] / allowed[way], default="")
    if not worst:
        return Finding("n/a", detail="there is no way of calling it to be compared")
    value, mark, own = ours[worst], allowed[worst], base.batching[worst]
    detail = f"{_WORDS[worst]} it differs by {value:.2g} of its outputs, the base by {own:.2g}"
    if sick and traits_of(case.account.delta).mixes_rows:
        detail += "; all tokens of a batch decide what its kind does to each: serve one request at a time"
        return Finding("warn", value, mark, own, code="batching_differs", detail=detail)
    if sick:
        return Finding("fail", value, mark, own, code="batching_differs", detail=detail)
    return Finding("pass", value, mark, own, detail=f"{len(ways)} ways; {detail}")


CHECK = Check(
    "batching",
    run,
    CheckForm(
        "batched, padded, cached and far on, it gives the same",
        {"f32": "0.005", "bf16": "0.3", "f16": "0.05", "most_times": 5, "longest": 1},
        may_not_apply=True,
        fix="look for a part that reads positions, padding or other rows of the batch",
    ),
)
