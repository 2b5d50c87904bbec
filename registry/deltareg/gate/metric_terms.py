"""Which metrics a policy asks for that another system measured, and whether they were reported.

A term names the metric, its bounds, and whose word counts. Several whose word counts must agree
that the bounds are kept: one who says otherwise is a reason to look, not one to be outvoted.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from deltareg.documents.strict_fields import DocumentPlace, describe_value, read_object, read_text
from deltareg.gate.outside_facts import OutsideFact, newest_by_sayer
from deltareg.gate.ruling import Ruling
from deltareg.gate.signature_terms import (
    SignatureTerm,
    describe_term,
    parse_term,
    read_terms,
    term_field,
    term_in_order,
)

ANYONE = "anyone"
_EXACT = 1 << 53
_BOUNDS = ("at_least", "at_most")
_EXAMPLE = "[{name: mmlu/acc, at_least: 0.6, from: {key: KEYID}}]"


@dataclass(frozen=True, slots=True)
class MetricTerm:
    """A metric that must be reported, within bounds.

    Attributes:
        name: Its name, as it is reported.
        at_least: Its lowest value; None for any.
        at_most: Its highest value; None for any.
        signers: Whose word counts; empty for anyone's who may push the line, signed or not.
    """

    name: str
    at_least: float | None
    at_most: float | None
    signers: SignatureTerm = ()

    def field(self) -> dict[str, object]:
        """Write it as in a policy."""
        return self._fields(_plain)

    def digest_field(self) -> dict[str, object]:
        """Write it as digests are taken over it: numbers as text, since only text is written in one way."""
        return self._fields(_number)

    def _fields(self, write: Callable[[float], object]) -> dict[str, object]:
        bounds = {"at_least": self.at_least, "at_most": self.at_most}
        who = term_field(self.signers) if self.signers else ANYONE
        return {"name": self.name, **{key: write(v) for key, v in bounds.items() if v is not None}, "from": who}

    def in_order(self) -> "MetricTerm":
        """Return it in the canonical order that digests are taken over."""
        return MetricTerm(self.name, self.at_least, self.at_most, term_in_order(self.signers))

    @property
    def bounds(self) -> str:
        """The bounds in words."""
        told = {"at least": self.at_least, "at most": self.at_most}
        return " and ".join(f"{words} {_number(v)}" for words, v in told.items() if v is not None)

    def holds(self, value: float) -> bool:
        """Whether a value is within the bounds."""
        low = -math.inf if self.at_least is None else self.at_least
        high = math.inf if self.at_most is None else self.at_most
        return low <= value <= high


def parse_metrics(value: object, place: DocumentPlace) -> tuple[MetricTerm, ...]:
    """Parse the metrics that a policy asks for.

    Raises:
        InvalidInput: One has another form, is asked of the same twice, or could never be met.
    """
    terms = read_terms(value, place, _term, example=_EXAMPLE)
    asked = [(term.name, term_in_order(term.signers)) for term in terms]
    for number, one in enumerate(asked):
        if one in asked[:number]:
            raise place.at(number).wrong(f"asks for {one[0]} twice", fix="write both bounds into one line")
    return terms


def rule_on_metric(ref: str, term: MetricTerm, facts: Sequence[OutsideFact]) -> Ruling:
    """Check the metrics that were reported of a version against one term; `facts` are oldest first."""
    reporting = [fact for fact in facts if term.name in fact.metrics]
    counting = newest_by_sayer(fact for fact in reporting if fact.is_counting and fact.is_by(term.signers))
    for fact in counting:
        if not term.holds(fact.metrics[term.name]):
            message = f"{_tell(ref, term, fact)}; {term.bounds} is asked"
            fix = f"promote another version, or have it measured anew: deltareg attest add {ref} FILE"
            return Ruling("refuted", message, fix=fix, evidence=(fact.digest,))
    if counting:
        message = f"{_tell(ref, term, counting[-1])}; {term.bounds} is asked"
        return Ruling("metric", message, evidence=tuple(fact.digest for fact in counting))
    message = f"nobody has reported {term.name} of {ref}"
    if term.signers:
        message = f"{term.name} of {ref} is not reported by {describe_term(term.signers)}"
    others = _tell_others(term, reporting) or _tell_near(term, facts)
    key = " --key PUB" if term.signers else ""
    return Ruling("metric", f"{message}{others}", fix=f"have it measured, then: deltareg attest add {ref} FILE{key}")


def _tell(ref: str, term: MetricTerm, fact: OutsideFact) -> str:
    return f"{term.name} of {ref} is {_number(fact.metrics[term.name])}, says {fact.sayer} ({fact.short_digest})"


def _tell_others(term: MetricTerm, reporting: Sequence[OutsideFact]) -> str:
    """Say why what was reported does not count."""
    if not reporting:
        return ""
    fact = reporting[-1]
    if fact.is_by(term.signers) and fact.revoked:
        return f"; {fact.sayer}, who reports it, is revoked: {fact.revoked}"
    if fact.is_by(term.signers):
        return f"; {fact.sayer} reports it of the weights alone"
    return f"; what {fact.sayer} says of it does not count"


def _tell_near(term: MetricTerm, facts: Sequence[OutsideFact]) -> str:
    names = sorted({name for fact in facts for name in fact.metrics})
    near = get_close_matches(term.name, names, n=1, cutoff=0.5)
    return f"; {near[0]} is reported" if near else ""


def _term(value: object, place: DocumentPlace) -> MetricTerm:
    fields = read_object(value, place, known=("name", *_BOUNDS, "from"))
    if "name" not in fields:
        raise place.wrong("names no metric", fix=f"write {_EXAMPLE}")
    name = read_text(fields["name"], place.at("name"), example="name: mmlu/acc")
    low, high = (_read_bound(fields[key], place.at(key)) if key in fields else None for key in _BOUNDS)
    if low is None and high is None:
        raise place.wrong("has no bound, and so would ask nothing", fix="write at_least: 0.6, or at_most: 12")
    if low is not None and high is not None and low > high:
        message = f"asks for at least {_number(low)} and at most {_number(high)}, and so nothing could pass"
        raise place.wrong(message, fix="exchange the two bounds")
    if "from" not in fields:
        raise place.wrong("does not say whose word counts", fix="write from: {key: KEYID}, or from: anyone")
    if fields["from"] == ANYONE:
        return MetricTerm(name, low, high)
    return MetricTerm(name, low, high, parse_term(fields["from"], place.at("from")))


def _read_bound(value: object, place: DocumentPlace) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        number = float(value) if is_number else math.nan  # type: ignore[arg-type]  # it is a number
    except OverflowError:
        number = math.nan
    if not math.isfinite(number):
        raise place.wrong(f"takes a number, not {describe_value(value)}", fix="write 0.6")
    return number


def _plain(value: float) -> object:
    return int(value) if value.is_integer() and abs(value) < _EXACT else value


def _number(value: float) -> str:
    return str(_plain(value))
