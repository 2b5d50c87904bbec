"""A channel's policy: its requirements for a version, its verdicts and whoever moves it.

People write it as YAML, the wire and the database hold it as JSON, and the strict reader below
reads both. Its digest covers the requirements, so a key with its default value, or a list in
another order, gives the same policy. Verdicts for a channel and approvals are bound to this digest:
after a change of the policy they no longer count.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from deltareg.digest import Digest, sha256_of
from deltareg.documents.json_values import is_list, is_object
from deltareg.documents.strict_fields import (
    DocumentPlace,
    describe_value,
    read_count,
    read_object,
    read_text,
    read_word,
)
from deltareg.gate.freeze_window import FreezeWindow, parse_window, with_zone, without_utc
from deltareg.gate.outside_terms import OUTSIDE_KEYS, OutsideTerms, digest_fields, outside_fields, parse_outside
from deltareg.gate.promotion_labels import parse_labels
from deltareg.gate.required_suites import (
    DEFAULT_SUITE,
    RequiredSuite,
    name_of_suite,
    parse_suites,
    put_beside_smoke,
    read_items,
    refuse_twice,
    suite_field,
)
from deltareg.gate.serving_terms import ServingTerm, parse_serving
from deltareg.gate.signature_terms import SignatureTerm, parse_terms, terms_fields, terms_in_order
from deltareg.identity.manifest import canonical_json
from deltareg.words import BASE_EVIDENCE, BaseEvidence

T = TypeVar("T")
Environment = Literal["any", "strict"]
EVIDENCE: tuple[BaseEvidence, ...] = BASE_EVIDENCE[::-1]
SANDBOX_LAYERS = ("session", "limits", "no_new_privs", "network", "files", "calls", "pid", "mount", "cgroup")
KEYS = (
    "suites",
    "sandbox",
    "evidence",
    "kinds",
    "bases",
    "protected",
    "approvals",
    "freeze",
    "rollback",
    "environment",
    "variants",
    "workers",
    "worker_labels",
    "independent",
    "local",
    "signatures",
    "servable",
    *OUTSIDE_KEYS,
    "new_base",
    "smoke",
    "auto_promote",
    "label",
    "fixed_reference",
)
MOST_APPROVALS = 20
MOST_WORKERS = 10
_MOST_LABELS = 16
PRODUCTION = "prod"
"""The channel that holds versions to a reference that does not move, unless its policy says otherwise."""


@dataclass(frozen=True, slots=True)
class RollbackWindow:
    """How far back a rollback may rely on an old verdict: the wider of the two holds."""

    revisions: int = 5
    days: int = 30


@dataclass(frozen=True, slots=True)
class Policy:
    """The requirements of a channel.

    Attributes:
        suites: The suites that must have passed.
        sandbox: The layers that the sandbox of their verdicts must have had.
        evidence: The least evidence that the base was the right one; empty for any.
        kinds: The accepted kinds; None for all.
        bases: The accepted bases, by name or exact root; None for all.
        is_protected: Whether every move needs a reason.
        approvals: How many people besides the uploader must approve.
        freeze: The freeze windows.
        rollback: The window of rollbacks that rely on an old verdict.
        variants: The variants of the base on which the suites must have passed as well, by name.
        environment: `strict` if a verdict counts only in the environment of today's workers.
        workers: The workers whose verdicts count, by name; None for all enrolled ones.
        worker_labels: The labels that these must have offered.
        independent: How many of them, on different hosts, must agree.
        is_local_taken: Whether verdicts of `verify --on local` count.
        signatures: Who must have signed the version's files.
        servable: The engines that must be able to serve it.
        outside: What others must say about it.
        is_new_base_taken: Whether a promotion may change the channel's base without a word.
        is_auto_promoted: Whether a newer version that meets all of this is promoted by itself.
        label: What a version is labelled with when it is promoted.
        fixed_reference: Whether suites that compare versions need a reference that does not move;
            None for what is usual on the channel: on `prod` they do.
    """

    suites: tuple[RequiredSuite, ...] = (RequiredSuite(DEFAULT_SUITE),)
    sandbox: tuple[str, ...] = ()
    evidence: str = ""
    kinds: tuple[str, ...] | None = None
    bases: tuple[str, ...] | None = None
    is_protected: bool = False
    approvals: int = 0
    freeze: tuple[FreezeWindow, ...] = ()
    rollback: RollbackWindow = RollbackWindow()
    environment: Environment = "any"
    variants: tuple[str, ...] = ()
    workers: tuple[str, ...] | None = None
    worker_labels: Mapping[str, str] = field(default_factory=dict[str, str])
    independent: int = 1
    is_local_taken: bool = False
    signatures: tuple[SignatureTerm, ...] = ()
    servable: tuple[ServingTerm, ...] = ()
    outside: OutsideTerms = field(default_factory=OutsideTerms)
    is_new_base_taken: bool = False
    is_auto_promoted: bool = False
    label: Mapping[str, str] = field(default_factory=dict[str, str])
    fixed_reference: bool | None = None

    def asks_fixed_reference(self, channel: str) -> bool:
        """Whether suites need a reference that does not move, on a channel of a name."""
        return channel == PRODUCTION if self.fixed_reference is None else self.fixed_reference

    @property
    def asks_smoke(self) -> bool:
        """Whether `smoke` is among the suites."""
        return any(suite.name == DEFAULT_SUITE for suite in self.suites)


def parse_policy(fields: object, *, lines: Mapping[str, int] | None = None) -> Policy:
    """Parse a policy as people write it.

    `smoke` is required besides its suites, unless it says `smoke: false`.

    Args:
        fields: The document.
        lines: The line of each path in it, if it was a text.

    Raises:
        InvalidInput: An unknown key, or a value that the key does not take.
    """
    root, default = DocumentPlace("", lines or {}), Policy()
    document = read_object(fields, root, known=KEYS)

    def read(key: str, how: Callable[[object, DocumentPlace], T], otherwise: T) -> T:
        return how(document[key], root.at(key)) if key in document else otherwise

    return Policy(
        suites=put_beside_smoke(
            read("suites", parse_suites, ()), asks_smoke=read("smoke", _flag, default.asks_smoke), place=root
        ),
        sandbox=read("sandbox", _sandbox, default.sandbox),
        evidence=read("evidence", _evidence, default.evidence),
        kinds=read("kinds", _names("[lora, ia3]"), default.kinds),
        bases=read("bases", _names('[llama-3.1-8b, "sha256:…"]'), default.bases),
        is_protected=read("protected", _flag, default.is_protected),
        approvals=read("approvals", _approvals, default.approvals),
        freeze=read("freeze", _windows, default.freeze),
        rollback=read("rollback", _rollback, default.rollback),
        environment=read("environment", _environment, default.environment),
        variants=read("variants", _names("[llama-3.1-8b-bnb4]"), default.variants),
        workers=read("workers", _names("[gpu-1, gpu-2]"), default.workers),
        worker_labels=read("worker_labels", _labels, default.worker_labels),
        independent=read("independent", _independent, default.independent),
        is_local_taken=read("local", _flag, default.is_local_taken),
        signatures=read("signatures", parse_terms, default.signatures),
        servable=read("servable", parse_serving, default.servable),
        outside=parse_outside(document, root),
        is_new_base_taken=read("new_base", _flag, default.is_new_base_taken),
        is_auto_promoted=read("auto_promote", _flag, default.is_auto_promoted),
        label=read("label", parse_labels, default.label),
        fixed_reference=read("fixed_reference", _flag, default.fixed_reference),
    )


def read_stored(fields: Mapping[str, object]) -> Policy:
    """Parse a stored policy: its suites are complete.

    Policies were always stored this way, so a channel's requirements do not change.
    """
    suites, windows = fields.get("suites"), fields.get("freeze")
    document = dict(fields)
    if is_list(suites) and DEFAULT_SUITE not in {name_of_suite(suite) for suite in suites}:
        document["smoke"] = False
    if is_list(windows):
        document["freeze"] = [with_zone(one) if is_object(one) else one for one in windows]
    return parse_policy(document)


def stored_fields(policy: Policy) -> dict[str, object]:
    """Write a policy as `read_stored` reads it; its digest is taken over this form."""
    fields = {key: value for key, value in policy_fields(policy).items() if key != "smoke"}
    if policy.freeze:
        fields["freeze"] = [without_utc(window.fields()) for window in policy.freeze]
    return fields


def policy_fields(policy: Policy) -> dict[str, object]:
    """Write a policy for people: the suites, and otherwise only values that are not the default."""
    fields: dict[str, object] = {"suites": [suite_field(suite) for suite in policy.suites]}
    optional: dict[str, object] = {
        "sandbox": list(policy.sandbox) or None,
        "evidence": policy.evidence or None,
        "kinds": None if policy.kinds is None else list(policy.kinds),
        "bases": None if policy.bases is None else list(policy.bases),
        "protected": policy.is_protected or None,
        "approvals": policy.approvals or None,
        "freeze": [window.fields() for window in policy.freeze] or None,
        "rollback": _rollback_field(policy.rollback),
        "environment": None if policy.environment == "any" else policy.environment,
        "variants": list(policy.variants) or None,
        "workers": None if policy.workers is None else list(policy.workers),
        "worker_labels": dict(policy.worker_labels) or None,
        "independent": None if policy.independent == 1 else policy.independent,
        "local": policy.is_local_taken or None,
        "signatures": terms_fields(policy.signatures) or None,
        "servable": [term.field() for term in policy.servable] or None,
        **outside_fields(policy.outside),
        "new_base": policy.is_new_base_taken or None,
        "smoke": None if policy.asks_smoke else False,
        "auto_promote": policy.is_auto_promoted or None,
        "label": dict(policy.label) or None,
        "fixed_reference": policy.fixed_reference,
    }
    return fields | {key: value for key, value in optional.items() if value is not None}


def policy_digest(policy: Policy) -> Digest:
    """Return the digest of a policy's requirements, independent of the order of writing."""
    ordered = replace(
        policy,
        suites=tuple(sorted(policy.suites, key=lambda suite: suite.name)),
        kinds=None if policy.kinds is None else tuple(sorted(policy.kinds)),
        bases=None if policy.bases is None else tuple(sorted(policy.bases)),
        variants=tuple(sorted(policy.variants)),
        workers=None if policy.workers is None else tuple(sorted(policy.workers)),
        freeze=tuple(sorted(policy.freeze, key=lambda window: str(without_utc(window.fields())))),
        signatures=terms_in_order(policy.signatures),
        servable=tuple(sorted(policy.servable, key=lambda term: term.engine)),
        outside=policy.outside.in_order(),
    )
    return sha256_of(canonical_json(digest_fields(stored_fields(ordered), ordered.outside)))


