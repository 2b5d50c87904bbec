"""General text does not become much less likely than it was for the base."""

from deltareg.suite import CheckSpec
from deltareg_verify.case import Case
from deltareg_verify.check import Check, Finding


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare perplexity on the suite's sentences; a healthy tune may lose some, so this only warns."""
    texts = case.suite.probes.get("text")
    sentences = [str(text) for text in texts] if isinstance(texts, list) else []
    base = case.engine.perplexity("base", sentences) if sentences else None
    if base is None:
        return Finding("n/a", detail="needs a generative head, a tokenizer in the base and probe text")
    value = case.engine.perplexity("attached", sentences)
    assert value is not None, "the delta does not take away what the base has"
    most = base * (1 + spec.number("warn_relative_change"))
    if value <= most:
        return Finding("pass", round(value, 4), round(most, 4), round(base, 4))
    detail = "general text became much less likely; the delta may be overtrained"
    return Finding("warn", round(value, 4), round(most, 4), round(base, 4), "worse_than_base", detail)


CHECK = Check("perplexity", run, may_not_apply=True)
