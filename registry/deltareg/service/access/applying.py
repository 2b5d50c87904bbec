"""Makes access what a document says: all of it in one transaction, or nothing.

What differs is found first. Then what is missing is made and given, in the order in which one rests
on another, and last what is pruned is taken away: so a document that hands something over from one
to another never leaves it to nobody. Each change goes through the use case that its command calls,
with the caller's rights, and stands in the audit trail by itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

import sqlalchemy as sa

from deltareg.db.access import grants as grant_queries
from deltareg.db.access import groups as group_queries
from deltareg.db.access import namespaces as namespace_queries
from deltareg.db.access import principals as principal_queries
from deltareg.db.access.rows import GrantRow
from deltareg.db.session import try_transaction, with_retry
from deltareg.errors import Forbidden
from deltareg.service.access import applied_things as things
from deltareg.service.access.organisation import read_namespace, services_of, write_role
from deltareg.service.access.places import find_namespace_id
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, SOMEWHERE, Namespace
from deltareg.service.registry import Caller, Registry
from deltareg.wire import (
    AccessApply,
    AccessChange,
    AccessDocument,
    AccessKept,
    AccessPlan,
    AccessSubject,
    DeclaredGroup,
    DeclaredNamespace,
)
from deltareg.words import AccessVerb

_Act = Callable[[], object]


def apply_access(registry: Registry, caller: Caller, request: AccessApply) -> AccessPlan:
    """Make access what a document says, or find out what that would change.

    What the caller holds itself, or by a group, is never pruned.

    Raises:
        Forbidden: The caller may not do something of it, and it is no dry run; or it names what reaches
            everything and the caller is no admin.
        InvalidInput: The document contradicts itself, or names what cannot be.
        Conflict: A name is taken, or nobody would own a namespace, or be admin.
    """
    caller.require(Right.READ, on=SOMEWHERE)
    end = try_transaction if request.dry_run else with_retry
    return end(registry.engine, lambda conn: _Applying(conn, caller, request).run(is_dry=request.dry_run))


@dataclass(slots=True)
class _Step:
    """One change, in three turns: what others rest on, what makes it, and what takes the rest away."""

    change: AccessChange
    first: Sequence[_Act] = ()
    make: Sequence[_Act] = ()
    take: Sequence[_Act] = ()


@dataclass(slots=True)
class _Found:
    """What a comparison found so far."""

    steps: list[_Step] = field(default_factory=list[_Step])
    kept: list[AccessKept] = field(default_factory=list[AccessKept])
    unchanged: int = 0


class _Applying:
    """One document on its way into a registry."""

    def __init__(self, conn: sa.Connection, caller: Caller, request: AccessApply) -> None:
        self._conn, self._caller, self._prune = conn, caller, request.prune
        self._document: AccessDocument = request.document
        namespace_queries.lock_epoch(conn)  # documents that are applied at once take turns
        self._groups = {row.name: row for row in group_queries.group_rows(conn)}
        self._own = {caller.principal, *(row.name for row in group_queries.groups_of(conn, caller.principal_id))}
        self._found = _Found()

    def run(self, *, is_dry: bool) -> AccessPlan:
        """Compare, and make the changes."""
        things.check_document(self._document)
        of_all = self._document.everywhere, self._document.services, self._document.quota
        if any(each is not None for each in of_all):
            self._caller.require(Right.ADMIN, on=EVERYTHING)
        self._compare()
        steps, refusal = self._found.steps, ""
        try:
            for turn in ([s.first for s in steps], [s.make for s in steps], [s.take for s in steps]):
                for act in chain.from_iterable(turn):
                    act()
        except Forbidden as error:
            if not is_dry:
                raise
            refusal = error.message
        changes = [step.change for step in steps]
        return AccessPlan(
            changes=changes,
            kept=self._found.kept,
            unchanged=self._found.unchanged,
            is_checked=not refusal,
            refusal=refusal,
        )

    def _compare(self) -> None:
        document = self._document
        self._people()
        self._services()
        for name, group in sorted((document.groups or {}).items()):
            self._group(name, group)
        self._roles(document.roles, None)
        for name, namespace in sorted(document.namespaces.items()):
            self._namespace(name, namespace)
            self._roles(namespace.roles, name)
        for name, namespace in sorted(document.namespaces.items()):
            self._members(namespace.members, name)
        self._members(document.everywhere, None)
        if document.groups is not None:
            self._undeclared_groups(document.groups)
        for roles, place in [(document.roles, None), *((one.roles, name) for name, one in document.namespaces.items())]:
            if roles is not None:
                self._undeclared_roles(roles, place)
        self._quotas(document)

    def _quotas(self, document: AccessDocument) -> None:
        for holder, limits in things.limits_declared(document).items():
            self._quota(holder, limits)
        for holder in things.limits_left_out(self._conn, document):
            self._quota(holder, {})

    def _people(self) -> None:
        for name in sorted(things.people_named(self._document) - self._groups.keys()):
            if principal_queries.principal_id(self._conn, name) is None:
                make = partial(things.add_person, self._conn, self._caller, name)
                self._step("person", name, {}, {"name": name}, first=[make])

    def _services(self) -> None:
        declared = self._document.services
        if declared is None:
            return
        before = services_of(self._conn)
        for name, service in sorted(declared.items()):
            make = partial(things.set_service, self._conn, self._caller, name, service.owner)
            was = {"owner": before[name].owner} if name in before else {}
            self._step("service", name, was, {"owner": service.owner}, make=[make])
        for name in sorted(before.keys() - declared.keys()):
            self._keep("service", name, f"deltareg principal disable {name}", is_own=name in self._own)

    def _group(self, name: str, declared: DeclaredGroup) -> None:
        row = self._groups.get(name)
        is_kept_by_people = row is not None and not row.source
        members = [] if row is None else [each.name for each in group_queries.members_of(self._conn, [row.id])]
        before = {} if row is None else things.write_group(row.source, members if is_kept_by_people else [])
        excess: set[str] = set() if declared.source else {*members} - {*declared.members}
        ended = {who for who in excess if self._prune and who != self._caller.principal}
        kept = [] if declared.source else sorted(excess - ended)
        for who in kept:
            self._keep("group", f"{who} in {name}", f"deltareg group rm {name} {who}", is_own=who in self._own)
        after = things.write_group(declared.source, sorted({*declared.members, *kept}))
        act = partial(things.change_group, self._conn, self._caller, name)
        joining = [] if declared.source else sorted({*declared.members} - {*members})
        make = [partial(act, joins=who) for who in joining]
        take = [partial(act, leaves=who) for who in sorted(ended)]
        self._step("group", name, before, after, first=[partial(act, source=declared.source)], make=make, take=take)

    def _roles(self, declared: Mapping[str, list[str]] | None, namespace: str | None) -> None:
        before = self._own_roles(namespace)
        for name, rights in sorted((declared or {}).items()):
            wanted = sorted({*rights, Right.READ.value})
            was = {"rights": before[name]} if name in before else {}
            make = partial(things.define_role, self._conn, self._caller, name, namespace, wanted)
            self._step("role", things.at(name, namespace), was, {"rights": wanted}, make=[make])

    def _namespace(self, name: str, declared: DeclaredNamespace) -> None:
        is_there = self._is_there(name)
        before = read_namespace(self._conn, name).visibility if is_there else None
        wanted = declared.visibility or before or "internal"
        owners = [who for who, roles in (declared.members or {}).items() if "owner" in roles]
        change = partial(things.set_visibility, self._conn, self._caller, name, wanted)
        make = change if is_there else partial(things.make_namespace, self._conn, self._caller, name, wanted, owners)
        was = {"visibility": before} if is_there else {}
        self._step("namespace", name, was, {"visibility": wanted}, make=[make])

    def _members(self, declared: Mapping[str, list[str]] | None, namespace: str | None) -> None:
        if declared is None:
            return
        rows = () if namespace is not None and not self._is_there(namespace) else self._grants(namespace)
        held: dict[str, list[GrantRow]] = {}
        for row in rows:
            held.setdefault(row.principal, []).append(row)
        for who in [*sorted(declared), *sorted(held.keys() - declared.keys())]:
            self._member(who, namespace, declared.get(who, []), held.get(who, []))

    def _member(self, who: str, namespace: str | None, declared: Sequence[str], rows: Sequence[GrantRow]) -> None:
        before = {write_role(row.role, row.pattern): row for row in rows}
        excess = {text: row for text, row in before.items() if text not in declared}
        ended = excess if self._prune and who not in self._own else {}
        for text, row in sorted(excess.items() - ended.items()):
            command = things.end_command(row)
            self._keep("member", f"{things.at(who, namespace)}: {text}", command, is_own=who in self._own)
        after = sorted({*declared, *before} - {*ended})
        give = partial(things.give_role, self._conn, self._caller, who, namespace)
        make = [partial(give, text) for text in declared if text not in before]
        take = [partial(things.end_role, self._conn, self._caller, row.id) for row in ended.values()]
        if declared or ended:
            was = {"roles": sorted(before)} if before else {}
            self._step(
                "member", things.at(who, namespace), was, {"roles": after} if after else {}, make=make, take=take
            )

    def _quota(self, holder: str, declared: things.Limits) -> None:
        is_admin = self._caller.may(Right.ADMIN, on=EVERYTHING)
        is_hidden = not is_admin and not self._is_there(holder)
        before: things.Limits = {} if is_hidden else things.limits_now(self._conn, holder)
        excess: things.Limits = (
            {} if self._prune else {name: most for name, most in before.items() if name not in declared}
        )
        for name in sorted(excess):
            self._keep("quota", f"{holder}: {name}", things.end_limit_command(holder, name), is_own=False)
        after: things.Limits = {**excess, **declared}
        if declared or before != after:
            make = partial(things.set_limits, self._conn, self._caller, holder, after)
            self._step("quota", holder, things.write_limits(before), things.write_limits(after), make=[make])

    def _undeclared_groups(self, declared: Mapping[str, DeclaredGroup]) -> None:
        seen = things.seen_groups(self._conn, self._caller)
        for name in sorted(seen.keys() - declared.keys()):
            is_own = name in self._own
            if not self._prune or is_own:
                self._keep("group", name, f"deltareg group rm {name}", is_own=is_own)
                continue
            was = things.write_group(seen[name].source, seen[name].members)
            self._step("group", name, was, {}, take=[partial(things.remove_group, self._conn, self._caller, name)])

    def _undeclared_roles(self, declared: Mapping[str, list[str]], namespace: str | None) -> None:
        for name, rights in sorted(self._own_roles(namespace).items()):
            if name in declared:
                continue
            holders = {row.principal for row in grant_queries.grant_rows(self._conn, role=name) if row.role_id}
            is_own = bool(holders & self._own)
            if not self._prune or is_own:
                where = f" --namespace {namespace}" if namespace else ""
                self._keep("role", things.at(name, namespace), f"deltareg role rm {name}{where}", is_own=is_own)
                continue
            take = partial(things.undefine_role, self._conn, self._caller, name, namespace)
            self._step("role", things.at(name, namespace), {"rights": rights}, {}, take=[take])

    def _step(
        self,
        kind: AccessSubject,
        of: str,
        before: Mapping[str, object],
        after: Mapping[str, object],
        *,
        first: Sequence[_Act] = (),
        make: Sequence[_Act] = (),
        take: Sequence[_Act] = (),
    ) -> None:
        if before == after:
            self._found.unchanged += 1
            return
        action: AccessVerb = "create" if not before else "replace" if after else "remove"
        change = AccessChange(kind=kind, of=of, action=action, before=dict(before), after=dict(after))
        self._found.steps.append(_Step(change, first, make, take))

    def _keep(self, kind: AccessSubject, of: str, command: str, *, is_own: bool) -> None:
        self._found.kept.append(AccessKept(kind=kind, of=of, command=command, is_own=is_own))

    def _is_there(self, namespace: str) -> bool:
        return self._caller.sees(Namespace(namespace)) and things.namespace_exists(self._conn, namespace)

    def _grants(self, namespace: str | None) -> Sequence[GrantRow]:
        namespace_id = find_namespace_id(self._conn, namespace)
        return grant_queries.grant_rows(self._conn, namespace_id=namespace_id, everywhere=namespace is None)

    def _own_roles(self, namespace: str | None) -> dict[str, list[str]]:
        if namespace is None:
            return things.roles_for_all(self._conn)
        return (read_namespace(self._conn, namespace).roles or {}) if self._is_there(namespace) else {}
