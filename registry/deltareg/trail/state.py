"""Holding what a registry does now against what its log says that was done.

A channel that was moved in the tables, a revocation that was taken back there, a key that was put
in: none has a row in the log. So what the tables say has to be what the last row about it says.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from deltareg.documents.json_values import is_object

_MOVES: Final = frozenset({"channel.promote", "channel.rollback", "channel.freeze", "channel.unfreeze"})
_REVOCATIONS: Final = {"version.revoke": True, "version.unrevoke": False}
_ENROLMENTS: Final = frozenset({"key.enrol", "key.rotate"})


class StateCheck:
    """Remembers the last row about each thing, and holds what there is of it against that."""

    def __init__(self) -> None:
        """Begin before the first row."""
        self._said: dict[str, dict[str, object]] = {}
        self._is: dict[str, Mapping[str, object]] = {}

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
        elif action in _ENROLMENTS:
            self._said[subject] = {"revoked": False, **_only(state, "key", "role")}
        elif action == "key.revoke":
            self._said.setdefault(subject, {})["revoked"] = True

    def state(self, subject: str, says: Mapping[str, object]) -> None:
        """Read what the tables say about a thing."""
        self._is[subject] = says

    def differences(self) -> Iterator[str]:
        """Say where the two differ."""
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
