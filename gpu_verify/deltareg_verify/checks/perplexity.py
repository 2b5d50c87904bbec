"""General text does not become much less likely than it was for the base."""

from typing import cast

from deltareg.suite import CheckSpec, Suite
from deltareg_verify.case import Case
from deltareg_verify.check import Check, Finding


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare perplexity on the suite's sentences; healthy tunes lose some, so this only warns."""
    sentences = texts(case.suite)
    base = case.engine.perplexity("base", sentences) if sentences else None
    if base is None:
        return Finding(
            "n/a", detail="needs a generative head, a tokenizer in the base and probe text"
        )
    value = case.engine.perplexity("attached", sentences)
    assert value is not None, "the delta does not take away what the base has"
    most = base * (1 + spec.number("warn_relative_change"))
    if value <= most:
        return Finding("pass", value, most, base)
    detail = "general text became much less likely; the delta may be overtrained"
    return Finding("warn", value, most, base, "worse_than_base", detail)


def texts(suite: Suite) -> list[str]:
    """Give the suite's sentences; it may have none."""
    found = suite.probes.get("text")
    return [str(text) for text in cast(list[object], found)] if isinstance(found, list) else []


CHECK = Check("perplexity", run, may_not_apply=True)
