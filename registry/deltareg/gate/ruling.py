"""What the gate found about one rule of a channel, and what an unmet one is to whoever asks."""

from dataclasses import dataclass
from typing import Literal

from deltareg.errors import Blocked, Corrupt, DeltaregError, GateFailed, GatePending, Inconclusive

Rule = Literal[
    "revoked",
    "quarantined",
    "deleted",
    "corrupt",
    "frozen",
    "kind",
    "base",
    "proven",
    "failed",
    "inconclusive",
    "missing",
    "suite_changed",
    "foreign",
    "verifier",
    "policy",
    "incumbent",
    "environment",
    "stale",
    "sandbox",
    "evidence",
    "warnings",
    "approvals",
    "verdict",
    "unsigned",
    "key_revoked",
    "local",
    "workers",
    "independent",
    "signature",
    "undecided",
    "servable",
]

# What an unmet rule is to whoever asks; of several unmet rules the first here names the refusal.
RULE_ERRORS: dict[Rule, type[DeltaregError]] = {
    "revoked": Blocked,
    "quarantined": Blocked,
    "deleted": Blocked,
    "corrupt": Corrupt,
    "frozen": Blocked,
    "kind": Blocked,
    "base": Blocked,
    "servable": Blocked,
    "failed": GateFailed,
    "inconclusive": Inconclusive,
    "undecided": Inconclusive,
    "missing": GatePending,
    "suite_changed": GatePending,
    "foreign": GatePending,
    "unsigned": GatePending,
    "key_revoked": GatePending,
    "local": GatePending,
    "workers": GatePending,
    "verifier": GatePending,
    "policy": GatePending,
    "incumbent": GatePending,
    "environment": GatePending,
    "stale": GatePending,
    "sandbox": GatePending,
    "evidence": GatePending,
    "independent": GatePending,
    "signature": GatePending,
    "warnings": GatePending,
    "proven": GatePending,
    "approvals": GatePending,
}


@dataclass(frozen=True, slots=True)
class Ruling:
    """One rule, met or unmet, with the facts in words.

    Attributes:
        rule: Which rule; `verdict` is one that counts and passed, what else could be wrong with one
            has a rule of its own.
        message: What was found.
        fix: The command that would change it; empty when the rule is met.
        suite: The suite that it is about; empty for other rules.
        warnings: The warnings that it asks about, or that were accepted, as `suite/check`.
        asked_by: The floors that ask for it; empty where the channel does itself.
    """

    rule: Rule
    message: str
    fix: str = ""
    suite: str = ""
    warnings: tuple[str, ...] = ()
    asked_by: tuple[str, ...] = ()

    @property
    def is_met(self) -> bool:
        """Whether the rule is met: there is nothing to do about it."""
        return not self.fix
