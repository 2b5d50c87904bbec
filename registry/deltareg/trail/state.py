"""Comparing a registry's current state with the last rows about it in the log.

A channel moved directly in the tables, a revocation removed there, a key inserted there: none of
these has a row in the log. So the tables must agree with the last row about each thing.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from deltareg.documents.json_values import is_object

_MOVES: Final = frozenset({"channel.promote", "channel.rollback", "channel.freeze", "channel.unfreeze"})
_REVOCATIONS: Final = {"version.revoke": True, "version.unrevoke": False}
_PARTS: Final = ("/", ":", "@")
_RENAMES: Final = frozenset({"line.rename", "channel.rename", "namespace.rename"})
_ENROLMENTS: Final = frozenset({"key.enrol", "key.rotate"})


class StateCheck:
    """Remembers the last row about each thing and compares it with the thing's current state."""

    def __init__(self, said: Mapping[str, Mapping[str, object]] | None = None) -> None:
        """Start before the first row, or behind the rows that said something."""
        self._said: dict[str, dict[str, object]] = {subject: dict(state) for subject, state in (said or {}).items()}
        self._is: dict[str, Mapping[str, object]] = {}

    def copy_said(self) -> dict[str, dict[str, object]]:
        """Return what the rows that were read said last of each thing."""
        return {subject: dict(state) for subject, state in self._said.items()}

    def row(self, leaf: Mapping[str, object]) -> None:
        """Read a row of the audit trail, in its order."""
        action, subject, after = leaf.get("action"), str(leaf.get("subject")), leaf.get("after")
        state = after if is_object(after) else {}
        if not isinstance(action, str):  # somebody wrote the export by hand
            return
        if action in _MOVES:
            self._said[subject] = _only(state, "revision", "version", "digest")
        elif action in _REVOCATIONS:
            self._said[subject] = {"revoked": _REVOCATIONS[action], **_only(state, "digest")}
        elif action in _RENAMES:
            before = leaf.get("before")
            self._rename(before.get("name") if is_object(before) else None, state.get("name"))
        elif action in _ENROLMENTS:
            self._said[subject] = {"revoked": False, **_only(state, "key", "role")}
        elif action == "key.revoke":
            self._said.setdefault(subject, {})["revoked"] = True

    def _rename(self, before: object, after: object) -> None:
        """Go on with what was said of a thing, and of all that lies in it, under its new name."""
        if not isinstance(before, str) or not isinstance(after, str):
            return
        within = tuple(before + mark for mark in _PARTS)
        named = [one for one in self._said if not one.startswith("key/") or "@" in one or ":" in one]
        for subject in [one for one in named if one == before or one.startswith(within)]:
            self._said[after + subject.removeprefix(before)] = self._said.pop(subject)

    def state(self, subject: str, says: Mapping[str, object]) -> None:
        """Read the current state of a thing in the tables."""
        self._is[subject] = says

    def differences(self) -> Iterator[str]:
        """Describe the differences between the two."""
        for subject, now in self._is.items():
            recorded = self._said.get(subject)
            if recorded is None:
                yield f"{subject} is {_describe_fields(now)}, and no row of the log says so"
            elif wrong := {name for name, value in recorded.items() if now.get(name) != value}:
                was, now_is = _only(recorded, *sorted(wrong)), _only(now, *sorted(wrong))
                yield f"{subject} is {_describe_fields(now_is)}; the log says {_describe_fields(was)}"
        for subject in sorted(self._said.keys() - self._is.keys()):
            if self._said[subject].get("revoked") is not False or subject.startswith("key/"):
                yield f"{subject} is gone; the log says {_describe_fields(self._said[subject])}"


def _only(fields: Mapping[str, object], *names: str) -> dict[str, object]:
    return {name: fields[name] for name in names if name in fields}


def _describe_fields(fields: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in fields.items())
