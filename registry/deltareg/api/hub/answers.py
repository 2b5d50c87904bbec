"""Describes repositories to clients of the hub, in the JSON that they expect."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from fastapi import Request, Response

from deltareg.api.byte_ranges import has_tag
from deltareg.digest import sha256_of
from deltareg.documents.model_card import ModelCard
from deltareg.service.hub.files import CommitFile, CommitTree
from deltareg.service.hub.history import Commit, HubRefs, NamedCommit
from deltareg.service.hub.listed_repository import ListedRepository
from deltareg.service.hub.person import Person
from deltareg.service.hub.snapshots import Snapshot

Json = dict[str, object]
# Nothing of this is counted or kept here; clients of older releases read the numbers.
_UNCOUNTED: Final = MappingProxyType({"gated": False, "disabled": False, "downloads": 0, "likes": 0})


def answer_json(request: Request, body: object, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with JSON and its ETag, or with 304 where the caller has exactly this body."""
    raw = json.dumps(body).encode()
    tag = f'"{sha256_of(raw).hex[:32]}"'
    own = {"ETag": tag, **(headers or {})}
    if has_tag(request, tag):
        return Response(status_code=304, headers=own)
    return Response(raw, headers=own, media_type="application/json")


def model_info(
    tree: CommitTree, tags: Sequence[str], card: ModelCard | None, *, with_blobs: bool, only: Collection[str] = ()
) -> Json:
    """Describe a repository at a commit; with `only`, in these fields alone."""
    snapshot = tree.snapshot
    info: Json = {
        "_id": snapshot.commit,
        "id": snapshot.repository,
        "modelId": snapshot.repository,
        "author": snapshot.author,
        "sha": snapshot.commit,
        "lastModified": _time(snapshot.created_at),
        "createdAt": _time(snapshot.created_at),
        "private": snapshot.is_private,
        **_UNCOUNTED,
        "library_name": tree.library or None,
        "tags": tags,
        **_card_fields(card),
        "siblings": [_sibling(file, with_blobs=with_blobs) for file in tree.files],
    }
    return _only(info, only)


def listed_model(
    one: ListedRepository, *, is_full: bool, with_card: bool, also: Collection[str] = (), only: Collection[str] = ()
) -> Json:
    """Describe a repository in a list; with `only`, in these fields alone.

    Without `is_full` it has the fields that the hub's own list has: `hf models ls` shows them all.
    """
    card = _card_fields(one.card)
    card_data = card.pop("cardData", None)
    info: Json = {
        "_id": one.commit or str(one.line),
        "id": str(one.line),
        "modelId": str(one.line),
        "createdAt": _time(one.created_at),
        "private": one.is_private,
        "downloads": 0,
        "likes": 0,
        "library_name": one.library or None,
        "tags": one.tags,
        **card,
    }
    more: Json = {
        **_UNCOUNTED,
        "author": one.author,
        "sha": one.commit or None,
        "lastModified": _time(one.changed_at),
        "siblings": [{"rfilename": path} for path in one.files],
    }
    info |= {name: value for name, value in more.items() if is_full or name in also or name in only}
    if card_data is not None and (with_card or "cardData" in only):
        info["cardData"] = card_data
    return _only(info, only)


def tree_entries(tree: CommitTree, folder: str, *, is_recursive: bool, is_expanded: bool) -> list[Json] | None:
    """List the entries of a folder; None if there is no such folder."""
    inside = [f for f in tree.files if not folder or f.path.startswith(f"{folder}/")]
    if folder and not inside:
        return None
    last = _last_commit(tree.snapshot) if is_expanded else {}
    skipped = len(folder) + 1 if folder else 0
    entries: list[Json] = []
    listed_names: set[str] = set()
    for file in inside:
        path = file.path if is_recursive else _top(file.path, skipped)
        for name in (*(_folders(path, skipped) if is_recursive else ()), path):
            if name in listed_names:
                continue
            listed_names.add(name)
            is_file = name == file.path
            entries.append((_file(file) if is_file else _folder(tree.snapshot, name)) | last)
    return entries


