"""A channel as it is meant to be, one operation at a time: a register that is compared and set.

Written from what docs/design.md promises and not from the service, which it is held against. Every
version passes its gate here but two. One passes while somebody answers for what failed in it; of
the other too much was skipped, so that it passes once somebody answers for it and a continuation
has run. What else refuses a move is the revision seen, a freeze, a quarantine or a deletion. What
was served and fails now, because nobody answers for it any more, is no target of a rollback.
"""

from dataclasses import dataclass, replace

MOVES = ("promote", "rollback", "freeze", "unfreeze")
KINDS = ("read", *MOVES, "clear", "waive", "unwaive", "delete", "restore", "waive early", "claim", "settle")
FAILED, SPARE, EARLY = 5, 6, 7
"""The version whose verdict is a failure; one that is deleted and restored; one failed early."""


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked of a channel.

    Attributes:
        kind: One of `KINDS`.
        seen: The revision in `If-Match`; reads, clears and waivers have none.
        version: What is promoted, rolled back to (None: one step) or cleared.
    """

    kind: str
    seen: int | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What is answered: `ok`, or the code of the problem.

    A move that is made answers with its revision and the version served, a read with all.
    """

    code: str
    revision: int | None = None
    version: int | None = None
    is_frozen: bool | None = None
    quarantined: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """The state.

    Attributes:
        revision: How many moves were made.
        stack: Versions, the served one last; a rollback takes off what lies above its target.
        served: All versions that were ever served.
        is_frozen: Whether the newest revision is a freeze.
        quarantined: Versions that were rolled away from and not cleared.
        is_waived: Whether somebody answers for the version that failed, on this channel.
        is_deleted: Whether the version that may be is deleted.
        is_answered: Whether somebody answers for the version that failed early.
        is_claimed: Whether a worker has taken its continuation.
        is_continued: Whether that has given a verdict.
    """

    revision: int = 0
    stack: tuple[int, ...] = ()
    served: frozenset[int] = frozenset()
    is_frozen: bool = False
    quarantined: frozenset[int] = frozenset()
    is_waived: bool = False
    is_deleted: bool = False
    is_answered: bool = False
    is_claimed: bool = False
    is_continued: bool = False

    @property
    def version(self):
        """The version that is served."""
        return self.stack[-1] if self.stack else None


FRESH = Channel()


def step(channel, call):
    """Give the result of a call, and the channel after it."""
    if call.kind == "read":
        return _told(channel), channel
    if call.kind in _UNSEEN:
        code, after = _UNSEEN[call.kind](channel, call.version)
        return Result(code), after
    if call.seen != channel.revision:
        return Result("stale_revision"), channel
    code, after = _MOVE[call.kind](channel, call.version)
    if code != "ok":
        return Result(code), channel
    after = replace(
        after,
        revision=channel.revision + 1,
        is_frozen=call.kind == "freeze",
        served=after.served | set(after.stack[-1:]),
    )
    return Result("ok", after.revision, after.version), after


def _told(channel):
    return Result("ok", channel.revision, channel.version, channel.is_frozen, tuple(sorted(channel.quarantined)))


def _promote(channel, version):
    is_blocked = channel.is_frozen or version in channel.quarantined
    if is_blocked or (version == SPARE and channel.is_deleted):
        return "blocked", channel
    judged = _judged(channel, version)
    if judged == "ok" and version == channel.version:
        return "conflict", channel
    return judged, replace(channel, stack=(*channel.stack, version))


def _judged(channel, version):
    """Say what the gate makes of the verdict of a version."""
    is_answered = {FAILED: channel.is_waived, EARLY: channel.is_answered}.get(version, True)
    if not is_answered:
        return "gate_failed"
    return "ok" if version != EARLY or channel.is_continued else "inconclusive"


def _roll_back(channel, version):
    if channel.version is None:
        return "not_found", channel
    if channel.is_frozen:
        return "blocked", channel
    target = version
    if version is None:
        below = [one for one in channel.stack if one != channel.version]
        target = below[-1] if below else None
    code = _refused_as_target(channel, target)
    if code != "ok":
        return code, channel
    stack = (*channel.stack, target)
    if target in channel.stack:
        last = max(index for index, one in enumerate(channel.stack) if one == target)
        stack = channel.stack[: last + 1]
    return "ok", replace(channel, stack=stack, quarantined=channel.quarantined | {channel.version})


def _refused_as_target(channel, target):
    if target not in channel.served:
        return "not_found"
    if target == channel.version:
        return "conflict"
    if target == SPARE and channel.is_deleted:
        return "blocked"
    return _judged(channel, target)


def _freeze(channel, _):
    return "ok", channel


def _unfreeze(channel, _):
    return "ok" if channel.is_frozen else "conflict", channel


def _clear(channel, version):
    if version not in channel.quarantined:
        return "not_found", channel
    return "ok", replace(channel, quarantined=channel.quarantined - {version})


def _waive(channel, _):
    return ("conflict", channel) if channel.is_waived else ("ok", replace(channel, is_waived=True))


def _unwaive(channel, _):
    return ("ok", replace(channel, is_waived=False)) if channel.is_waived else ("not_found", channel)


def _delete(channel, _):
    if channel.version == SPARE:
        return "conflict", channel
    return "ok", replace(channel, is_deleted=True)


def _restore(channel, _):
    return "ok", replace(channel, is_deleted=False)


def _answer(channel, _):
    if channel.is_answered:
        return "conflict", channel
    return "ok", replace(channel, is_answered=True)


def _claim(channel, _):
    """What was not there to be claimed is no part of a history."""
    if channel.is_claimed or not channel.is_answered:
        return "nothing", channel
    return "ok", replace(channel, is_claimed=True)


def _settle(channel, _):
    if not channel.is_claimed or channel.is_continued:
        return "nothing", channel
    return "ok", replace(channel, is_continued=True)


_UNSEEN = {
    "clear": _clear,
    "waive": _waive,
    "unwaive": _unwaive,
    "delete": _delete,
    "restore": _restore,
    "waive early": _answer,
    "claim": _claim,
    "settle": _settle,
}
_MOVE = {"promote": _promote, "rollback": _roll_back, "freeze": _freeze, "unfreeze": _unfreeze}
