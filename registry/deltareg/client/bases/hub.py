"""Bases in the Hugging Face cache of this machine; nothing is fetched from any hub."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(?:/[A-Za-z0-9][\w.-]{0,95})?")
_SNAPSHOT = re.compile(r"/models--([\w.-]+)/snapshots/([\w.-]+)/?$")


def hub_snapshots() -> Iterator[Path]:
    """Give the folder of every model and revision in the cache."""
    yield from _cache().glob("models--*/snapshots/*")


def hub_folder(model: str, revision: str = "") -> Path | None:
    """Give the folder of a model by its id on the hub: that revision, its main one, else its only one."""
    if _ID.fullmatch(model) is None:
        return None
    kept = _cache() / f"models--{model.replace('/', '--')}"
    snapshots = sorted(place for place in kept.glob("snapshots/*") if place.is_dir())
    if revision:
        branch = kept / "refs" / revision
        if re.fullmatch(r"[\w.-]+", revision) and branch.is_file():
            revision = branch.read_text("utf-8", "replace").strip()
        return next((place for place in snapshots if place.name.startswith(revision)), None)
    main = kept / "refs" / "main"
    if main.is_file():
        named = kept / "snapshots" / main.read_text("utf-8", "replace").strip()
        if named in snapshots:
            return named
    return snapshots[0] if len(snapshots) == 1 else None


def hub_id_of(path: Path) -> str:
    """Give the id and revision of a snapshot in a hub's cache, by its path; empty for others."""
    for place in (path, path.absolute()):
        match = _SNAPSHOT.search(place.as_posix())
        if match is not None:
            return f"{match[1].replace('--', '/', 1)}@{match[2]}"
    return ""


def _cache() -> Path:
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    return Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
