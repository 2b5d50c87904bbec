"""The file that names the providers: one table each, checked before anything is asked of them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from deltareg.documents.json_values import is_object
from deltareg.documents.strict_fields import DocumentPlace, read_list, read_object, read_text
from deltareg.documents.toml_document import parse_toml
from deltareg.errors import DeltaregError, InvalidInput, Misconfigured
from deltareg.host.urls import split_url
from deltareg.refs import parse_name
from deltareg.signing.key_file import read_private

ANYBODY = "*"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_KEYS = (
    "issuer", "client_id", "client_secret_file", "admit", "label", "scopes", "name_claim", "groups_claim", "groups",
)  # fmt: skip
_REQUIRED = {"issuer": '"https://id.example"', "client_id": '"deltareg"', "admit": '["*"] for everybody there'}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """What the file says of one provider.

    Attributes:
        name: Its name: in addresses, and as the source of memberships.
        issuer: Its address, exactly as it names itself.
        client_id: The registry's name there.
        client_secret: What the registry proves itself with; None for a public client.
        admit: Who may sign in: `*`, `@` and a domain of confirmed e-mail addresses, or a group of
            the provider.
        label: Its name on buttons.
        scopes: What is asked of it; None for what its metadata suggests.
        name_claim: The claim that a new principal is named after.
        groups_claim: The claim with a person's groups.
        groups: The registry's group for each of the provider's; `*` at the end of both stands for
            the rest of the name.
    """

    name: str
    issuer: str
    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    admit: tuple[str, ...]
    label: str
    scopes: tuple[str, ...] | None = None
    name_claim: str = "preferred_username"
    groups_claim: str = "groups"
    groups: Mapping[str, str] = field(default_factory=dict[str, str])


def read_providers(path: Path) -> tuple[ProviderSettings, ...]:
    """Read the file of providers.

    Raises:
        Misconfigured: It cannot be read, or something in it is wrong; the error says what.
    """
    try:
        document = parse_toml(path.read_bytes())
        providers = tuple(_provider(name, value, path.parent) for name, value in document.items())
        _check_apart(providers)
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}", fix="see DELTAREG_OIDC") from error
    except ValueError as error:
        raise Misconfigured(f"{path} is not TOML: {error}", fix=f"edit {path}") from error
    except InvalidInput as error:
        raise Misconfigured(f"{path}: {error.message}", fix=error.fix) from error
    return providers


def is_loopback(url: str) -> bool:
    """Whether an address is one of this machine."""
    host = split_url(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _provider(name: str, value: object, folder: Path) -> ProviderSettings:
    place = DocumentPlace().at(name)
    if not _NAME.fullmatch(name):
        raise place.wrong("is no name of a provider", fix="use up to 32 of a-z, 0-9 and -, a letter first")
    table = read_object(value, place, known=_KEYS)
    for key, example in _REQUIRED.items():
        if key not in table:
            raise place.wrong(f"has no {key}", fix=f"write {key} = {example}")

    def text(key: str, default: str) -> str:
        return read_text(table.get(key, default), place.at(key), example=_REQUIRED.get(key, f'{key} = "{default}"'))

    scopes = table.get("scopes")
    return ProviderSettings(
        name=name,
        issuer=_issuer(text("issuer", ""), place),
        client_id=text("client_id", ""),
        client_secret=_secret(table.get("client_secret_file"), place, folder),
        admit=_texts(table["admit"], place.at("admit"), example=_REQUIRED["admit"]),
        label=text("label", name.replace("-", " ").title()),
        scopes=None if scopes is None else _texts(scopes, place.at("scopes"), example='["openid", "profile"]'),
        name_claim=text("name_claim", "preferred_username"),
        groups_claim=text("groups_claim", "groups"),
        groups=_groups(table.get("groups", {}), place.at("groups")),
    )


def _issuer(text: str, place: DocumentPlace) -> str:
    url = split_url(text)
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(text)):
        raise place.at("issuer").wrong("is not an https address", fix="write the issuer as its metadata names it")
    if not url.hostname or url.query or url.fragment:
        raise place.at("issuer").wrong("is not an issuer", fix="write the issuer as its metadata names it")
    return text


def _secret(value: object, place: DocumentPlace, folder: Path) -> str | None:
    if value is None:
        return None
    place = place.at("client_secret_file")
    path = folder / read_text(value, place, example='"client-secret"')
    try:
        secret = read_private(path).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise place.wrong(f"cannot read {path}", fix="name the file with the secret alone in it") from error
    except DeltaregError as error:
        raise place.wrong(error.message, fix=error.fix) from error
    if not secret:
        raise place.wrong(f"{path} is empty", fix="write the secret into it")
    return secret


def _texts(value: object, place: DocumentPlace, *, example: str) -> tuple[str, ...]:
    items = read_list(value, place, example=example)
    if not items:
        raise place.wrong("is empty", fix=f"write {example}")
    return tuple(read_text(item, place.at(number), example=example) for number, item in enumerate(items))


def _groups(value: object, place: DocumentPlace) -> dict[str, str]:
    table = read_object(value, place, known=tuple(value) if is_object(value) else ())
    groups: dict[str, str] = {}
    for theirs, ours in table.items():
        name = read_text(ours, place.at(theirs), example='"engineers"')
        is_pattern = theirs.endswith(ANYBODY) and name.endswith(ANYBODY)
        try:
            parse_name(f"{name.removesuffix(ANYBODY)}x" if is_pattern else name, "group")
        except InvalidInput as error:
            raise place.at(theirs).wrong(error.message, fix=error.fix) from error
        groups[theirs] = name
    return groups


def _check_apart(providers: tuple[ProviderSettings, ...]) -> None:
    if not providers:
        raise InvalidInput("it names no provider", fix="write [NAME] with issuer, client_id and admit")
    issuers: dict[tuple[str, str], str] = {}
    for provider in providers:
        key = (provider.issuer, provider.client_id)
        if key in issuers:
            raise InvalidInput(f"{issuers[key]} and {provider.name} are one provider", fix="leave one of them out")
        issuers[key] = provider.name
