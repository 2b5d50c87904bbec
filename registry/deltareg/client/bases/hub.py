"""Bases in the Hugging Face cache of this machine; nothing is fetched from any hub."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deltareg.client.folders.near_misses import check_exists
from deltareg.documents.json_values import is_object

ADAPTER_CONFIG = "adapter_config.json"
_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(?:/[A-Za-z0-9][\w.-]{0,95})?")
_SNAPSHOT = re.compile(r"/models--([\w.-]+)/snapshots/([\w.-]+)/?$")
_CONFIG_BYTES = 1 << 20
_NAME_CHARACTERS = 1024


def hub_snapshots() -> Iterator[Path]:
    """Give the folder of every model and revision in the cache."""
    yield from _cache().glob("models--*/snapshots/*")


def hub_folder(model: str) -> Path | None:
    """Give the folder of a model by its id on the hub: its main revision, else its only one."""
    if _ID.fullmatch(model) is None:
        return None
    kept = _cache() / f"models--{model.replace('/', '--')}"
    snapshots = sorted(place for place in kept.glob("snapshots/*") if place.is_dir())
    main = kept / "refs" / "main"
    if main.is_file():
        named = kept / "snapshots" / main.read_text("utf-8", "replace").strip()
        if named in snapshots:
            return named
    return snapshots[0] if len(snapshots) == 1 else None


@dataclass(frozen=True, slots=True)
class NamedBase:
    """What an adapter's config says that its base is.

    Attributes:
        name: A folder or an id; empty where it says nothing.
        revision: The hub's revision; empty where it says none.
    """

    name: str = ""
    revision: str = ""

    @property
    def is_hub_id(self) -> bool:
        """Whether the name could be an id of the hub."""
        return "/" in self.name and _ID.fullmatch(self.name) is not None


def hub_id_of(path: Path) -> str:
    """Give the id and revision of a snapshot in a hub's cache, by its path; empty for others."""
    for place in (path, path.absolute()):
        match = _SNAPSHOT.search(place.as_posix())
        if match is not None:
            return f"{match[1].replace('--', '/', 1)}@{match[2]}"
    return ""


def read_named_base(adapter: Path) -> NamedBase:
    """Read from an adapter's folder what its config says that its base is.

    Raises:
        NotFound: There is no such folder.
    """
    check_exists(adapter)
    try:
        with (adapter / ADAPTER_CONFIG).open("rb") as file:
            config: object = json.loads(file.read(_CONFIG_BYTES))
    except (OSError, ValueError):  # none, or one that a push refuses with better words
        return NamedBase()
    return base_in_config(config) if is_object(config) else NamedBase()


def base_in_config(config: Mapping[str, object]) -> NamedBase:
    """Return the base that an adapter's config names: a folder or an id, and a revision.

    It is where to look, and no more: which base is found there its fingerprint says.
    """
    named, revision = config.get("base_model_name_or_path"), config.get("revision")
    return NamedBase(
        named[:_NAME_CHARACTERS] if isinstance(named, str) else "",
        revision[:_NAME_CHARACTERS] if isinstance(revision, str) else "",
    )


def named_place(name: str) -> Path | None:
    """Give the folder that a config's name for a base leads to on this machine."""
    if not name:
        return None
    place = Path(name)
    try:
        is_here = place.is_dir()
    except (OSError, ValueError):  # longer than any name, or with a NUL in it
        return None
    return place if is_here else hub_folder(name)


def _cache() -> Path:
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    return Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
