"""The lists of words that tables, messages, commands and pages share: each is defined here once.

Each has a type for code that reads a word, and a tuple for code that offers a choice or checks a
column. A word that leaves a list stays in the constraint of its column until a migration removes
it. docs/words.md is generated from here.
"""

from typing import Literal, get_args

QuotaResource = Literal["bytes", "versions", "lines", "drafts", "uploads", "minutes"]
"""What a quota limits."""
QUOTA_RESOURCES: tuple[QuotaResource, ...] = get_args(QuotaResource)

OperationName = Literal[
    "archive", "backfill", "check", "collect", "copy", "prove", "recount", "repair", "retain", "tidy"
]
"""The operations that keep a registry in order; the server has a file for each."""
OPERATION_NAMES: tuple[OperationName, ...] = get_args(OperationName)
OperationState = Literal["waiting", "running", "paused", "off"]
"""What an operation does now."""

Severity = Literal["error", "warning"]
"""How grave a problem is."""

Outcome = Literal["pass", "fail", "inconclusive"]
"""What a verdict says."""
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
CheckOutcome = Literal["pass", "fail", "warn", "skipped", "n/a"]
"""What one check of a verdict says."""
CHECK_OUTCOMES: tuple[CheckOutcome, ...] = get_args(CheckOutcome)
Decision = Literal["met", "missed", "undecided"]
"""Whether a comparison shows that no more than a margin was lost."""
BaseEvidence = Literal["exact", "golden", "shapes", "declared"]
"""How surely a worker had the base that a version is for, the surest first."""
BASE_EVIDENCE: tuple[BaseEvidence, ...] = get_args(BaseEvidence)
Proof = Literal["proven", "failed", "inconclusive", "not run"]
"""What is known of a version on one form of its base."""
ProofState = Literal["proven", "claimed", "corrupt"]
"""What is known of stored bytes.

They are `claimed` by who sent them until somebody else has decoded and hashed them; then they are
`proven`, or `corrupt` when they are not what the manifest says.
"""

RunKindName = Literal["verify", "reencode", "prove", "compare", "answer"]
"""The kinds of run that there are; the server and the worker have a file for each."""
RUN_KIND_NAMES: tuple[RunKindName, ...] = get_args(RunKindName)
RunState = Literal["queued", "running", "done", "dead", "cancelled"]
"""What became of a run so far."""
RUN_STATES: tuple[RunState, ...] = get_args(RunState)
Priority = Literal["high", "normal", "low", "background"]
"""How urgent a run is."""
SideName = Literal["base", "a", "b"]
"""Who answers a prompt: a base, and one or two versions of it."""
PromptForm = Literal["auto", "chat", "plain"]
"""In which form a prompt is put to them."""
TemplateOf = Literal["", "version", "base"]
"""Whose chat template a prompt was put into."""

TokenKind = Literal["pat", "ci", "wrk"]
"""Who uses a token: a person, a script, a worker."""
TOKEN_KINDS: tuple[TokenKind, ...] = get_args(TokenKind)
PrincipalKind = Literal["user", "service", "worker", "group"]
"""What a principal is."""
PRINCIPAL_KINDS: tuple[PrincipalKind, ...] = get_args(PrincipalKind)
Scope = Literal["read", "push", "promote", "approve", "verify", "serve", "break-glass", "admin"]
"""The rights that a token may be for."""
SCOPES: tuple[Scope, ...] = get_args(Scope)
Role = Literal[
    "reader", "pusher", "promoter", "approver", "server", "maintainer", "owner", "break-glass", "verifier", "admin"
]
"""What a principal is in a namespace, or everywhere."""
ROLES: tuple[Role, ...] = get_args(Role)
TrustProvider = Literal["github", "gitlab", "oidc"]
"""Who issues what a trust accepts: GitHub, GitLab, or another issuer of OpenID Connect."""
TRUST_PROVIDERS: tuple[TrustProvider, ...] = get_args(TrustProvider)
AccessVerb = Literal["create", "replace", "remove"]
"""What a document of access does to a thing."""
Visibility = Literal["private", "internal", "public"]
"""Who sees a namespace."""
VISIBILITIES: tuple[Visibility, ...] = get_args(Visibility)
KeyRole = Literal["worker", "server"]
"""Who signs with a key."""
KEY_ROLES: tuple[KeyRole, ...] = get_args(KeyRole)
KeyState = Literal["live", "retired", "revoked"]
"""Whether a key signs and counts still, the better first."""
KEY_STATES: tuple[KeyState, ...] = get_args(KeyState)
ReferrerForm = Literal["signature", "attestation"]
"""What others sign about a version."""
REFERRER_FORMS: tuple[ReferrerForm, ...] = get_args(ReferrerForm)

