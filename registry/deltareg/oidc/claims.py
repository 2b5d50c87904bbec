"""What a provider says of somebody: who they are, their groups, and whether they may come in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from deltareg.documents.json_values import is_list
from deltareg.errors import Forbidden, InvalidInput
from deltareg.oidc.provider_file import ANYBODY, ProviderSettings
from deltareg.refs import parse_name

_SUBJECT_MOST = 255
_GROUPS_MOST = 1_000
_STEM_MOST = 48


@dataclass(frozen=True, slots=True)
class Claims:
    """What a provider says of somebody who signs in.

    Attributes:
        issuer: The provider's address.
        subject: Who it is there; no other claim names them.
        name: A name that a principal may have, made of what they are called there.
        email: Their e-mail address; empty unless the provider has confirmed it.
        groups: Their groups there, by the provider's names.
        sid: The session at the provider; None if it does not say.
    """

    issuer: str
    subject: str
    name: str
    email: str = ""
    groups: frozenset[str] = field(default_factory=frozenset[str])
    sid: str | None = None


def read_claims(settings: ProviderSettings, claims: Mapping[str, object]) -> Claims:
    """Read checked claims.

    Raises:
        InvalidInput: The subject is not one.
    """
    subject, sid = claims.get("sub"), claims.get("sid")
    if not isinstance(subject, str) or not 0 < len(subject) <= _SUBJECT_MOST or not subject.isprintable():
        raise InvalidInput(f"{settings.name} names nobody", fix="see the claim sub of its ID tokens")
    email = claims.get("email")
    is_confirmed = claims.get("email_verified") is True and isinstance(email, str) and email.isprintable()
    return Claims(
        issuer=settings.issuer,
        subject=subject,
        name=_name(claims.get(settings.name_claim), email, subject),
        email=str(email).lower()[:_SUBJECT_MOST] if is_confirmed else "",
        groups=_groups(claims.get(settings.groups_claim)),
        sid=sid[:_SUBJECT_MOST] if isinstance(sid, str) and sid else None,
    )


def check_admitted(settings: ProviderSettings, claims: Claims) -> None:
    """Refuse somebody whom the provider knows and the registry does not let in.

    Raises:
        Forbidden: They have nothing of what `admit` names.
    """
    domain = f"@{claims.email.rpartition('@')[2]}" if claims.email else ""
    for allowed in settings.admit:
        if allowed == ANYBODY or allowed in claims.groups or (domain and allowed.lower() == domain):
            return
    raise Forbidden(
        f"{settings.label} knows you as {claims.name}, and this registry does not let you in",
        fix="ask an admin of the registry to admit one of your groups",
    )


def groups_here(settings: ProviderSettings, claims: Claims) -> frozenset[str]:
    """Return the registry's groups for somebody's groups at the provider; unmapped ones give none."""
    return frozenset(name for theirs in claims.groups for name in _map_group(settings.groups, theirs))


def _map_group(rules: Mapping[str, str], theirs: str) -> list[str]:
    names = [ours for pattern, ours in rules.items() if pattern == theirs and not pattern.endswith(ANYBODY)]
    for pattern, ours in rules.items():
        stem = pattern.removesuffix(ANYBODY)
        if stem != pattern and theirs.startswith(stem):
            rest = theirs[len(stem) :]
            names.append(ours.removesuffix(ANYBODY) + rest if ours.endswith(ANYBODY) else ours)
    return [name for name in names if _is_name(name)]


def _is_name(text: str) -> bool:
    try:
        parse_name(text, "group")
    except InvalidInput:
        return False
    return True


def _groups(value: object) -> frozenset[str]:
    """Read a list of groups; a provider that knows one group may write it as a text."""
    if isinstance(value, str):
        return frozenset({value})
    if not is_list(value):
        return frozenset()
    return frozenset(name for name in value[:_GROUPS_MOST] if isinstance(name, str) and name)


def _name(preferred: object, email: object, subject: str) -> str:
    """Make a name of what somebody is called; of an address, only what is before the `@`."""
    for said in (preferred, email, subject):
        if isinstance(said, str):
            stem = re.sub(r"[^a-z0-9._-]+", "-", said.partition("@")[0].lower())
            stem = re.sub(r"\.{2,}", ".", stem)[:_STEM_MOST].strip("-._")
            if stem:
                return stem
    return "person"
