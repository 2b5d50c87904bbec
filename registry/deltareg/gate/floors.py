"""Floors: policies of the server and of namespaces, below which no channel's policy goes.

A floor is written like a policy and asks only for what it states. A channel asks, key by key, for
the stricter of its own policy and its floors; so a floor can only add. An unmet rule names the
floor that asks for it, since the channel's owner cannot change that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from deltareg.digest import Digest, sha256_of
from deltareg.documents.json_values import is_list, is_object
from deltareg.documents.strict_fields import DocumentPlace, read_object
from deltareg.gate.outside_terms import digest_fields, stricter_outside
from deltareg.gate.policy import EVIDENCE, KEYS, SANDBOX_LAYERS, Policy, RollbackWindow, parse_policy, policy_fields
from deltareg.gate.required_suites import RequiredSuite
from deltareg.gate.serving_terms import stricter_serving
from deltareg.identity.manifest import canonical_json

OF_CHANNELS = frozenset({"smoke", "variants", "worker_labels", "new_base", "auto_promote", "label"})
"""Keys about one base or one fleet, what a channel leaves out, or does by itself: no floor has them."""
FLOOR_KEYS = tuple(key for key in KEYS if key not in OF_CHANNELS)
THE_SERVER = "the server"


@dataclass(frozen=True, slots=True)
class Floor:
    """Requirements for every channel of a namespace, or of the server.

    Attributes:
        of: Its owner: `the server`, or `namespace team`.
        policy: Its requirements.
        rollback: The widest window of rollbacks that it allows; None if it does not limit it.
        is_local_refused: Whether verdicts of `verify --on local` count on no channel.
    """

    of: str
    policy: Policy
    rollback: RollbackWindow | None = None
    is_local_refused: bool = False

    @property
    def command(self) -> str:
        """The command that shows it."""
        of = "" if self.of == THE_SERVER else f" --namespace {self.of.rpartition(' ')[2]}"
        return f"deltareg policy get{of}"

    def fields(self) -> dict[str, object]:
        """Write it as `parse_floor` reads it: only its requirements."""
        fields = {key: v for key, v in policy_fields(self.policy).items() if key in FLOOR_KEYS}
        if not self.policy.suites:
            del fields["suites"]
        if self.rollback is not None:
            fields["rollback"] = {"revisions": self.rollback.revisions, "days": self.rollback.days}
        return fields | ({"local": False} if self.is_local_refused else {})

    @property
    def digest(self) -> Digest:
        """The digest of its requirements."""
        return sha256_of(canonical_json(digest_fields(self.fields(), self.policy.outside)))


def parse_floor(fields: object, *, of: str, lines: Mapping[str, int] | None = None) -> Floor:
    """Parse a floor; an empty document asks for nothing.

    Args:
        fields: The document.
        of: Its owner.
        lines: The line of each path in it, if it was a text.

    Raises:
        InvalidInput: An unknown key, a key for channels only, or a value that the key does not
            take.
    """
    place = DocumentPlace("", lines or {})
    document = read_object(fields, place, known=KEYS)
    for key in OF_CHANNELS & document.keys():
        keys = ", ".join(FLOOR_KEYS)
        raise place.at(key).wrong("is for a channel to say, and not for a floor", fix=keys)
    if document.get("fixed_reference") is False:
        fix = "leave it out, or write true"
        raise place.at("fixed_reference").wrong("asks for less, and a floor asks for more", fix=fix)
    if document.get("local") is True:
        raise place.at("local").wrong("asks for less, and a floor asks for more", fix="leave it out, or write false")
    policy = parse_policy(document, lines=lines)
    names = {_name_of(item) for item in _as_list(document.get("suites"))}
    suites = tuple(suite for suite in policy.suites if suite.name in names)
    return Floor(
        of,
        replace(policy, suites=suites, rollback=RollbackWindow()),
        policy.rollback if "rollback" in document else None,
        document.get("local") is False,
    )


def over(own: Policy, floors: Sequence[Floor]) -> Policy:
    """Combine a channel's policy with its floors: the stricter of each key.

    The bases that floors accept are judged one floor at a time (`floor_bases`), since one base has
    many names.
    """
    policy = own
    for floor in floors:
        policy = _stricter(policy, floor)
    return policy


def _stricter(own: Policy, floor: Floor) -> Policy:
    least = floor.policy
    window = floor.rollback or own.rollback
    return replace(
        own,
        suites=_suites(own.suites, least.suites),
        sandbox=tuple(n for n in SANDBOX_LAYERS if n in {*own.sandbox, *least.sandbox}),
        evidence=max(own.evidence, least.evidence, key=_rank),
        kinds=_both(own.kinds, least.kinds),
        is_protected=own.is_protected or least.is_protected,
        approvals=max(own.approvals, least.approvals),
        freeze=(*own.freeze, *(w for w in least.freeze if w not in own.freeze)),
        rollback=RollbackWindow(min(own.rollback.revisions, window.revisions), min(own.rollback.days, window.days)),
        environment="strict" if "strict" in {own.environment, least.environment} else "any",
        workers=_both(own.workers, least.workers),
        independent=max(own.independent, least.independent),
        is_local_taken=own.is_local_taken and not floor.is_local_refused,
        fixed_reference=True if least.fixed_reference else own.fixed_reference,
        servable=stricter_serving(own.servable, least.servable),
        outside=stricter_outside(own.outside, least.outside),
        signatures=(*own.signatures, *(term for term in least.signatures if term not in own.signatures)),
    )


def _suites(own: Sequence[RequiredSuite], least: Sequence[RequiredSuite]) -> tuple[RequiredSuite, ...]:
    by_name = {suite.name: suite for suite in own}
    for suite in least:
        both = (suite.max_age_s, by_name.get(suite.name, suite).max_age_s)
        ages = [age for age in both if age is not None]
        by_name[suite.name] = RequiredSuite(suite.name, min(ages, default=None))
    return tuple(by_name.values())


def _both(own: tuple[str, ...] | None, least: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Return the names that both accept; None accepts everything."""
    if own is None or least is None:
        return least if own is None else own
    return tuple(name for name in own if name in least)


def _rank(evidence: str) -> int:
    return EVIDENCE.index(evidence) if evidence in EVIDENCE else -1


def _as_list(value: object) -> list[object]:
    return value if is_list(value) else []


def _name_of(item: object) -> object:
    return item.get("suite") if is_object(item) else item
