"""The reading routes for clients of the hub: what a repository has, and its files.

Ids of repositories have one part or two; the special characters of a revision are escaped. None
of these routes is in the OpenAPI document: this is the hub's interface, and follows its clients.
"""

from dataclasses import replace
from functools import partial
from typing import Annotated
from urllib.parse import parse_qsl

import anyio.to_thread
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from deltareg.api.auth import InRegistry
from deltareg.api.byte_ranges import asked_range, has_tag
from deltareg.api.hub import answers
from deltareg.api.hub.hub_state import hub_state_of
from deltareg.api.hub.refusals import HubRoute, hub_warning, missing
from deltareg.api.hub.sending import FileAnswer
from deltareg.api.hub.who import By, caller_of
from deltareg.api.json_bodies import parse_sent
from deltareg.documents.json_values import is_list, is_object
from deltareg.errors import InvalidInput
from deltareg.service.hub.content import FileContent, look_for_content
from deltareg.service.hub.drafts import StagedContent, look_for_draft, look_for_staged
from deltareg.service.hub.files import CommitFile, CommitTree, look_for_files, no_file
from deltareg.service.hub.history import add_to_history, add_to_refs, look_for_commits, look_for_refs
from deltareg.service.hub.line_revisions import MAIN
from deltareg.service.hub.listed_repository import look_at_tags
from deltareg.service.hub.main_version import Main
from deltareg.service.hub.person import look_at_person
from deltareg.service.hub.snapshots import MissingContent, Snapshot
from deltareg.service.lines.pulls import note_pull
from deltareg.service.registry import Caller, Registry

router = APIRouter(dependencies=[Depends(caller_of)], route_class=HubRoute, include_in_schema=False)
_PATHS_MOST = 1_000


def repository_of(name: str, ns: str = "") -> str:
    """Return the id of the repository in a path."""
    return f"{ns}/{name}" if ns else name


def main_of(request: Request) -> Main:
    """Return what `main` means for clients that only read."""
    return hub_state_of(request).hub_main


Repository = Annotated[str, Depends(repository_of)]
ForReaders = Annotated[Main, Depends(main_of)]


@router.get("/api/whoami-v2")
def whoami(registry: InRegistry, by: By) -> Response:
    """Describe the token's owner."""
    return JSONResponse(answers.person(look_at_person(registry, by)))


@router.get("/api/models/{name}/auth-check")
def look_at_base(request: Request, registry: InRegistry, by: By, name: str, main: ForReaders) -> Response:
    """Describe a base at `main`; or the delta of that name, if there is no such base."""
    tree = _tree(registry, by, name, MAIN, main=main)
    if _is_unknown(tree):
        tree = _tree(registry, by, f"{name}/auth-check", MAIN, main=main)
    return _describe_tree(request, registry, tree)


@router.get("/api/models/{name}/refs")
def show_base_refs(request: Request, registry: InRegistry, by: By, name: str, main: ForReaders) -> Response:
    """List the branches of a base; or describe the delta of that name, if there is no such base."""
    refs = look_for_refs(registry, by, name, main=main)
    if not isinstance(refs, MissingContent):
        return answers.answer_json(request, answers.refs(refs))
    delta = _tree(registry, by, f"{name}/refs", MAIN, main=main)
    return missing(request, refs) if _is_unknown(delta) else _describe_tree(request, registry, delta)


@router.get("/api/models/{ns}/{name}/auth-check")
@router.get("/api/models/{ns}/{name}")
@router.get("/api/models/{name}")
def show_repository(
    request: Request, registry: InRegistry, by: By, repository: Repository, main: ForReaders
) -> Response:
    """Describe a repository at `main`."""
    tree = _tree(registry, by, repository, MAIN, main=main)
    if isinstance(tree, MissingContent) and _is_unknown(tree):
        # Only this route is asked whether there is such a repository; the others by who has a cache.
        tree = replace(tree, what="repository")
    return _describe_tree(request, registry, tree)