Relation = Literal["same_parameters", "cast_of", "resaved_as", "finetuned_from"]
"""What one base is to another."""
RELATIONS: tuple[Relation, ...] = get_args(Relation)
Scheme = Literal["fp8", "int8", "awq", "gptq", "bnb4", "mxfp4"]
"""How the weights of a variant are packed."""
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
Fit = Literal["verify", "merge", "retrain"]
"""What becomes of a version on another base."""
Convention = Literal["absolute", "additive"]
"""Whether a file holds weights or what is added to them."""
CONVENTIONS: tuple[Convention, ...] = get_args(Convention)

RevisionKind = Literal["promote", "rollback", "freeze", "unfreeze"]
"""What a revision did to its channel."""
REVISION_KINDS: tuple[RevisionKind, ...] = get_args(RevisionKind)
EventKind = Literal[
    "push",
    "verdict",
    "promote",
    "rollback",
    "freeze",
    "unfreeze",
    "delete",
    "revoke",
    "unrevoke",
    "restore",
    "label",
    "edit",
    "deprecate",
    "rename",
    "create",
    "policy",
    "clear",
    "review",
    "sign",
    "attest",
    "evaluate",
    "corrupt",
    "heal",
]
"""What happened in the life of a line."""
RequestState = Literal["open", "promoted", "rejected", "withdrawn", "stale"]
"""What became of a request to promote."""
REQUEST_STATES: tuple[RequestState, ...] = get_args(RequestState)
Founders = Literal["pushers", "admins"]
"""Who makes namespaces on a server."""
NamespaceRequestState = Literal["open", "granted", "refused"]
"""What became of a request for a namespace."""
NAMESPACE_REQUEST_STATES: tuple[NamespaceRequestState, ...] = get_args(NamespaceRequestState)
Light = Literal["ok", "warn", "no"]
"""Whether a rollback would get where it would go."""
BareName = Literal["newest", "prod"]
"""Which version of a line is meant where none is named."""

EngineName = Literal["dir", "vllm", "sglang", "llamacpp", "exec"]
"""What an agent serves by."""
ENGINE_NAMES: tuple[EngineName, ...] = get_args(EngineName)
FollowState = Literal["ok", "pulling", "failed"]
"""How an agent gets on with what a channel says."""
FOLLOW_STATES: tuple[FollowState, ...] = get_args(FollowState)
BaseState = Literal["checked", "unchecked", "wrong"]
"""Whether the base that an engine serves was found to be the one that a version is for."""
Drift = Literal["none", "behind", "failed", "silent"]
"""How far what an agent serves is from what its channel says."""
UpdatePlan = Literal["none", "patch", "full"]
"""How an update gets what a folder lacks."""

WebhookState = Literal["on", "off"]
"""Whether a webhook is told anything."""
WEBHOOK_STATES: tuple[WebhookState, ...] = get_args(WebhookState)
DeliveryState = Literal["pending", "delivered", "dead"]
"""What became of an event that is due to a webhook."""
DELIVERY_STATES: tuple[DeliveryState, ...] = get_args(DeliveryState)

UploadSubject = Literal["delta", "base"]
"""What a push brings."""
UPLOAD_SUBJECTS: tuple[UploadSubject, ...] = get_args(UploadSubject)
UploadState = Literal["open", "complete", "aborted", "expired"]
"""What became of a push."""
UPLOAD_STATES: tuple[UploadState, ...] = get_args(UploadState)
UploadPackState = Literal["writing", "received", "adopted", "dropped"]
"""What became of a pack that a push sends."""
UPLOAD_PACK_STATES: tuple[UploadPackState, ...] = get_args(UploadPackState)
StagedState = Literal["receiving", "here", "gone"]
"""What became of a file that a client of the hub sends."""
STAGED_STATES: tuple[StagedState, ...] = get_args(StagedState)
PackState = Literal["live", "deleting"]
"""Whether a pack is kept."""
PACK_STATES: tuple[PackState, ...] = get_args(PackState)
FormOrigin = Literal["push", "reencode", "revert"]
"""How a stored form of a version came about."""
FORM_ORIGINS: tuple[FormOrigin, ...] = get_args(FormOrigin)
FormState = Literal["proposed", "taken", "refused", "dropped", "former", "released"]
"""What became of a stored form of a version."""
FORM_STATES: tuple[FormState, ...] = get_args(FormState)
StorageView = Literal["registry", "namespace", "line", "version"]
"""What a report of storage is about."""
