"""Histories of a channel made without one: legal by construction, and then with one lie in them."""

from dataclasses import dataclass, replace
from math import inf

from tests.faults.channel_model import FAILED, FRESH, Call, step
from tests.faults.linear import Operation

VERSIONS = (1, 2, FAILED)
_KINDS = ("read", "promote", "rollback", "freeze", "unfreeze", "clear", "waive", "unwaive")
_WEIGHTS = (4, 7, 4, 1, 1, 1, 2, 1)


@dataclass
class _Under:
    """A call under way: its result once it took effect."""

    client: str
    call: Call
    called: int
    result: object = None


def legal(chance, *, clients=4, operations=20, mortality=0.1):
    """Make a history: each call takes effect at once, somewhere between its call and its return.

    Now and then the caller dies, before or after that; another comes in its place, and what was
    under way may take effect much later.
    """
    history: list[Operation] = []
    state, clock, left = FRESH, 0, operations
    under: list[_Under | None] = [None] * clients
    orphans: list[_Under] = []
    while left or any(under):
        clock += 1
        orphan = chance.choice(orphans) if orphans and chance.random() < 0.1 else None
        if orphan is not None:
            orphans.remove(orphan)
            _, state = step(state, orphan.call)
            continue
        index = chance.randrange(clients)
        one = under[index]
        if one is None:
            if left:
                left -= 1
                client = f"c{index}.{sum(o.client.startswith(f'c{index}.') for o in history)}"
                under[index] = _Under(client, _call(chance, state), clock)
        elif chance.random() < mortality:
            history.append(Operation(one.client, one.call, None, one.called, inf))
            orphans += [] if one.result else [one]
            under[index] = None
        elif one.result is None:
            one.result, state = step(state, one.call)
        else:
            history.append(Operation(one.client, one.call, one.result, one.called, clock))
            under[index] = None
    return history


def with_one_lie(chance, history):
    """Change one result, of an operation that has one, to another that such a call might have."""
    known = [index for index, one in enumerate(history) if one.is_known]
    if not known:
        return None
    index = chance.choice(known)
    one = history[index]
    lies = [lie for lie in _lies(one) if lie != one.result]
    return [*history[:index], replace(one, result=chance.choice(lies)), *history[index + 1 :]]


def _lies(one):
    told, call = one.result, one.call
    if call.kind == "read":
        return [
            replace(told, revision=told.revision + 1),
            replace(told, revision=told.revision - 1),
            replace(told, version=(told.version or 0) % len(VERSIONS) + 1),
            replace(told, is_frozen=not told.is_frozen),
            replace(told, quarantined=(*told.quarantined, 9)),
        ]
    if call.kind in {"waive", "unwaive"}:
        refused = "conflict" if call.kind == "waive" else "not_found"
        return [replace(told, code=refused if told.code == "ok" else "ok")]
    if call.kind == "clear":
        return [replace(told, code="not_found" if told.code == "ok" else "ok")]
    if told.code != "ok":
        # Whoever was refused is told that it was done, or the other way about.
        return [replace(told, code="ok", revision=call.seen + 1, version=call.version)]
    refused = replace(told, code="stale_revision", revision=None, version=None)
    return [refused, replace(told, revision=told.revision + 1)]


def _call(chance, state):
    kind = chance.choices(_KINDS, _WEIGHTS)[0]
    if kind in {"read", "waive", "unwaive"}:
        return Call(kind)
    version = chance.choice(VERSIONS)
    if kind == "clear":
        return Call(kind, version=version)
    seen = max(0, state.revision + chance.choice((0, 0, 0, 0, -1, 1)))
    if kind == "rollback" and chance.random() < 0.5:
        return Call(kind, seen)
    return Call(kind, seen, version if kind in {"promote", "rollback"} else None)