@router.get("/api/models/{ns}/{name}/revision/{revision:path}")
@router.get("/api/models/{name}/revision/{revision:path}")
def show_revision(
    request: Request, registry: InRegistry, by: By, repository: Repository, main: ForReaders, revision: str
) -> Response:
    """Describe a repository at a revision."""
    return _describe_tree(request, registry, _tree(registry, by, repository, revision, main=main))


@router.get("/api/models/{ns}/{name}/tree/{revision}")
@router.get("/api/models/{ns}/{name}/tree/{revision}/{folder:path}")
@router.get("/api/models/{name}/tree/{revision}")
@router.get("/api/models/{name}/tree/{revision}/{folder:path}")
def show_tree(
    request: Request,
    registry: InRegistry,
    by: By,
    repository: Repository,
    main: ForReaders,
    revision: str,
    *,
    folder: str = "",
    recursive: bool = False,
    expand: bool = False,
) -> Response:
    """List the files of a revision."""
    tree = _tree(registry, by, repository, revision, main=main)
    if isinstance(tree, MissingContent):
        return missing(request, tree)
    folder = folder.strip("/")
    entries = answers.tree_entries(tree, folder, is_recursive=recursive, is_expanded=expand)
    if entries is None:
        return missing(request, no_file(tree.snapshot, folder, tree.files))
    return answers.answer_json(request, entries)


async def paths_of(request: Request) -> tuple[list[str], bool]:
    """Return the requested paths, from a form or from JSON, and whether to describe them in full.

    A malformed body requests nothing.
    """
    raw = await request.body()
    if "json" in request.headers.get("Content-Type", ""):
        try:
            body: object = parse_sent(raw)
        except InvalidInput:
            body = None
        fields = body if is_object(body) else {}
        paths, expand = fields.get("paths"), fields.get("expand")
        requested = [str(path) for path in paths] if is_list(paths) else []
        return requested[:_PATHS_MOST], expand is True
    pairs = parse_qsl(raw.decode("utf-8", "replace"), max_num_fields=_PATHS_MOST + 10)
    requested = [value for key, value in pairs if key == "paths"]
    return requested[:_PATHS_MOST], ("expand", "true") in [(k, v.lower()) for k, v in pairs]


@router.post("/api/models/{ns}/{name}/paths-info/{revision:path}")
@router.post("/api/models/{name}/paths-info/{revision:path}")
def show_paths(
    request: Request,
    registry: InRegistry,
    by: By,
    repository: Repository,
    main: ForReaders,
    revision: str,
    asked: Annotated[tuple[list[str], bool], Depends(paths_of)],
) -> Response:
    """Describe some files of a revision, leaving out those that do not exist."""
    tree = _tree(registry, by, repository, revision, main=main)
    if isinstance(tree, MissingContent):
        return missing(request, tree)
    return JSONResponse(answers.path_entries(tree, asked[0], is_expanded=asked[1]))


@router.get("/api/models/{ns}/{name}/refs")
def show_refs(request: Request, registry: InRegistry, by: By, repository: Repository, main: ForReaders) -> Response:
    """List the channels as branches and the versions as tags."""
    refs, draft = look_for_refs(registry, by, repository, main=main), look_for_draft(registry, by, repository, MAIN)
    if draft is not None:
        refs = add_to_refs(refs, draft.snapshot)
    if isinstance(refs, MissingContent):
        return missing(request, refs)
    return answers.answer_json(request, answers.refs(refs))


@router.get("/api/models/{ns}/{name}/commits/{revision:path}")
@router.get("/api/models/{name}/commits/{revision:path}")
def show_commits(
    request: Request, registry: InRegistry, by: By, repository: Repository, main: ForReaders, revision: str
) -> Response:
    """List the versions up to a revision, newest first."""
    draft = look_for_draft(registry, by, repository, revision)
    commits = look_for_commits(registry, by, repository, revision if draft is None else MAIN, main=main)
    if draft is not None:
        commits = add_to_history(commits, draft.snapshot)
    if isinstance(commits, MissingContent):
        return missing(request, commits)
    return answers.answer_json(request, answers.commits(commits))


