"""Whose verdicts count: those that enrolled workers signed, or those of the policy's workers.

What is not signed may be anybody's; so it does not count as a pass, though a failure stays one. A
key that was revoked takes all with it that it signed, for nobody knows who used it when.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from deltareg.gate.ruling import Rule


@dataclass(frozen=True, slots=True)
class VerdictSigner:
    """Who signed a verdict.

    Attributes:
        keyid: The key; empty when nobody signed.
        worker: The worker that is enrolled with it; empty when none is.
        host: The machine, as enrolled; empty when nobody says.
        labels: What the worker offered.
        revoked: Why the key was revoked, in words; empty while it was not.
    """

    keyid: str = ""
    worker: str = ""
    host: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    revoked: str = ""

    @property
    def is_local(self) -> bool:
        """Whether it is a worker that nobody enrolled."""
        return bool(self.keyid) and not self.worker

    @property
    def description(self) -> str:
        """The signer in words."""
        return self.worker or "a worker that nobody enrolled"


@dataclass(frozen=True, slots=True)
class SignerTerms:
    """Whose verdicts a channel takes.

    Attributes:
        workers: The workers, by name; None for all that are enrolled.
        labels: What the worker must have offered.
        is_local_taken: Whether verdicts of workers that nobody enrolled count.
    """

    workers: tuple[str, ...] | None = None
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    is_local_taken: bool = False


def why_untrusted(signer: VerdictSigner, terms: SignerTerms, *, is_pass: bool) -> tuple[Rule, str] | None:
    """Say by which rule and why nobody goes by what somebody signed; None when one does.

    Args:
        signer: Who signed it.
        terms: Whose verdicts are taken.
        is_pass: Whether it would let something through. Whose failures count is not chosen.
    """
    if signer.revoked:
        message = f"the key {signer.keyid[:12]} of {signer.description} was revoked: {signer.revoked}"
        return "key_revoked", message
    if signer.is_local and not terms.is_local_taken:
        return "local", "it was made for its owner's eyes, by a worker that nobody enrolled"
    if not is_pass:
        return None
    if not signer.keyid:
        return "unsigned", "it is not signed: a worker of an older release made it"
    return _why_not_asked(signer, terms)


def _why_not_asked(signer: VerdictSigner, terms: SignerTerms) -> tuple[Rule, str] | None:
    if terms.workers is not None and signer.worker not in terms.workers:
        return "workers", f"it was made by {signer.description}, {' or '.join(terms.workers)} is asked"
    offered = {name: signer.labels.get(name, "") for name in terms.labels}
    lacking = [name for name, value in terms.labels.items() if not _offers(offered[name], value)]
    if lacking:
        labels = ", ".join(f"{name}={terms.labels[name]}" for name in lacking)
        return "workers", f"it was made by {signer.description}, which does not offer {labels}"
    return None


def _offers(offered: str, wanted: str) -> bool:
    return wanted in {value.strip() for value in offered.split(",")}
