"""Compares what a folder declares with what a registry has; changes nothing there."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from deltareg.client.applying.access_changes import WebhookChange, compare_access, compare_webhooks
from deltareg.client.applying.declared import (
    Declarations,
    DeclaredPolicy,
    DeclaredSuite,
    PolicyOwner,
    listed_suites,
    suite_of,
)
from deltareg.client.client import Client
from deltareg.errors import Forbidden, InvalidInput, NotFound
from deltareg.gate.policy_file import read_policy_file
from deltareg.tensors.header import strict_json_object
from deltareg.wire import AccessChange, AccessDocument, AccessSubject

Subject = Literal["suite", "policy", "webhook"] | AccessSubject

_PAGE = 200
_TRIED = "tried by apply"  # stands where a reason is due; a trial is kept nowhere


@dataclass(frozen=True, slots=True)
class ApplyChange:
    """One change that makes the registry match the folder.

    Attributes:
        kind: A suite, a policy, a webhook, or something about access.
        of: Its name, or whose policy it is.
        action: `create` what is missing, `replace` what differs, `reset` a policy that is not in
            the folder to what applies without it, `remove` what else is not in the folder.
        before: The current document; empty where there is none.
        after: The document after the change.
        suite: The suite; for a change of a suite.
        place: The policy's owner; for a change of a policy.
        webhook: What to take away and what to make; for a change of a webhook.
    """

    kind: Subject
    of: str
    action: Literal["create", "replace", "reset", "remove"]
    before: Mapping[str, object]
    after: Mapping[str, object]
    suite: DeclaredSuite | None = None
    place: PolicyOwner = field(default_factory=PolicyOwner)
    webhook: WebhookChange | None = None

    @property
    def needs_reason(self) -> bool:
        """Whether the change needs a reason, which is then kept with it."""
        return self.kind == "policy" and self.place.is_floor


@dataclass(frozen=True, slots=True)
class UndeclaredItem:
    """Something on the server that is not in the folder and stays.

    Attributes:
        is_own: It gives the caller something, so that it stays even when others are pruned.
    """

    kind: Subject
    of: str
    command: str
    is_own: bool = False


@dataclass(frozen=True, slots=True)
class ApplyPlan:
    """What applying a folder would change.

    Attributes:
        changes: The changes, in the order in which they are made.
        kept: What the folder does not declare although it speaks for that place.
        unchanged: How many things already match.
        is_checked: Whether the server has tried each change, which it does for callers who may make
            it.
        access: What the folder says about access; None if nothing.
        prune: Whether what is not in the folder is taken away.
    """

    changes: Sequence[ApplyChange]
    kept: Sequence[UndeclaredItem]
    unchanged: int
    is_checked: bool
    access: AccessDocument | None = None
    prune: bool = False


def compare(
    client: Client, declared: Declarations, *, reason: str, prune: bool = False, is_dry: bool = False
) -> ApplyPlan:
    """Compare a folder with a registry and return what applying it would change.

    Args:
        client: The registry.
        declared: What the folder declares.
        reason: The reason, for the server's trial of policies that need one.
        prune: Whether to reset policies that are not in the folder.
        is_dry: Whether this is a dry run, for which the right to read is enough.

    Raises:
        NotFound: A line or a namespace that it names does not exist.
        InvalidInput: A policy names something that does not exist, or a reason is missing.
        Forbidden: The caller may not set a policy, and it is not a dry run.
    """
    suites = list(_suites(client, declared))
    access = compare_access(client, declared.access.document, prune=prune)
    made = {one.of for one in access.changes if one.kind == "namespace" and one.action == "create"}
    policies = [_policy(client, one, made) for one in declared.policies]
    hooks, kept_hooks, same_hooks = _webhooks(client, declared, made, prune=prune)
    if not is_dry:
        _read_addresses(hooks)
    of_access = [_change_of_access(one) for one in access.changes]
    changes = [one for one in (*suites, *of_access, *policies, *hooks) if one is not None]
    same = [*suites, *policies].count(None)
    unchanged = same + access.unchanged + same_hooks
    unlisted = list(_find_undeclared(client, declared, made))
    if prune:
        changes += unlisted
    retained = [] if prune else [_build_kept(one) for one in unlisted]
    if not is_dry and not reason and any(one.needs_reason for one in changes):
        first = next(one.of for one in changes if one.needs_reason)
        raise InvalidInput(f"what {first} asks changes only with a reason", fix="say it: -m REASON")
    pending = {one.of for one in changes if one.kind == "suite"}
    tried = [one for one in changes if one.place.namespace not in made]
    is_checked = _try_policies(client, tried, pending, reason=reason or (_TRIED if is_dry else ""), is_dry=is_dry)
    if not is_dry and not access.is_checked:
        raise Forbidden(access.refusal, fix="see what would change with --dry-run, and ask somebody who may")
    kept = [UndeclaredItem(one.kind, one.of, one.command, one.is_own) for one in access.kept]
    kept += [*kept_hooks, *retained, *_kept_suites(client, declared)]
    is_checked = is_checked and access.is_checked
    return ApplyPlan(changes, kept, unchanged, is_checked, declared.access.document, prune)


def _suites(client: Client, declared: Declarations) -> Iterator[ApplyChange | None]:
    for one in declared.suites:
        after = strict_json_object(one.suite.document)
        try:
            pushed_suite = client.suites.show(one.suite.name)
        except NotFound:
            yield ApplyChange("suite", one.suite.name, "create", {}, after, suite=one)
            continue
        if pushed_suite.digest == str(one.suite.digest):
            yield None
            continue
        before = strict_json_object(pushed_suite.document.encode())
        yield ApplyChange("suite", one.suite.name, "replace", before, after, suite=one)


def _policy(client: Client, declared: DeclaredPolicy, made: Collection[str]) -> ApplyChange | None:
    of = declared.of
    before: Mapping[str, object]
    if of.is_floor and of.namespace in made:
        before = {}
    elif of.is_floor:
        before = client.floors.show(of.namespace or None).policy
    else:
        policies = {one.channel: one.policy for one in client.channels.list(of.line)}
        if of.channel not in policies:
            return ApplyChange("policy", str(of), "create", {}, declared.fields, place=of)
        before = policies[of.channel]
    if before == declared.fields:
        return None
    return ApplyChange("policy", str(of), "replace", before, declared.fields, place=of)


def _find_undeclared(client: Client, declared: Declarations, made: Collection[str]) -> Iterator[ApplyChange]:
    """Yield a reset for each policy that the folder does not declare."""
    declared_owners, fresh = {policy.of for policy in declared.policies}, read_policy_file(b"{}")
    for namespace in [name for name in _namespaces(client, declared) if name not in made]:
        of = PolicyOwner(namespace)
        floor = client.floors.show(namespace).policy if of not in declared_owners else {}
        if floor:
            yield ApplyChange("policy", str(of), "reset", floor, {}, place=of)
        for line in client.lines.list(namespace, limit=_PAGE):
            for channel in client.channels.list(line.ref):
                of = PolicyOwner(namespace, line.ref, channel.channel)
                if of not in declared_owners and channel.policy != fresh:
                    yield ApplyChange("policy", str(of), "reset", channel.policy, fresh, place=of)


def _change_of_access(change: AccessChange) -> ApplyChange:
    return ApplyChange(change.kind, change.of, change.action, change.before, change.after)


def _webhooks(
    client: Client, declared: Declarations, made: Collection[str], *, prune: bool
) -> tuple[list[ApplyChange], list[UndeclaredItem], int]:
    """Compare webhooks by their names; return changes, what is kept, and how many are as they should be."""
    changes, kept, same = list[ApplyChange](), list[UndeclaredItem](), 0
    for namespace, hooks in (declared.access.webhooks or {}).items():
        compared = compare_webhooks(client, namespace, hooks, is_new=namespace in made)
        changes += [ApplyChange("webhook", one.of, one.action, one.before, one.after, webhook=one) for one in compared]
        same += len(hooks) - len([one for one in compared if one.declared is not None])
    if prune:
        return changes, kept, same
    removed = [one for one in changes if one.action == "remove"]
    for one in removed:
        if one.webhook is not None:
            kept.append(UndeclaredItem("webhook", one.of, f"deltareg webhook rm {one.webhook.former}"))
    return [one for one in changes if one not in removed], kept, same


def _read_addresses(hooks: Sequence[ApplyChange]) -> None:
    """Refuse a webhook whose address is in no variable before anything else is changed."""
    for one in hooks:
        if one.webhook is not None and one.webhook.declared is not None:
            one.webhook.declared.read_url()


def _namespaces(client: Client, declared: Declarations) -> Sequence[str]:
    if not declared.is_whole:
        return sorted(declared.namespaces)
    return [one.name for one in client.namespaces.list(limit=_PAGE)]


def _build_kept(change: ApplyChange) -> UndeclaredItem:
    place = change.place
    if place.is_floor:
        return UndeclaredItem("policy", change.of, f"deltareg policy get --namespace {place.namespace}")
    command = f"deltareg channel policy get {place.line} {place.channel}"
    return UndeclaredItem("policy", change.of, command)


def _kept_suites(client: Client, declared: Declarations) -> Iterator[UndeclaredItem]:
    """Yield the suites that are not in the folder; they always stay, as verdicts name them."""
    names = {one.suite.name for one in declared.suites}
    for suite in client.suites.list() if declared.is_whole else ():
        if not suite.is_built_in and suite.name not in names:
            yield UndeclaredItem("suite", suite.name, f"deltareg suite show {suite.name} --yaml")


def _try_policies(
    client: Client, changes: Sequence[ApplyChange], pending: set[str], *, reason: str, is_dry: bool
) -> bool:
    """Have the server try every policy before anything is changed; return whether it did."""
    try:
        for one in changes:
            if one.kind == "policy":
                _try(client, one, pending, reason=reason)
    except Forbidden:
        if not is_dry:
            raise
        return False
    return True


def _try(client: Client, change: ApplyChange, pending: set[str], *, reason: str) -> None:
    """Have the server try a policy, leaving out suites that are still to be created."""
    fields, place = dict(change.after), change.place
    if "suites" in fields:
        fields["suites"] = [item for item in listed_suites(fields) if suite_of(item) not in pending]
    try:
        if place.is_floor:
            namespace = place.namespace or None
            client.floors.set(fields, namespace=namespace, reason=reason, dry_run=True)
        elif change.action != "create":
            client.channels.set_policy(place.line, place.channel, fields, reason=reason, dry_run=True)
    except InvalidInput as error:
        raise InvalidInput(f"{change.of}: {error.message}", fix=error.fix) from error
