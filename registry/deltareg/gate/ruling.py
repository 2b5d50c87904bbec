"""Rulings of the gate on the rules of a channel, and the error class of an unmet rule."""

from dataclasses import dataclass
from typing import Literal

from deltareg.errors import Blocked, Corrupt, DeltaregError, GateFailed, GatePending, Inconclusive, NewBase

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
    "new_base",
    "attestation",
    "metric",
    "refuted",
    "licence",
    "dataset",
    "drift",
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
    "licence": Blocked,
    "dataset": Blocked,
    "failed": GateFailed,
    "refuted": GateFailed,
    "inconclusive": Inconclusive,
    "undecided": Inconclusive,
    "new_base": NewBase,
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
    "attestation": GatePending,
    "metric": GatePending,
    "drift": GatePending,
    "warnings": GatePending,
    "proven": GatePending,
    "approvals": GatePending,
}


@dataclass(frozen=True, slots=True)
class Ruling:
    """A ruling on one rule, met or unmet, with the facts in words.

    Attributes:
        rule: The rule; `verdict` requires one that counts and passed, other faults of verdicts have
            rules of their own.
        message: The finding.
        fix: The command that would repair it; empty if the rule is met.
        suite: The suite concerned; empty for other rules.
        warnings: The warnings to accept, or that were accepted, as `suite/check`.
        asked_by: The floors that ask for it; empty if the channel itself does.
        evidence: The digests of what others said that it rests on.
        undecided: The verdict and its check that is to be decided.
    """

    rule: Rule
    message: str
    fix: str = ""
    suite: str = ""
    warnings: tuple[str, ...] = ()
    asked_by: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    undecided: tuple[str, str] | None = None

    @property
    def is_met(self) -> bool:
        """Whether the rule is met, so that there is no fix."""
        return not self.fix
