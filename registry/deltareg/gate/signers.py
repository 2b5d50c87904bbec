"""Whose verdicts count: those signed by enrolled workers, or by the policy's workers.

An unsigned verdict may be anybody's, so it does not count as a pass, though a failure stays one. A
revoked key invalidates everything that it signed, since nobody knows who used it when.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from deltareg.gate.ruling import Rule


@dataclass(frozen=True, slots=True)
class VerdictSigner:
    """The signer of a verdict.

    Attributes:
        keyid: The key; empty if the verdict is not signed.
        worker: The worker enrolled with it; empty if there is none.
        host: The machine, as enrolled; empty if unknown.
        labels: The labels that the worker offered.
        revoked: Why the key was revoked, in words; empty if it was not.
    """

    keyid: str = ""
    worker: str = ""
    host: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    revoked: str = ""

    @property
    def is_local(self) -> bool:
        """Whether it is a worker that was not enrolled."""
        return bool(self.keyid) and not self.worker

    @property
    def description(self) -> str:
        """The signer in words."""
        return self.worker or "a worker that nobody enrolled"


@dataclass(frozen=True, slots=True)
class SignerTerms:
    """A channel's requirements for the signers of verdicts.

    Attributes:
        workers: The workers, by name; None for all enrolled ones.
        labels: The labels that the worker must have offered.
        is_local_taken: Whether verdicts of workers that are not enrolled count.
    """

    workers: tuple[str, ...] | None = None
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    is_local_taken: bool = False


def why_untrusted(signer: VerdictSigner, terms: SignerTerms, *, is_pass: bool) -> tuple[Rule, str] | None:
    """Return the rule and the reason why a signer's verdict does not count; None if it does.

    Args:
        signer: Who signed it.
        terms: The requirements for signers.
        is_pass: Whether the verdict is a pass. Failures count whoever signed them.
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
