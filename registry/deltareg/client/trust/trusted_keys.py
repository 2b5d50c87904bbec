"""Trusted keys: from a file that somebody handed over, or pinned at first use.

Pins are one file per server, beside the tokens. Keys that a server announces later are not added by
themselves, but that a key was retired or revoked is always believed: it only removes trust. Keys of
servers are added where a trusted one vouches for them in the log, see `last_checkpoint`.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pydantic import ValidationError

from deltareg.client.context import Context
from deltareg.documents.json_values import is_list
from deltareg.errors import BadSignature, InvalidInput, Refused
from deltareg.host.shared_files import change_file, replace_file
from deltareg.host.token_files import config_dir, token_path
from deltareg.signing.keys import PublicKey
from deltareg.tensors.header import strict_json_object
from deltareg.wire import KeyInfo, Page
from deltareg.words import KEY_STATES, KeyRole

_FORM = "deltareg.trusted-keys/1"
_EXPORT = "deltareg worker keys --export FILE"


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """Trusted keys by keyid, each with its owner."""

    keys: Mapping[str, KeyInfo] = field(default_factory=dict[str, KeyInfo])

    @classmethod
    def of(cls, keys: Iterable[KeyInfo]) -> Self:
        """Build from keys, each under its own keyid; a key listed under another one is refused.

        Raises:
            InvalidInput: A key is malformed, or listed under another key's keyid.
        """
        listed_keys = list(keys)
        by_keyid = {PublicKey.parse(key.key).keyid: key for key in listed_keys}
        if any(keyid != key.keyid for keyid, key in by_keyid.items()):
            raise InvalidInput("a key is listed under another key's name", fix=_EXPORT)
        return cls(by_keyid)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read keys that `deltareg worker keys --export` wrote.

        Raises:
            InvalidInput: The file does not exist, or holds something else.
        """
        try:
            return cls.decode(path.read_bytes(), path)
        except OSError as error:
            raise InvalidInput(f"{path} holds no trusted keys: {error}", fix=f"write it: {_EXPORT}") from error

    @classmethod
    def decode(cls, raw: bytes, path: Path) -> Self:
        """Read what the file at `path` holds.

        Raises:
            InvalidInput: It holds something else.
        """
        try:
            fields = strict_json_object(raw)
            items = fields.get("keys")
            if fields.get("form") != _FORM or not is_list(items):
                raise InvalidInput(f"{path} holds no trusted keys", fix=f"write it: {_EXPORT}")
            return cls.of(KeyInfo.model_validate(item) for item in items)
        except (Refused, ValidationError) as error:
            raise InvalidInput(
                f"{path} holds no trusted keys: {str(error)[:200]}", fix=f"write it: {_EXPORT}"
            ) from error

    def write(self, path: Path, *, server: str) -> None:
        """Write the keys in the form that `read` reads, replacing the file."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, self.encode(server=server))

    def encode(self, *, server: str) -> bytes:
        """Return the keys in the form that `read` reads."""
        keys = [key.model_dump(mode="json") for key in self.keys.values()]
        document = {"form": _FORM, "server": server, "keys": keys}
        return f"{json.dumps(document, indent=2)}\n".encode()

    def public_keys(self, role: str) -> dict[str, PublicKey]:
        """Return the keys of a role, including ended ones."""
        return {keyid: PublicKey.parse(key.key) for keyid, key in self.keys.items() if key.role == role}

    def owner(self, keyid: str) -> KeyInfo:
        """Return the owner of a key.

        Raises:
            BadSignature: The key was revoked.
        """
        key = self.keys[keyid]
        if key.state == "revoked":
            raise BadSignature(
                f"the key {keyid[:12]} of {key.name} was revoked: {key.reason}",
                fix="have it verified again: deltareg verify REF --again --wait",
            )
        return key

    def with_ends(self, told: "TrustedKeys") -> "TrustedKeys":
        """Return these keys with the ends that a server reports, and nothing else from it."""
        ended = {
            keyid: told.keys[keyid] if keyid in told.keys and _is_further(key, told.keys[keyid]) else key
            for keyid, key in self.keys.items()
        }
        return TrustedKeys(ended)

    def with_new(self, told: "TrustedKeys", *, role: KeyRole | None = None) -> "TrustedKeys":
        """Return these keys and those that a server has, of a role or of all, and that were not known yet."""
        new = {keyid: key for keyid, key in told.keys.items() if role in {None, key.role}}
        return TrustedKeys({**new, **self.with_ends(told).keys})

    def with_followed(self, followed: Iterable[PublicKey], told: "TrustedKeys") -> "TrustedKeys":
        """Return these keys and those of servers that a trusted one vouches for."""
        added: dict[str, KeyInfo] = {}
        for key in followed:
            known = told.keys.get(key.keyid)
            is_same = known is not None and (known.key, known.role) == (str(key), "server")
            added[key.keyid] = known if known is not None and is_same else _key_of_server(key)
        return TrustedKeys({**added, **self.keys})


def pin_path(server: str) -> Path:
    """Return the file with the keys pinned for a server, whether it exists or not."""
    return config_dir() / "trusted-keys" / f"{token_path(server).name}.json"


def told_keys(context: Context) -> TrustedKeys:
    """Ask a server for its keys."""
    return TrustedKeys.of(context.api.get("/keys", Page[KeyInfo]).items)


def pinned_keys(server: str) -> TrustedKeys | None:
    """Return the keys pinned for a server, without asking it; None if there are none."""
    path = pin_path(server)
    return TrustedKeys.read(path) if path.exists() else None


def pin_followed(context: Context, followed: Iterable[PublicKey]) -> TrustedKeys:
    """Trust keys of servers from now on that a trusted one vouches for; return all trusted keys."""
    server = context.config.server
    trusted_keys(context)
    current, keys = told_keys(context), list(followed)
    return _change_pins(server, lambda before: (before or current).with_followed(keys, current))


def _change_pins(server: str, change: Callable[[TrustedKeys | None], TrustedKeys]) -> TrustedKeys:
    """Change the pinned keys from what they are at that moment; return them."""
    path, trusted = pin_path(server), TrustedKeys()

    def edit(raw: bytes | None) -> bytes | None:
        nonlocal trusted
        before = None if raw is None else TrustedKeys.decode(raw, path)
        trusted = change(before)
        return None if trusted == before else trusted.encode(server=server)

    try:
        change_file(path, edit)
    except OSError:  # where nothing can be kept, each use is the first
        trusted = change(pinned_keys(server))
    return trusted


def trusted_keys(
    context: Context, *, takes_new: bool = False, role: KeyRole | None = None
) -> tuple[TrustedKeys, list[KeyInfo]]:
    """Return the trusted keys of a server, and those that are trusted from now on.

    At first use these are all the server's keys; later, with `takes_new`, those that were not
    known, or of these the ones of a role.
    """
    server, current = context.config.server, told_keys(context)
    new: list[KeyInfo] = []

    def change(before: TrustedKeys | None) -> TrustedKeys:
        nonlocal new
        if before is None:
            trusted, known = current, set[str]()
        else:
            trusted = before.with_new(current, role=role) if takes_new else before.with_ends(current)
            known = {*before.keys}
        new = [key for keyid, key in trusted.keys.items() if keyid not in known]
        return trusted

    known_keys = pinned_keys(server)
    if known_keys is not None and change(known_keys) == known_keys:  # nearly always: nothing is locked or written
        return known_keys, new
    return _change_pins(server, change), new


def _is_further(before: KeyInfo, after: KeyInfo) -> bool:
    """Whether a key is the same and has since ended, or ended in a worse way."""
    is_same = (before.key, before.role, before.name) == (after.key, after.role, after.name)
    return is_same and KEY_STATES.index(after.state) > KEY_STATES.index(before.state)


def _key_of_server(key: PublicKey) -> KeyInfo:
    """Describe a key that its server did not list."""
    return KeyInfo(
        keyid=key.keyid,
        role="server",
        name="server",
        key=str(key),
        state="live",
        enrolled_at="",
        enrolled_by="registry",
    )
