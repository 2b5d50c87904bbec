"""What every use case works on: the database, the store, and the caller."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from deltareg.db.access.sight import VisibleLines
from deltareg.db.overview.rows import FacetRow
from deltareg.errors import Forbidden, Unauthenticated
from deltareg.refs import LineRef, Ref, plain_base
from deltareg.service.aliases import NO_ALIASES, Aliases, with_line
from deltareg.service.authority.decide import AccessDecision, decide_cached, knows
from deltareg.service.authority.grants import Grant, Right, UnclaimedNamespaces
from deltareg.service.authority.refusals import make_refusal, pretend_absent
from deltareg.service.authority.resources import SOMEWHERE, Namespace, Resource
from deltareg.service.authority.sight import sight_of
from deltareg.service.events import Action, record_event
from deltareg.service.issuers import Issuers
from deltareg.service.pull_notes import PullNotes
from deltareg.service.timed_cache import AnswerCache
from deltareg.service.visibility import Visibilities
from deltareg.signing.keys import SigningKey
from deltareg.signing.secret_box import SecretBox
from deltareg.store import BlobStore, FallbackReads
from deltareg.words import Founders

if TYPE_CHECKING:  # loaded with the first provider
    from deltareg.oidc.provider import Provider

PACK_BYTES_MAX = 64 << 20
BASES = "bases"
ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class Registry:
    """The database, the store, and the keys of the server.

    Attributes:
        engine: The database.
        store: The store of blobs.
        signer: The servers' key as this process started with it; None if it signs nothing.
        sigstore: The trust configuration of the accepted Sigstore; None for none.
        recheck_share: The share of passes that another worker verifies again.
        second: Another store with copies of the same bytes, to read and heal from; None for none.
        reads: Reads from both; None where there is one store.
        box: Encrypts the addresses and secrets of webhooks; None if there are no webhooks.
        networks: Private networks that webhooks may call.
        namespaces_by: Who makes namespaces: whoever may push, or admins alone.
        issuers: Whose assertions may be exchanged for a token, and their keys, cached.
        providers: The providers that people sign in with.
        visibilities: Which namespaces are private, cached until one of them changes.
        facets: The cached counts of lines by facet for pages.
        pulls: The pulls that are not written yet.
        rotated: The key that took the place of `signer` while this process runs.
    """

    engine: sa.Engine
    store: BlobStore
    signer: SigningKey | None = None
    sigstore: Path | None = None
    recheck_share: float = 0.0
    second: BlobStore | None = None
    reads: FallbackReads | None = None
    box: SecretBox | None = None
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    namespaces_by: Founders = "pushers"
    issuers: Issuers = field(default_factory=Issuers, compare=False)
    providers: "tuple[Provider, ...]" = ()
    visibilities: Visibilities = field(default_factory=Visibilities, compare=False)
    facets: AnswerCache[Sequence[FacetRow]] = field(default_factory=AnswerCache[Sequence[FacetRow]], compare=False)
    pulls: PullNotes = field(default_factory=PullNotes, compare=False)
    rotated: list[SigningKey | None] = field(default_factory=list[SigningKey | None], compare=False)

    @property
    def readable(self) -> BlobStore | FallbackReads:
        """Where what people pull is read: the store, or its copy while it does not answer."""
        return self.reads or self.store

    @property
    def own_key(self) -> SigningKey | None:
        """The key that servers sign with now, as this process saw it last; None if it signs nothing."""
        return self.rotated[-1] if self.rotated else self.signer


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, with which token, and what that token allows.

    Attributes:
        principal: The name, for people and the audit trail.
        principal_id: The id of its row.
        token_id: The token that came with the request; None for the registry itself.
        grants: What the token allows, and where: what both its scopes and its principal allow.
        request_id: Ties log lines, audit rows and answers of one request together.
        is_worker: Whether it is a worker, which takes runs but asks for none.
        is_script: Whether it is a service account, whose secret several people may hold.
        is_founder: Whether it may make namespaces at all, where nobody has the name.
        aliases: Where former names lead; what the caller may not see does not exist for it.
    """

    principal: str
    principal_id: int
    token_id: int | None
    grants: frozenset[Grant]
    request_id: str = ""
    is_worker: bool = False
    is_script: bool = False
    is_founder: bool = True
    aliases: Aliases = field(default=NO_ALIASES, compare=False)

    @property
    def is_anonymous(self) -> bool:
        """Whether the request has no token: no principal has this id."""
        return self.principal_id == 0

    @property
    def sight(self) -> VisibleLines | None:
        """The lines that lists show the caller; None for all."""
        return sight_of(self.grants)

    def require(self, right: Right, *, on: Resource) -> None:
        """Check that the caller has a right on a resource.

        Raises:
            Forbidden: The token does not give the right.
            NotFound: The right is to read, and the caller may not see the resource.
            Unauthenticated: The request has no token, and the resource is not public.
        """
        if self.is_anonymous and not self.may(right, on=on):
            raise needs_token()
        match decide_cached(self.grants, right, on):
            case AccessDecision.ALLOWED:
                return
            case AccessDecision.HIDDEN:
                raise pretend_absent(on)
            case AccessDecision.REFUSED:
                is_held = self.may(right, on=SOMEWHERE)
                raise make_refusal(self.principal, right, on, is_held=is_held)

    def require_person(self, what: str) -> None:
        """Check that a person acts, where a rule counts people: nobody knows who uses the token of a script.

        Raises:
            Forbidden: A service account acts.
        """
        if self.is_script:
            raise Forbidden(
                f"{self.principal} is a service, and {what} is a person's word",
                fix="do it with a sign-in or a token of your own",
            )

    def may(self, right: Right, *, on: Resource) -> bool:
        """Whether the caller has a right on a resource."""
        return decide_cached(self.grants, right, on) is AccessDecision.ALLOWED

    def sees(self, on: Resource) -> bool:
        """Whether a resource exists for the caller at all: it has some right on it."""
        return knows(self.grants, on)

    def may_found(self, namespace: str) -> bool:
        """Whether the caller may create a namespace of a name that nobody has."""
        reaches = [grant.reach for grant in self.grants]
        is_free = any(isinstance(each, UnclaimedNamespaces) and each.allows(namespace) for each in reaches)
        return self.is_founder and is_free

    def current_namespace(self, name: str) -> str:
        """Return the name that a namespace has now, if the caller may see it, else the given one."""
        now = self.aliases.namespace(name)
        return now if now != name and self.sees(Namespace(now)) else name

    def current_line(self, line: LineRef) -> LineRef:
        """Return the name that a line has now, or the given one for what the caller may not see.

        A line that has left a namespace is found under its former name by those who see both.
        """
        now, inside = self.aliases.line(line), self.aliases.within(line)
        if now == line or not self.sees(now):
            return line
        return now if now.namespace == inside.namespace or self.sees(inside) else line

    def current_channel(self, line: LineRef, name: str) -> str:
        """Return the name that a channel of a line, named as it is now, has now."""
        return self.aliases.channel(line, name)

    def current_ref(self, ref: Ref) -> Ref:
        """Return a reference with the names that its line and its channel have now."""
        line = self.current_line(ref.line)
        return with_line(ref, line, None if ref.channel is None else self.current_channel(line, ref.channel))

    def current_base(self, name: str) -> str:
        """Return the name of a base in its namespace, or of the version that it is, as they are now."""
        plain = plain_base(name)
        if "/" not in plain:
            return plain
        if ":" in plain:
            return str(self.current_ref(Ref.parse(plain)))
        namespace, _, own = plain.partition("/")
        return f"{self.current_namespace(namespace)}/{own}"

    def record(
        self, conn: sa.Connection, action: Action, subject: str, *, on: Resource, before: object, after: object
    ) -> None:
        """Record what the caller did, in the transaction of the change."""
        record_event(
            conn,
            action,
            subject,
            on=on,
            before=before,
            after=after,
            actor=self.principal,
            token_id=self.token_id,
            request_id=self.request_id,
        )


def needs_token() -> Unauthenticated:
    """Build the error for a request without a token."""
    return Unauthenticated("this needs a token", fix="run `deltareg auth login`, or set DELTAREG_TOKEN")


def namespace_scope(namespace: str) -> str:
    """Return the scope within which equal bytes are stored once."""
    return f"ns:{namespace}"