@router.head("/{ns}/{name}/resolve/{revision}/{path:path}")
@router.head("/{name}/resolve/{revision}/{path:path}")
def look_at_file(
    request: Request, registry: InRegistry, by: By, repository: Repository, main: ForReaders, revision: str, path: str
) -> Response:
    """Return a file's length, digest and commit as headers, without reading the file."""
    tree = _tree(registry, by, repository, revision, main=main)
    if isinstance(tree, MissingContent):
        return missing(request, tree)
    entry = next((file for file in tree.files if file.path == path), None)
    if entry is None:
        return missing(request, no_file(tree.snapshot, path, tree.files))
    headers = _headers(tree.snapshot, entry)
    if has_tag(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(headers=headers | {"Content-Length": str(entry.size_bytes)} | _warning(tree.snapshot))


@router.get("/{ns}/{name}/resolve/{revision}/{path:path}")
@router.get("/{name}/resolve/{revision}/{path:path}")
async def read_file(
    request: Request, registry: InRegistry, by: By, repository: Repository, main: ForReaders, revision: str, path: str
) -> Response:
    """Return a file as it was pushed, byte for byte, or a range of it.

    There is no redirect to the store: clients want the headers of the commit on the last answer,
    and the store holds packs, not files.
    """
    look = partial(_content, registry, by, repository, revision, path, main=main)
    content = await anyio.to_thread.run_sync(look)
    if isinstance(content, MissingContent):
        return missing(request, content)
    size, headers = content.entry.size_bytes, _headers(content.snapshot, content.entry)
    if has_tag(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    span = asked_range(request, size_bytes=size, tag=headers["ETag"])
    if span is not None and span[0] >= span[1]:
        return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{size}"})
    begin, end = span or (0, size)
    headers["Content-Length"] = str(end - begin)
    if span is not None:
        headers["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
    status = 200 if span is None else 206
    places = hub_state_of(request).hub_places
    return FileAnswer(request, content, (begin, end), status=status, headers=headers, places=places)


def _tree(registry: Registry, by: Caller, repository: str, revision: str, *, main: Main) -> CommitTree | MissingContent:
    """Find the commit of a revision: the caller's own draft, if that is meant, or a version."""
    draft = look_for_draft(registry, by, repository, revision)
    return draft or look_for_files(registry, by, repository, revision, main=main)


def _is_unknown(found: CommitTree | MissingContent) -> bool:
    return isinstance(found, MissingContent) and found.what == "anything"


def _content(
    registry: Registry, by: Caller, repository: str, revision: str, path: str, *, main: Main
) -> FileContent | StagedContent | MissingContent:
    draft = look_for_draft(registry, by, repository, revision)
    if draft is None:
        content = look_for_content(registry, by, repository, revision, path, main=main)
        if isinstance(content, FileContent) and not content.snapshot.held.is_base:
            note_pull(registry, by, content.snapshot.held.row_id)
        return content
    staged = look_for_staged(registry, by, draft, path)
    return staged or look_for_content(registry, by, repository, MAIN, path, main="newest")


def _describe_tree(request: Request, registry: Registry, found: CommitTree | MissingContent) -> Response:
    if isinstance(found, MissingContent):
        return missing(request, found)
    with_blobs = request.query_params.get("blobs", "").lower() in {"true", "1"}
    tags, card = look_at_tags(registry, found)
    only = request.query_params.getlist("expand")
    info = answers.model_info(found, tags, card, with_blobs=with_blobs, only=only)
    return answers.answer_json(request, info, _warning(found.snapshot))


def _headers(snapshot: Snapshot, file: CommitFile) -> dict[str, str]:
    tag, name = f'"{file.sha256}"', file.path.rpartition("/")[2]
    return {
        "ETag": tag,
        "X-Repo-Commit": snapshot.commit,
        "Accept-Ranges": "bytes",
        "X-Linked-ETag": tag,
        "X-Linked-Size": str(file.size_bytes),
        "Content-Type": "application/octet-stream",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": f'attachment; filename="{name}"',
    }


def _warning(snapshot: Snapshot) -> dict[str, str]:
    """Return the warning of a version as a header, which clients of 1.19 and later print."""
    if not snapshot.warning:
        return {}
    return hub_warning(snapshot.warning)
