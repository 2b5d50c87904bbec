"""What a suite asks of samples of both domains, in the terms that suites know.

The numbers were set on the tuning half alone: between the worst healthy and the best broken delta
that the other checks let pass. `python -m tests.planted.measure` prints both beside each of them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """One threshold on one measure of one probe set.

    Attributes:
        name: What it is called in tables.
        is_language: Whether it is for bases that continue text.
        domain: The probe set.
        change: For perplexity the relative, for accuracy the absolute change that is asked for; a
            negative one says how much may be lost.
    """

    name: str
    is_language: bool
    domain: str
    change: float

    def found(self, measured: Mapping[str, float]) -> float:
        """Give the change that was measured; more is better for both."""
        if not self.is_language:
            return measured[f"{self.domain}_accuracy"] - measured[f"{self.domain}_accuracy_base"]
        # 1 - perplexity / perplexity of the base
        more = measured[f"{self.domain}_loss"] - measured[f"{self.domain}_loss_base"]
        return -math.expm1(min(more, 700.0))

    def fails(self, measured: Mapping[str, float]) -> bool:
        """Whether the delta misses it; a NaN does."""
        return not self.found(measured) >= self.change


RULES = (
    Rule("in_domain", True, "tuned", 0.05),
    Rule("general", True, "general", -6.0),
    Rule("in_domain", False, "tuned", 0.06),
    Rule("general", False, "general", -0.2),
)


def rules_of(*, is_language: bool) -> list[Rule]:
    """Give the rules for a sort of base."""
    return [rule for rule in RULES if rule.is_language == is_language]
