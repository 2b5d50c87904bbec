"""What a suite asks of samples of both domains, in the terms that suites know.

The numbers were set on the tuning half alone: between the worst healthy and the best broken delta
that the other checks let pass, or at about twice what the worst healthy one loses where the others
let none pass. `python -m tests.planted.measure` prints both beside each of them.
"""

from dataclasses import dataclass
from typing import Literal

from deltareg.wire import CheckResult

Against = Literal["base", "promoted"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One threshold on one measure of one probe set.

    Attributes:
        name: What the check is called in the suite and in tables.
        is_language: Whether it is for bases that continue text, by perplexity; else by accuracy.
        domain: The probe set.
        change: For perplexity the relative, for accuracy the absolute change that is asked for; a
            negative one says how much may be lost.
        against: What the delta is compared with.
    """

    name: str
    is_language: bool
    domain: str
    change: float
    against: Against = "base"

    def found(self, result: CheckResult | None) -> float | None:
        """Give the change that its check found, more is better; None where it found none."""
        if result is None:
            return None
        ours, theirs = result.value, result.baseline
        if not isinstance(ours, (int, float)) or not isinstance(theirs, (int, float)):
            return None
        return 1 - ours / theirs if self.is_language else ours - theirs


RULES = (
    Rule("in_domain", True, "tuned", 0.05),
    Rule("general", True, "general", -6.0),
    Rule("in_domain_kept", True, "tuned", -0.17, "promoted"),
    Rule("general_kept", True, "general", -0.6, "promoted"),
    Rule("in_domain", False, "tuned", 0.06),
    Rule("general", False, "general", -0.2),
    Rule("in_domain_kept", False, "tuned", -0.09, "promoted"),
    Rule("general_kept", False, "general", -0.07, "promoted"),
)
KEPT = frozenset(rule.name for rule in RULES if rule.against == "promoted")
"""The checks that need a promoted version."""


def rules_of(*, is_language: bool) -> list[Rule]:
    """Give the rules for a sort of base."""
    return [rule for rule in RULES if rule.is_language == is_language]
