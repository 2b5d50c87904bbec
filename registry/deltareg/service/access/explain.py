"""Whether somebody may do something, which role or token allows it, and what would."""

import sqlalchemy as sa

from deltareg.db.access import grants as grant_queries
from deltareg.db.access import groups as group_queries
from deltareg.db.access import principals as queries
from deltareg.db.access.rows import TokenRow
from deltareg.db.lines import deltas as delta_queries
from deltareg.db.session import read
from deltareg.errors import InvalidInput, NotFound
from deltareg.refs import LineRef, Ref, parse_name
from deltareg.service.access.group_sight import sees_group
from deltareg.service.authority.caller_grants import HeldRole, grants_of_token, read_holdings
from deltareg.service.authority.decide import AccessDecision, decide
from deltareg.service.authority.grants import RESERVED, SCOPES, Grant, Right, UnclaimedNamespaces
from deltareg.service.authority.resources import EVERYTHING, Base, Channel, Namespace, Resource, namespace_of
from deltareg.service.authority.roles import ROLE_OF, role_within
from deltareg.service.registry import Caller, Registry, needs_token
from deltareg.service.visibility import Visibility
from deltareg.wire import AccessAnswer, AccessReason
from deltareg.words import Founders

EVERYWHERE = "everywhere"


def explain_access(registry: Registry, caller: Caller, *, principal: str, action: str, ref: str) -> AccessAnswer:
    """Explain whether a principal may do something now, and why.

    Anybody may ask about themselves; about others, only those who manage members there.

    Args:
        registry: The database and the store.
        caller: Who asks.
        principal: Who would act.
        action: The right that it needs.
        ref: What it is done to: `ns`, `ns/name`, `ns/name@channel`, `base:NAME`, or `everywhere`.

    Raises:
        Forbidden: The caller asks about somebody else and manages no members there.
        InvalidInput: There is no such right, or the reference is malformed.
        NotFound: There is no such principal.
    """
    if caller.is_anonymous:
        raise needs_token()
    if action not in frozenset(Right):
        choices = ", ".join(sorted(SCOPES))
        raise InvalidInput(f"there is no right {action[:40]!r}", fix=f"one of {choices}")
    right, on = Right(action), _as_now(caller, parse_resource(ref))
    if parse_name(principal, "principal") != caller.principal:
        place = namespace_of(on)
        caller.require(
            Right.ADMIN if place is None else Right.MAINTAIN, on=EVERYTHING if place is None else Namespace(place)
        )
    with read(registry.engine) as conn:
        owner = queries.principal_id(conn, principal)
        row = group_queries.group_row(conn, principal)
        if owner is None or (row is not None and not sees_group(conn, caller, row.id)):
            raise NotFound(f"there is no principal {principal}", fix="deltareg token ls")
        visibility = registry.visibilities.at(conn, None)
        case = _Case(conn, owner, principal, right, on, visibility, founders=registry.namespaces_by)
        return case.answer(ref)


def parse_resource(text: str) -> Resource:
    """Parse the resource that something would be done to.

    Raises:
        InvalidInput: The text names no resource that a right applies to.
    """
    if text == EVERYWHERE:
        return EVERYTHING
    if text.startswith("base:"):
        return Base(text.removeprefix("base:"))
    if "/" not in text:
        return Namespace(parse_name(text, "namespace"))
    ref = Ref.parse(text)
    line = LineRef(ref.line.namespace, ref.line.name)
    return line if ref.channel is None else Channel(line, ref.channel)


def _as_now(caller: Caller, on: Resource) -> Resource:
    """Return a resource by the name that it has now."""
    match on:
        case Namespace():
            return Namespace(caller.current_namespace(on.name))
        case LineRef():
            return caller.current_line(on)
        case Channel():
            line = caller.current_line(on.line)
            return Channel(line, caller.current_channel(line, on.name))
        case _:
            return on


class _Case:
    """The facts that one answer is built from."""

    def __init__(
        self,
        conn: sa.Connection,
        owner: int,
        name: str,
        right: Right,
        on: Resource,
        seen: Visibility,
        *,
        founders: Founders,
    ) -> None:
        place = namespace_of(on)
        self._name, self._right, self._on, self._private = name, right, on, seen.private
        self._held = grant_queries.holdings_of(conn, owner)
        self._holdings = [(name, each) for each in read_holdings(grant_queries.held_itself(conn, owner))]
        for group in group_queries.groups_of(conn, owner):
            of_group = read_holdings(grant_queries.held_itself(conn, group.id))
            self._holdings += [(f"{name}, in the group {group.name},", each) for each in of_group]
        self._tokens = queries.live_tokens_of(conn, owner)
        is_missing = place is not None and delta_queries.namespace_id(conn, place) is None
        self._is_free = is_missing and founders == "pushers"

    def answer(self, ref: str) -> AccessAnswer:
        """Return what allows the action, what does not, and what is missing."""
        roles, tokens = self._by_roles(), [self._by_token(row) for row in self._tokens]
        is_allowed = any(token.is_met for token in tokens)
        if not tokens:
            tokens = [AccessReason(is_met=False, what=f"{self._name} has no live token")]
        fix = "" if is_allowed else self._fix(is_held=any(role.is_met for role in roles))
        return AccessAnswer(
            principal=self._name,
            action=self._right.value,
            ref=ref,
            allowed=is_allowed,
            because=[*roles, *tokens],
            fix=fix,
        )

    def _by_roles(self) -> list[AccessReason]:
        grounds = [self._by_role(holder, holding) for holder, holding in self._holdings]
        place = namespace_of(self._on)
        if self._right is Right.READ and place is not None:
            is_private = place in self._private
            what = f"{place} is {'private' if is_private else 'not private: all read it'}"
            grounds.append(AccessReason(is_met=not is_private, what=what))
        is_free = self._is_free and place not in RESERVED
        if self._right is Right.PUSH and is_free and isinstance(self._on, LineRef):
            what = f"nobody has made {place} yet: who pushes first owns it"
            grounds.append(AccessReason(is_met=True, what=what))
        return grounds or [AccessReason(is_met=False, what=f"{self._name} holds no role")]

    def _by_role(self, holder: str, holding: HeldRole) -> AccessReason:
        is_met = self._allows(frozenset(holding.grants))
        return AccessReason(is_met=is_met, what=f"{holder} is {holding}")

    def _by_token(self, row: TokenRow) -> AccessReason:
        limits = None if row.namespaces is None else tuple(row.namespaces)
        grants = grants_of_token(tuple[str, ...](row.scopes), self._held, limits, self._private)
        where = "" if limits is None else f", in {', '.join(limits)} alone"
        what = f"token {row.id} ({row.display}…) is for {', '.join(row.scopes)}{where}"
        return AccessReason(is_met=self._allows(grants), what=what)

    def _allows(self, grants: frozenset[Grant]) -> bool:
        place = namespace_of(self._on)
        if self._right is Right.PUSH and self._is_free and isinstance(self._on, LineRef):
            reaches = [grant.reach for grant in grants]
            if any(isinstance(r, UnclaimedNamespaces) and r.allows(place or "") for r in reaches):
                return True
        return decide(grants, self._right, self._on) is AccessDecision.ALLOWED

    def _fix(self, *, is_held: bool) -> str:
        place = namespace_of(self._on)
        if is_held:
            scope = "admin" if self._right is Right.MAINTAIN else self._right.value
            return f"deltareg token create --for {self._name} --scope {scope}"
        if place is None:
            return f"deltareg member add --everywhere {self._name} --role {ROLE_OF[self._right]}"
        return f"deltareg member add {place} {self._name} --role {role_within(self._right)}"