def _sandbox(value: object, place: DocumentPlace) -> tuple[str, ...]:
    items = read_items(value, place, example="[network, files, calls]")
    layers = [read_word(item, place.at(number), words=SANDBOX_LAYERS) for number, item in enumerate(items)]
    return tuple(layer for layer in SANDBOX_LAYERS if layer in layers)


def _names(example: str) -> Callable[[object, DocumentPlace], tuple[str, ...]]:
    def read(value: object, place: DocumentPlace) -> tuple[str, ...]:
        items = read_items(value, place, example=example)
        if not items:
            raise place.wrong("is empty, and so nothing could pass", fix="leave the key out")
        names = [read_text(item, place.at(number), example=example) for number, item in enumerate(items)]
        refuse_twice(names, place)
        return tuple(names)

    return read


def _flag(value: object, place: DocumentPlace) -> bool:
    if not isinstance(value, bool):
        raise place.wrong(f"takes true or false, not {describe_value(value)}", fix="write true or false")
    return value


def _windows(value: object, place: DocumentPlace) -> tuple[FreezeWindow, ...]:
    items = read_items(value, place, example='[{from: "Fri 16:00", to: "Mon 08:00", zone: UTC}]')
    return tuple(parse_window(item, place.at(number)) for number, item in enumerate(items))