def path_entries(tree: CommitTree, paths: Sequence[str], *, is_expanded: bool) -> list[Json]:
    """Describe each of the paths that is a file or a folder of a commit."""
    last = _last_commit(tree.snapshot) if is_expanded else {}
    files = {file.path: file for file in tree.files}
    folders = {name for path in files for name in _folders(path, 0)}
    stripped = [path.strip("/") for path in paths]
    return [
        (_file(files[path]) if path in files else _folder(tree.snapshot, path)) | last
        for path in stripped
        if path in files or path in folders
    ]


def refs(found: HubRefs) -> Json:
    """Return the branches and tags."""
    return {
        "branches": _list_refs(found.branches, "refs/heads"),
        "tags": _list_refs(found.tags, "refs/tags"),
        "converts": [],
        "pullRequests": [],
    }


def commits(found: Iterable[Commit]) -> list[Json]:
    """Return the commits of a history."""
    return [
        {
            "id": each.commit,
            "title": each.title,
            "message": each.message,
            "authors": [{"user": each.author}],
            "date": _time(each.created_at),
        }
        for each in found
    ]


def person(found: Person) -> Json:
    """Describe a principal; the namespaces it may push to are its organisations."""
    role = "write" if found.may_push else "read"
    return {
        "type": "user",
        "id": found.name,
        "name": found.name,
        "fullname": found.name,
        "email": None,
        "canPay": False,
        "isPro": False,
        "orgs": [{"type": "org", "id": name, "name": name, "fullname": name} for name in found.pushes_to],
        "auth": {"type": "access_token", "accessToken": {"displayName": found.name, "role": role}},
    }


def _sibling(file: CommitFile, *, with_blobs: bool) -> Json:
    if not with_blobs:
        return {"rfilename": file.path}
    return {
        "rfilename": file.path,
        "size": file.size_bytes,
        "blobId": file.blob_id,
        "lfs": {"sha256": file.sha256, "size": file.size_bytes, "pointerSize": len(file.pointer)},
    }


def _file(file: CommitFile) -> Json:
    return {
        "type": "file",
        "path": file.path,
        "size": file.size_bytes,
        "oid": file.blob_id,
        "lfs": {"oid": file.sha256, "size": file.size_bytes, "pointerSize": len(file.pointer)},
    }


def _folder(snapshot: Snapshot, path: str) -> Json:
    return {"type": "directory", "path": path, "size": 0, "oid": snapshot.commit}


def _folders(path: str, skipped: int) -> list[str]:
    """Return the folders that contain a path, below its first `skipped` characters."""
    return [path[:at] for at in range(skipped, len(path)) if path[at] == "/"]


def _top(path: str, skipped: int) -> str:
    """Return the path itself, or the folder right below the listed one that contains it."""
    return path[:skipped] + path[skipped:].partition("/")[0]


def _last_commit(snapshot: Snapshot) -> Json:
    last = {"id": snapshot.commit, "title": snapshot.name, "date": _time(snapshot.created_at)}
    return {"lastCommit": last}


def _list_refs(found: Iterable[NamedCommit], below: str) -> list[Json]:
    return [{"name": each.name, "ref": f"{below}/{each.name}", "targetCommit": each.commit} for each in found]


def _time(microseconds: int) -> str:
    """Format a time as the hub does, to the millisecond: older clients cannot read any other."""
    moment = datetime.fromtimestamp(microseconds // 1_000 / 1_000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _card_fields(card: ModelCard | None) -> Json:
    """Return what a card claims, under the names of its front matter."""
    if card is None:
        return {}
    fields = {
        "license": card.license,
        "library_name": card.library,
        "pipeline_tag": card.task,
        "language": list(card.languages),
        "tags": list(card.tags),
        "datasets": list(card.datasets),
        "base_model": list(card.base_models),
    }
    return {"pipeline_tag": card.task or None, "cardData": {name: value for name, value in fields.items() if value}}


def _only(info: Json, names: Collection[str]) -> Json:
    kept = {"_id", "id", "modelId", *names}
    return {name: value for name, value in info.items() if not names or name in kept}
