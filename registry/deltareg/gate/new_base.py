"""Whether a promotion would change the base that a channel's hosts need.

A serving host holds one base. It compares a version's base with its own by identity, which covers
all parts of a base, or by root where only the tensors are known. So does this rule: a version
trained on a packed form of the same base changes nothing for a host, while the same tensors with
another tokenizer do, and so does a version that became a base.
"""

from dataclasses import dataclass
from typing import Final

from deltareg.gate.ruling import Ruling

NEW_BASE: Final = "new_base"
"""Stands among the accepted warnings of a move that may change the base of its channel."""


@dataclass(frozen=True, slots=True)
class BaseFact:
    """The base of a version, as a serving host knows it.

    Attributes:
        root: The digest over its tensors.
        identity: The digest over all its parts; empty if unknown.
        name: What people read; the root if it is not registered.
    """

    root: str
    identity: str
    name: str


def name_base(name: str, root: str, *, reader: str) -> str:
    """Name a base for readers of a version; a base of another namespace by its root alone.

    Args:
        name: The base's name; empty if it is not registered.
        root: Its root.
        reader: A version or line whose readers see the name.
    """
    namespace, slash, _ = name.partition("/")
    is_foreign = slash and namespace != reader.partition("/")[0]
    return root if is_foreign or not name else name


def is_same_base(one: BaseFact, other: BaseFact) -> bool:
    """Whether a host that holds one base can serve versions for the other."""
    if one.identity and other.identity:
        return one.identity == other.identity
    return one.root == other.root


def rule_on_new_base(
    ref: str, base: BaseFact, served: BaseFact | None, *, channel: str, is_allowed: bool
) -> list[Ruling]:
    """Check whether a channel may change its base; no rule where it keeps it or serves nothing.

    Args:
        ref: The version.
        base: Its base.
        served: The base of what the channel serves; None if it serves nothing.
        channel: The channel's name.
        is_allowed: Whether the policy or whoever moves the channel allows it.
    """
    if served is None or is_same_base(base, served):
        return []
    if is_allowed:
        return [Ruling(NEW_BASE, f"{channel} changes its base from {served.name} to {base.name}")]
    message = f"{ref} is for base {base.name}, and {channel} serves {served.name}: its hosts would need another base"
    return [Ruling(NEW_BASE, message, fix=f"deltareg promote {ref} --channel {channel} --new-base")]