def _evidence(value: object, place: DocumentPlace) -> str:
    return read_word(value, place, words=EVIDENCE)


def _approvals(value: object, place: DocumentPlace) -> int:
    return read_count(value, place, most=MOST_APPROVALS)


def _independent(value: object, place: DocumentPlace) -> int:
    count = read_count(value, place, most=MOST_WORKERS)
    if count < 1:
        raise place.wrong("is no number of workers", fix="write 2, or leave the key out")
    return count


def _labels(value: object, place: DocumentPlace) -> dict[str, str]:
    fields = value if is_object(value) else {}
    if not 0 < len(fields) <= _MOST_LABELS:
        raise place.wrong(f"takes labels, not {describe_value(value)}", fix="write {device: cuda}")
    return {name: read_text(fields[name], place.at(name), example="device: cuda") for name in sorted(fields)}


def _environment(value: object, place: DocumentPlace) -> Environment:
    is_strict = read_word(value, place, words=("any", "strict")) == "strict"
    return "strict" if is_strict else "any"


def _rollback(value: object, place: DocumentPlace) -> RollbackWindow:
    fields = read_object(value, place, known=("revisions", "days"))
    default = RollbackWindow()
    return RollbackWindow(
        read_count(fields.get("revisions", default.revisions), place.at("revisions"), most=1000),
        read_count(fields.get("days", default.days), place.at("days"), most=3650),
    )


def _rollback_field(window: RollbackWindow) -> object:
    if window == RollbackWindow():
        return None
    return {"revisions": window.revisions, "days": window.days}
