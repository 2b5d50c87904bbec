"""The tokens that end, begin, pad and break texts stay as likely as they can be in general text.

A head whose row of the end token was overwritten ends every answer at once, or none. On general
text the end token, the begin token and padding are rare after most words and never impossible.
"""

from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.messages.figures import TokenOdds

_CODE = "special_tokens"


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare the likelihood of each, over all places of the general probes, with the base's."""
    base = case.figures("base")
    if not base.special:
        why = base.refusal or "it continues no text, or brings no tokenizer"
        return Finding("n/a", detail=f"the base has no special tokens to watch: {why}")
    ours = case.figures("attached").special
    most, times = spec.number("most_share"), spec.number("most_times")
    fall = spec.number("most_fall")
    problems: list[str] = []
    for name, before in base.special.items():
        after = ours.get(name)
        if after is None:
            return Finding("skipped", detail=f"the delta leaves no {name} to watch")
        is_rife = not after.share <= max(most, times * before.share)
        is_gone = not after.log >= before.log - fall
        if is_rife or is_gone:
            how = "is likely everywhere" if is_rife else "has become impossible"
            detail = f"{name} {how}: {_describe_odds(before, after)}"
            value, mark = (after.share, most) if is_rife else (after.log, before.log - fall)
            baseline = before.share if is_rife else before.log
            return Finding("fail", value, mark, baseline, code=_CODE, detail=detail)
        problems.append(f"{name} {_describe_odds(before, after)}")
    worst = max(one.share for one in ours.values())
    return Finding("pass", worst, most, detail="; ".join(problems))


def _describe_odds(before: TokenOdds, after: TokenOdds) -> str:
    return (
        f"{after.share:.2g} (the base {before.share:.2g}), its logarithm {after.log:.1f} on"
        f" average (the base {before.log:.1f})"
    )


CHECK = Check(
    "special_tokens",
    run,
    CheckForm(
        "EOS, BOS, padding and newline are neither everywhere nor impossible",
        {"most_share": "0.3", "most_times": 3, "most_fall": 20},
        may_not_apply=True,
        fix="mask padding in the labels (-100), with a pad token that is not the end",
    ),
)
