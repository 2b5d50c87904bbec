"""What a policy asks of a version that no worker of the registry can find out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from deltareg.documents.strict_fields import DocumentPlace
from deltareg.gate.attestation_terms import AttestationTerm, parse_attestations, rule_on_attestation
from deltareg.gate.card_terms import (
    AllowList,
    allowed_by_both,
    parse_datasets,
    parse_licences,
    rule_on_datasets,
    rule_on_licences,
)
from deltareg.gate.metric_terms import MetricTerm, parse_metrics, rule_on_metric
from deltareg.gate.outside_facts import OutsideFacts
from deltareg.gate.ruling import Rule, Ruling

OUTSIDE_KEYS = ("attestations", "metrics", "licences", "datasets")
OUTSIDE_RULES: frozenset[Rule] = frozenset({"attestation", "metric", "refuted", "licence", "dataset"})
_Term = TypeVar("_Term")
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class OutsideTerms:
    """What a policy asks of what others say about a version.

    Attributes:
        attestations: The attestations that must be there.
        metrics: The metrics that must be reported, within bounds.
        licences: The licences that the card may name; None for all, and for no card.
        datasets: The data sets that the card may name; None for all, and for no card.
    """

    attestations: tuple[AttestationTerm, ...] = ()
    metrics: tuple[MetricTerm, ...] = ()
    licences: AllowList | None = None
    datasets: AllowList | None = None

    @property
    def asks_others(self) -> bool:
        """Whether it asks for what somebody said."""
        return bool(self.attestations or self.metrics)

    @property
    def asks_card(self) -> bool:
        """Whether it asks for what the card declares."""
        return self.licences is not None or self.datasets is not None

    def in_order(self) -> "OutsideTerms":
        """Return the terms in the canonical order that digests are taken over."""
        return OutsideTerms(
            tuple(sorted((term.in_order() for term in self.attestations), key=_make_sort_key)),
            tuple(sorted((term.in_order() for term in self.metrics), key=_make_sort_key)),
            None if self.licences is None else tuple(sorted(self.licences)),
            None if self.datasets is None else tuple(sorted(self.datasets)),
        )


def parse_outside(document: Mapping[str, object], place: DocumentPlace) -> OutsideTerms:
    """Parse the terms of a policy that are about what others say.

    Raises:
        InvalidInput: One of them has another form, or could never be met.
    """

    def read(key: str, how: Callable[[object, DocumentPlace], _Value], otherwise: _Value) -> _Value:
        return how(document[key], place.at(key)) if key in document else otherwise

    return OutsideTerms(
        read("attestations", parse_attestations, ()),
        read("metrics", parse_metrics, ()),
        read("licences", parse_licences, None),
        read("datasets", parse_datasets, None),
    )


def outside_fields(terms: OutsideTerms) -> dict[str, object]:
    """Write the terms as `parse_outside` reads them; None for what is not asked."""
    return {
        "attestations": [term.field() for term in terms.attestations] or None,
        "metrics": [term.field() for term in terms.metrics] or None,
        "licences": None if terms.licences is None else list(terms.licences),
        "datasets": None if terms.datasets is None else list(terms.datasets),
    }


def digest_fields(fields: Mapping[str, object], terms: OutsideTerms) -> dict[str, object]:
    """Return the fields of a policy with its metrics as digests are taken over them, without floats."""
    metrics = {"metrics": [term.digest_field() for term in terms.metrics]} if terms.metrics else {}
    return {**fields, **metrics}


def stricter_outside(own: OutsideTerms, least: OutsideTerms) -> OutsideTerms:
    """Combine two: all attestations and metrics of both, and what both allow."""
    return OutsideTerms(
        _all_of(own.attestations, least.attestations),
        _all_of(own.metrics, least.metrics),
        allowed_by_both(own.licences, least.licences),
        allowed_by_both(own.datasets, least.datasets),
    )


def rule_on_outside(ref: str, terms: OutsideTerms, facts: OutsideFacts) -> list[Ruling]:
    """Check what others say about a version against every term of a policy."""
    rulings = [rule_on_attestation(ref, term, facts.said) for term in terms.attestations]
    rulings += [rule_on_metric(ref, term, facts.said) for term in terms.metrics]
    if terms.licences is not None:
        rulings.append(rule_on_licences(ref, terms.licences, facts.card))
    if terms.datasets is not None:
        rulings.append(rule_on_datasets(ref, terms.datasets, facts.card))
    return rulings


def _all_of(own: tuple[_Term, ...], least: tuple[_Term, ...]) -> tuple[_Term, ...]:
    return (*own, *(term for term in least if term not in own))


def _make_sort_key(term: AttestationTerm | MetricTerm) -> str:
    return str(sorted(term.field().items(), key=str))
