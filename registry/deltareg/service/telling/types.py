"""The types of events: what others are told of, and what of it.

Whatever is not in this table is told nobody: tokens, members, keys and settings are in the audit
trail, for admins. Of what the audit trail says, an event has the fields named here and no others,
for its readers see one line and not what lies elsewhere. `docs/events.md` is written from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from deltareg.documents.json_values import is_object
from deltareg.service.events import Action

PREFIX = "dev.deltareg."


@dataclass(frozen=True, slots=True)
class EventType:
    """A type of event.

    Attributes:
        name: As people write it; on the wire `PREFIX` stands before it.
        actions: Of what the audit trail calls so.
        about: What happened, for the docs.
        fields: What is told of the state after it, or else before it.
        only: A field of the state after it and the value that it has to have.
    """

    name: str
    actions: tuple[Action, ...]
    about: str
    fields: tuple[str, ...] = ()
    only: tuple[str, str] | None = None

    def is_of(self, after: object) -> bool:
        """Whether what was done is of this type."""
        if self.only is None:
            return True
        return is_object(after) and after.get(self.only[0]) == self.only[1]


_MOVE = ("version", "digest", "base", "revision", "reason", "request", "break_glass", "passed_over")
TYPES: tuple[EventType, ...] = (
    EventType("version.pushed", (Action.VERSION_PUSH,), "A version is there.", ("digest", "kind", "base")),
    EventType("version.labelled", (Action.VERSION_LABEL,), "Labels of a version were changed.", ("labels",)),
    EventType(
        "version.edited", (Action.VERSION_EDIT,), "A version got a semver or another message.", ("semver", "message")
    ),
    EventType(
        "version.deprecated",
        (Action.VERSION_DEPRECATE,),
        "A version is deprecated, or no longer.",
        ("reason", "successor"),
    ),
    EventType("version.deleted", (Action.VERSION_DELETE,), "A version was deleted."),
    EventType("version.restored", (Action.VERSION_RESTORE,), "A deletion was taken back."),
    EventType("version.revoked", (Action.VERSION_REVOKE,), "A version is withdrawn everywhere.", ("digest", "reason")),
    EventType("version.unrevoked", (Action.VERSION_UNREVOKE,), "A revocation was taken back.", ("digest", "reason")),
    EventType(
        "version.signed",
        (Action.SIGNATURE_ADD,),
        "Somebody signed a version.",
        ("digest", "signed_by", "predicate_type"),
    ),
    EventType(
        "version.attested",
        (Action.ATTESTATION_ADD,),
        "Somebody attested a version.",
        ("digest", "signed_by", "predicate_type"),
    ),
    EventType(
        "version.evaluated",
        (Action.EVALUATION_ADD,),
        "Somebody reported metrics of a version that another system measured.",
        ("digest", "reported_by", "metrics"),
    ),
    EventType(
        "version.evaluation_withdrawn",
        (Action.EVALUATION_WITHDRAW,),
        "Reported metrics of a version count no more.",
        ("digest", "reported_by", "reason"),
    ),
    EventType(
        "version.stored_anew",
        (Action.VERSION_REENCODE,),
        "A version is served in another stored form.",
        ("stored_bytes", "why"),
    ),
    EventType("version.reverted", (Action.VERSION_REVERT,), "A version goes back to a former stored form.", ("form",)),
    EventType("base.registered", (Action.BASE_REGISTER,), "A base is known.", ("root",)),
    EventType("base.stored", (Action.BASE_PUSH,), "A base is stored.", ("root",)),
    EventType("base.renamed", (Action.BASE_RENAME,), "A base has another name."),
    EventType("base.deleted", (Action.BASE_DELETE,), "A base was deleted."),
    EventType(
        "proof.proven",
        (Action.VERSION_PROVE, Action.BASE_PROVE),
        "Stored bytes are what they say.",
        ("proof", "storage"),
    ),
    EventType(
        "proof.corrupt",
        (Action.VERSION_CORRUPT, Action.BASE_CORRUPT),
        "Stored bytes are not what they say, or are lost.",
        ("proof", "damaged"),
    ),
    EventType(
        "proof.doubted", (Action.VERSION_DOUBT, Action.BASE_DOUBT), "A proof does not count any more.", ("proof",)
    ),
    EventType(
        "proof.healed",
        (Action.VERSION_HEAL, Action.BASE_HEAL),
        "What was corrupt is whole again, and is proven anew.",
        ("proof",),
    ),
    EventType(
        "proof.refused",
        (Action.VERSION_REFUSE,),
        "A proposed stored form is not what it says; the served one stays.",
        ("form",),
    ),
    EventType(
        "verdict.given", (Action.RUN_COMPLETE,), "A verification gave a verdict.", ("verdict", "verdict_id", "keyid")
    ),
    EventType("verdict.missing", (Action.RUN_DEAD,), "A run was given up after its last attempt.", ("state",)),
    EventType("verdict.missing", (Action.RUN_FAIL,), "", ("state",), only=("state", "dead")),
    EventType(
        "verdict.waived",
        (Action.VERDICT_WAIVE,),
        "Somebody answers for a failed check.",
        ("check", "channel", "reason", "expires_at"),
    ),
    EventType("verdict.unwaived", (Action.VERDICT_UNWAIVE,), "A waiver was ended.", ("check",)),
    EventType(
        "verdict.contradicted",
        (Action.VERDICT_CONTRADICT,),
        "A pass after a failure with the same bindings; another run looks.",
        ("verdict",),
    ),
    EventType("verdict.disputed", (Action.VERDICT_DISPUTE,), "Two workers disagree.", ("verdict", "other", "told")),
    EventType(
        "request.opened", (Action.REQUEST_OPEN,), "A promotion waits for approvals.", ("state", "version", "reason")
    ),
    EventType(
        "request.approved",
        (Action.REQUEST_APPROVE,),
        "Somebody approved a request.",
        ("version", "message", "approvals"),
    ),
    EventType(
        "request.promoted", (Action.REQUEST_PROMOTE,), "A request was carried out.", ("state", "version", "approved_by")
    ),
    EventType("request.rejected", (Action.REQUEST_REJECT,), "A request was rejected.", ("state", "version", "reason")),
    EventType(
        "request.withdrawn", (Action.REQUEST_WITHDRAW,), "A request was withdrawn.", ("state", "version", "reason")
    ),
    EventType(
        "request.stale",
        (Action.REQUEST_STALE,),
        "The channel moved on, or its policy changed.",
        ("state", "version", "reason"),
    ),
    EventType(
        "quota.near", (Action.QUOTA_NEAR,), "A namespace uses 80 % of a quota.", ("of", "resource", "used", "most")
    ),
    EventType("line.renamed", (Action.LINE_RENAME,), "A line has another name.", ("name",)),
    EventType(
        "line.deprecated", (Action.LINE_DEPRECATE,), "A line is deprecated, or no longer.", ("reason", "successor")
    ),
    EventType("line.deleted", (Action.LINE_DELETE,), "A line was deleted, with all its versions."),
    EventType("line.restored", (Action.LINE_RESTORE,), "A deleted line is back."),
    EventType("namespace.renamed", (Action.NAMESPACE_RENAME,), "A namespace has another name.", ("name",)),
    EventType("channel.renamed", (Action.CHANNEL_RENAME,), "A channel has another name.", ("name",)),
    EventType("channel.created", (Action.CHANNEL_CREATE,), "A channel is there."),
    EventType("channel.deleted", (Action.CHANNEL_DELETE,), "A channel is gone; its ledger stays."),
    EventType("channel.promoted", (Action.CHANNEL_PROMOTE,), "A channel serves a version.", _MOVE),
    EventType("channel.rolled_back", (Action.CHANNEL_ROLLBACK,), "A channel serves an earlier version again.", _MOVE),
    EventType(
        "channel.frozen",
        (Action.CHANNEL_FREEZE,),
        "Nothing moves a channel.",
        ("version", "revision", "reason", "until"),
    ),
    EventType(
        "channel.unfrozen", (Action.CHANNEL_UNFREEZE,), "A channel may move again.", ("version", "revision", "reason")
    ),
    EventType(
        "channel.policy_changed", (Action.CHANNEL_POLICY,), "A channel asks something else.", ("digest", "reason")
    ),
    EventType(
        "channel.cleared", (Action.CHANNEL_CLEAR,), "A version that was rolled back may return.", ("cleared", "reason")
    ),
    EventType("channel.reviewed", (Action.CHANNEL_REVIEW,), "A broken glass was reviewed.", ("revision", "message")),
    EventType(
        "channel.unfit",
        (Action.CHANNEL_UNFIT,),
        "What a channel serves would not be let onto it now.",
        ("version", "digest", "because"),
    ),
    EventType(
        "drift.found",
        (Action.AGENT_DRIFT,),
        "An agent cannot serve what its channel says, or is silent.",
        ("agent", "channel", "drift", "error", "version", "desired_version"),
    ),
    EventType(
        "drift.over",
        (Action.AGENT_ALIGN,),
        "It serves what its channel says again.",
        ("agent", "channel", "drift", "version", "desired_version"),
    ),
)
NAMES = tuple(dict.fromkeys(each.name for each in TYPES))
_BY_ACTION: Mapping[str, tuple[EventType, ...]] = MappingProxyType(
    {
        action: tuple(each for each in TYPES if action in each.actions)
        for action in dict.fromkeys(action for each in TYPES for action in each.actions)
    }
)


def type_of(action: str, after: object) -> EventType | None:
    """Give the type of what was done; None where nobody is told."""
    found = _BY_ACTION.get(action, ())
    return next((each for each in found if each.is_of(after)), None)


def fields_of(action: str, before: object, after: object) -> dict[str, object]:
    """Give what is told of what was done."""
    kind = type_of(action, after)
    if kind is None:
        return {}
    states = [state for state in (before, after) if is_object(state)]
    known = {name: value for state in states for name, value in state.items()}
    return {name: known[name] for name in kind.fields if known.get(name) is not None}
