"""The mirrors that somebody has named on this machine: a file beside their settings."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from deltareg.documents.json_values import is_list, is_object, parse_json
from deltareg.errors import Conflict, InvalidInput, NotFound
from deltareg.host.shared_files import change_file
from deltareg.host.token_files import config_dir, token_path
from deltareg.host.urls import split_url

Direction = Literal["pull", "push"]
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_FILE = "mirrors.json"


@dataclass(frozen=True, slots=True)
class KnownMirror:
    """A mirror of the registry in use.

    Attributes:
        name: What people call it.
        server: The registry that it is a mirror of, or that mirrors it.
        url: The other one.
        direction: Whether versions come from there or go there.
        scope: Namespaces and lines; all that may be read if empty.
        line: The line that follows a repository on a hub; empty where the other one is a registry.
        revision: The repository's branch.
        base: The base of the line's versions; empty for that of its newest, or what the files name.
    """

    name: str
    server: str
    url: str
    direction: Direction
    scope: tuple[str, ...] = ()
    line: str = ""
    revision: str = ""
    base: str = ""


def known_mirrors(server: str) -> dict[str, KnownMirror]:
    """Return the mirrors of a registry, by name."""
    return {name: one for name, one in _read().items() if one.server == server}


def find_mirror(server: str, name: str) -> KnownMirror:
    """Return a mirror of a registry.

    Raises:
        NotFound: There is none of that name.
    """
    found = known_mirrors(server)
    if name not in found:
        raise NotFound(f"{server} has no mirror {name}", fix="deltareg mirror ls, or: deltareg mirror add URL --pull")
    return found[name]


def name_of(url: str) -> str:
    """Derive a name from an address: its host."""
    host = split_url(url).hostname or ""
    return host.lower().replace(":", "-")


def add_mirror(mirror: KnownMirror) -> None:
    """Remember a mirror.

    Raises:
        InvalidInput: Its name or its address is none.
        Conflict: Another one has its name.
    """
    if _NAME.fullmatch(mirror.name) is None:
        raise InvalidInput(f"no name of a mirror: {mirror.name[:80]!r}", fix="give one: --name eu")
    token_path(mirror.url)
    if mirror.url == mirror.server:
        raise InvalidInput("a registry is no mirror of itself", fix="name the address of the other one")

    def add(mirrors: dict[str, KnownMirror]) -> None:
        if mirror.name in mirrors:
            raise Conflict(f"{mirror.name} is {mirrors[mirror.name].url} already", fix="give another name: --name NAME")
        mirrors[mirror.name] = mirror

    _change(add)


def remove_mirror(server: str, name: str) -> KnownMirror:
    """Forget a mirror; both registries keep what they have.

    Raises:
        NotFound: There is none of that name.
    """
    found = find_mirror(server, name)

    def remove(mirrors: dict[str, KnownMirror]) -> None:
        mirrors.pop(name, None)

    _change(remove)
    return found


def _read() -> dict[str, KnownMirror]:
    path = config_dir() / _FILE
    try:
        return _parse(path.read_bytes(), path)
    except FileNotFoundError:
        return {}


def _parse(raw: bytes, path: Path) -> dict[str, KnownMirror]:
    try:
        document: object = parse_json(raw)
    except ValueError as error:
        raise InvalidInput(f"{path} is no JSON", fix=f"mend it, or remove it: {path}") from error
    if not is_object(document):
        raise InvalidInput(f"{path} names no mirrors", fix=f"mend it, or remove it: {path}")
    return {name: _mirror(name, fields) for name, fields in document.items() if is_object(fields)}


def _mirror(name: str, fields: Mapping[str, object]) -> KnownMirror:
    scope = fields.get("scope")
    return KnownMirror(
        name=name,
        server=str(fields.get("server", "")),
        url=str(fields.get("url", "")),
        direction="push" if fields.get("direction") == "push" else "pull",
        scope=tuple(map(str, scope)) if is_list(scope) else (),
        line=str(fields.get("line", "")),
        revision=str(fields.get("revision", "")),
        base=str(fields.get("base", "")),
    )


def _change(change: Callable[[dict[str, KnownMirror]], None]) -> None:
    """Change the mirrors; two commands at once change them one after the other."""
    path = config_dir() / _FILE

    def edit(before: bytes | None) -> bytes:
        mirrors = {} if before is None else _parse(before, path)
        change(mirrors)
        document = {name: asdict(one) for name, one in mirrors.items()}
        return f"{json.dumps(document, indent=2)}\n".encode()

    change_file(path, edit)
