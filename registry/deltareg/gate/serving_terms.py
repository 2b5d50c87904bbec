"""A channel's requirements on a version for the engines that will serve it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deltareg.documents.strict_fields import DocumentPlace, read_count, read_list, read_object, read_text
from deltareg.gate.ruling import Ruling

_MOST_RANK, _MOST_TERMS = 1 << 16, 20
_EXAMPLE = "[{engine: vllm, max_rank: 64}]"


@dataclass(frozen=True, slots=True)
class ServingTerm:
    """An engine that must be able to serve the version.

    Attributes:
        engine: Its name.
        max_rank: The rank that it is configured for; None for its default.
    """

    engine: str
    max_rank: int | None = None

    def field(self) -> object:
        """Write it as in a policy."""
        if self.max_rank is None:
            return self.engine
        return {"engine": self.engine, "max_rank": self.max_rank}


@dataclass(frozen=True, slots=True)
class ServingFact:
    """Whether an engine can serve a version.

    Attributes:
        obstacles: Features that it does not serve, whatever its settings.
        rank: The rank that its settings must allow.
        default_rank: The rank that they allow by default; None if they do not limit it.
    """

    obstacles: Sequence[str]
    rank: int
    default_rank: int | None


def parse_serving(value: object, place: DocumentPlace) -> tuple[ServingTerm, ...]:
    """Parse the terms; each engine is named once.

    Raises:
        InvalidInput: They do not have this form.
    """
    items = read_list(value, place, example=_EXAMPLE)
    if len(items) > _MOST_TERMS:
        raise place.wrong(f"has {len(items)} items", fix=f"name at most {_MOST_TERMS}")
    terms = tuple(_term(item, place.at(number)) for number, item in enumerate(items))
    if len({term.engine for term in terms}) != len(terms):
        raise place.wrong("names an engine twice", fix="take one of them out")
    return terms


def stricter_serving(own: Sequence[ServingTerm], least: Sequence[ServingTerm]) -> tuple[ServingTerm, ...]:
    """Combine two lists of terms; an engine in both gets the smaller rank."""
    by_engine = {term.engine: term for term in own}
    for term in least:
        both = (term.max_rank, by_engine.get(term.engine, term).max_rank)
        ranks = [rank for rank in both if rank is not None]
        by_engine[term.engine] = ServingTerm(term.engine, min(ranks, default=None))
    return tuple(by_engine.values())


def rule_on_serving(ref: str, term: ServingTerm, facts: Mapping[str, ServingFact]) -> Ruling:
    """Check a version against the limits of one engine."""
    fact = facts.get(term.engine)
    if fact is None:
        return Ruling(
            "servable",
            f"nothing is known here of what {term.engine} serves",
            fix="take the engine out of the policy, or have the server updated",
        )
    most = fact.default_rank if term.max_rank is None else term.max_rank
    if fact.obstacles:
        message = "; ".join(fact.obstacles)
        fix = "promote another version, or serve the merged model: deltareg materialize"
        return Ruling("servable", f"{term.engine} cannot serve {ref}: {message}", fix=fix)
    if most is not None and fact.rank > most:
        message = f"{ref} has rank {fact.rank}, and {term.engine} is set up for {most}"
        fix = f"promote another version, or set {term.engine} up for {fact.rank} and max_rank, too"
        return Ruling("servable", message, fix=fix)
    return Ruling("servable", f"{term.engine} can serve {ref}")


def _term(value: object, place: DocumentPlace) -> ServingTerm:
    if isinstance(value, str):
        return ServingTerm(read_text(value, place, example="vllm"))
    fields = read_object(value, place, known=("engine", "max_rank"))
    if "engine" not in fields:
        raise place.wrong("names no engine", fix=f"write {_EXAMPLE}")
    engine = read_text(fields["engine"], place.at("engine"), example="engine: vllm")
    if "max_rank" not in fields:
        return ServingTerm(engine)
    rank = read_count(fields["max_rank"], place.at("max_rank"), most=_MOST_RANK)
    if rank < 1:
        raise place.at("max_rank").wrong("is no rank", fix="write 64, or leave it out")
    return ServingTerm(engine, rank)
