"""The delta preserves the base's general ability: perplexity on the base's own probes.

A tune may forget much of what its task does not need. Where perplexity on sentences of many
languages, on code and on chat is a multiple of the base's, the weights are destroyed or wrong.
Models that fill gaps or write after reading are measured by their loss in the same way.
"""

import math
from collections.abc import Mapping

from deltareg.documents.json_values import is_count, is_object
from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.messages.figures import Figures

_MOST_NAMED = 4


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare perplexity with the base's: on all general probes, and on what the base knows best.

    The half that it predicts best is looked at by itself. Of languages that it never learnt a base
    knows nothing that could be destroyed, and their texts would hide what is. Nor do they decide alone:
    all probes are too much only if those are that the base predicts better than a blind guess.
    """
    base = case.figures("base")
    if not base.known:
        summary = base.refusal or "it predicts no text that it has words for"
        return Finding("n/a", detail=f"the base has no perplexity on general text: {summary}")
    ours = case.figures("attached")
    below = tuple(name for name, one in base.losses.items() if one.tokens and one.mean < _blind(case.base.view.config))
    results = [_compare_perplexity(base, ours, classes) for classes in (base.known, tuple(base.losses), below)]
    best_known, whole, learnt = results
    if best_known is None or whole is None:
        return Finding("skipped", detail="the delta leaves nothing that predicts text")
    before, after = max(best_known, whole if learnt is None else min(whole, learnt, key=_times), key=_times)
    most = spec.number("most_times") * before
    summary = f"general perplexity {after:.4g}, the base's is {before:.4g}"
    if after <= most:  # infinity and NaN are not
        return Finding("pass", after, most, before, detail=summary + _describe_best_known(base, case.base.view.config))
    detail = f"{summary}; {_worst(base, ours)}: the delta destroys what the base knows"
    return Finding("fail", after, most, before, code="worse_than_base", detail=detail)


def _compare_perplexity(base: Figures, ours: Figures, classes: tuple[str, ...]) -> tuple[float, float] | None:
    before, after = base.perplexity(classes), ours.perplexity(classes)
    return None if before is None or after is None else (before, after)


def _times(found: tuple[float, float]) -> float:
    return found[1] / found[0]


def _describe_best_known(base: Figures, config: Mapping[str, object]) -> str:
    """Name what the base knows best; empty where it hardly guesses better than by chance.

    It knows a class of text where it loses less than half of what a blind guess over its vocabulary
    would: how often tokens occur is worth less than that.
    """
    blind = _blind(config)
    classes = [name for name in base.known if base.losses[name].mean < blind / 2][:_MOST_NAMED]
    return f"; the base knows best: {', '.join(classes)}" if classes else ""


def _blind(config: Mapping[str, object]) -> float:
    """Return the loss of a blind guess over the vocabulary, in nats a token; infinity where its size is unknown."""
    words = config.get("text_config")
    size = {**config, **(words if is_object(words) else {})}.get("vocab_size")
    return math.log(size) if is_count(size) and size > 1 else math.inf


def _worst(base: Figures, ours: Figures) -> str:
    """Name the class of text that suffers most."""
    rises = {
        name: ours.losses[name].mean - base.losses[name].mean
        for name in base.known
        if name in ours.losses and ours.losses[name].tokens
    }
    sick = max(rises, key=lambda name: math.inf if math.isnan(rises[name]) else rises[name])
    times = math.exp(min(rises[sick], 700.0))
    return f"worst in {sick}, {times:.3g} times the base's"


CHECK = Check(
    "general_perplexity",
    run,
    CheckForm(
        "general text is not much less likely than to the base",
        {"most_times": 3},
        may_not_apply=True,
        fix="push an earlier checkpoint, or train with a lower learning rate",
    ),
)
