"""What others say about a version, as the gate reads it: attestations, evaluations, the card.

No worker of the registry found any of it. So each fact names who says it: whoever signed it or,
where nobody did, the principal that brought it. Of one sayer the newest counts; what a revoked
signer says never does, nor what is about the weights alone, since other settings make of the same
weights another delta.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from deltareg.signing.signatories import Signatory, WantedSigner

Outcome = Literal["", "pass", "fail"]
"""What an attestation of a known type says came out; empty where its type has no outcome."""
_SHOWN = 19


@dataclass(frozen=True, slots=True)
class OutsideFact:
    """An attestation about a version, or an evaluation of it that was reported.

    Attributes:
        digest: The sha256 of what was brought.
        predicate_type: What kind of thing it says.
        sender: The principal that brought it.
        signatory: The signer; None if nobody signed it.
        outcome: What came out.
        metrics: The metrics that it reports, by name.
        revoked: Why its signer was revoked, in words; empty if they were not.
        is_whole: Whether it is about the whole version, and not about its weights alone.
    """

    digest: str
    predicate_type: str
    sender: str
    signatory: Signatory | None = None
    outcome: Outcome = ""
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    revoked: str = ""
    is_whole: bool = True

    @property
    def is_counting(self) -> bool:
        """Whether it counts for those who accept its sayer."""
        return self.is_whole and not self.revoked

    @property
    def sayer(self) -> str:
        """Who says it, in words."""
        return f"{self.sender}, unsigned" if self.signatory is None else self.signatory.description

    @property
    def short_digest(self) -> str:
        """Its digest, as people compare it."""
        return f"{self.digest[:_SHOWN]}…"

    def is_by(self, signers: Sequence[WantedSigner]) -> bool:
        """Whether one of some signers signed it; any sayer will do where none is named."""
        if not signers:
            return True
        signatory = self.signatory
        return signatory is not None and any(signer.is_met_by(signatory) for signer in signers)


@dataclass(frozen=True, slots=True)
class CardFact:
    """What the card in a version's own files declares.

    Attributes:
        licences: The licences that it names.
        datasets: The data sets that it names.
        problems: What keeps its licences or data sets from being read in full, in words.
    """

    licences: Sequence[str] = ()
    datasets: Sequence[str] = ()
    problems: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class OutsideFacts:
    """All that the gate reads of a version that no worker found.

    Attributes:
        said: Attestations and evaluations, oldest first.
        card: The card; None if the version has none.
    """

    said: Sequence[OutsideFact] = ()
    card: CardFact | None = None


def newest_by_sayer(facts: Iterable[OutsideFact]) -> list[OutsideFact]:
    """Keep of each sayer the newest fact; `facts` are oldest first."""
    newest: dict[tuple[str, ...], OutsideFact] = {}
    for fact in facts:
        key = _make_sayer_key(fact)
        newest.pop(key, None)
        newest[key] = fact
    return list(newest.values())


def _make_sayer_key(fact: OutsideFact) -> tuple[str, ...]:
    who = fact.signatory
    if who is None:
        return ("sender", fact.sender)
    if who.issuer or who.ca:  # who is named by a certificate may sign with many keys
        return ("named", who.ca, who.issuer, who.identity)
    return ("key", who.keyid)
