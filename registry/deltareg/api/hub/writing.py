"""The writing routes for clients of the hub: `push_to_hub`, `upload_folder`, a trainer's pushes.

A commit is applied over the current files of the line, and the program that everybody pushes with
makes a version of it. Clients print `error` of a refusal, and the header `X-HF-Warning`.
"""

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, cast

import anyio.to_thread
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from deltareg.api.app_state import state_of
from deltareg.api.auth import InRegistry
from deltareg.api.hub.building import PushProgram
from deltareg.api.hub.commit_body import COMMIT_BYTES, read_commit
from deltareg.api.hub.hub_state import hub_state_of
from deltareg.api.hub.large_files import announced_files, batch_answer, line_of, objects_of
from deltareg.api.hub.preupload import modes
from deltareg.api.hub.refusals import HubRoute, hub_warning, in_a_header
from deltareg.api.hub.routes import Repository
from deltareg.api.hub.who import By, caller_of
from deltareg.api.json_bodies import parse_sent
from deltareg.api.problems import request_id_of
from deltareg.api.sent_bodies import chunks_of, spool_body
from deltareg.documents.json_values import is_object
from deltareg.documents.model_card import MOST_CARD_BYTES, read_front, split_card
from deltareg.errors import Forbidden, InvalidInput, Unavailable
from deltareg.refs import LineRef
from deltareg.service.hub.committing import CommitOutcome, commit, look_at_standing
from deltareg.service.hub.line_revisions import MAIN
from deltareg.service.push.staging import stage, take_ticket
from deltareg.service.registry import Caller, Registry

router = APIRouter(dependencies=[Depends(caller_of)], route_class=HubRoute, include_in_schema=False)
tickets = APIRouter(route_class=HubRoute, include_in_schema=False)
_SPOOL_BYTES = 1 << 20
_LFS: Final = "application/vnd.git-lfs+json"


async def body_of(request: Request) -> Mapping[str, object]:
    """Read the body of a request as a small JSON object.

    Raises:
        InvalidInput: The body is no JSON object.
    """
    try:
        body = parse_sent(await request.body())
    except InvalidInput:
        body = None
    if not is_object(body):
        raise InvalidInput("the body is no JSON object")
    return body


Body = Depends(body_of)


@tickets.post("/api/validate-yaml")
def validate_front_matter(body: Mapping[str, object] = Body) -> Response:
    """Warn of front matter that cannot be read. A README is data here, and refuses nothing.

    Clients ask this without a token.
    """
    front, _ = split_card(str(body.get("content") or "")[:MOST_CARD_BYTES])
    try:
        read_front(front)
    except InvalidInput as error:
        return JSONResponse({"errors": [], "warnings": [{"message": f"README.md: {in_a_header(error.message)}"}]})
    return JSONResponse({"errors": [], "warnings": []})


@router.post("/api/models/{ns}/{name}/preupload/{revision:path}")
def preupload(
    registry: InRegistry, by: By, repository: Repository, revision: str, body: Mapping[str, object] = Body
) -> Response:
    """Answer, before any file is sent, whether and how to send each one."""
    line = line_of(repository, by)
    _check_revision(line, revision)
    standing = look_at_standing(registry, by, line)
    file_modes = modes(line, announced_files(body), standing.files)
    return JSONResponse({"files": file_modes, "commitOid": standing.commit})


@router.post("/{ns}/{name}.git/info/lfs/objects/batch")
def prepare_large(
    request: Request, registry: InRegistry, by: By, repository: Repository, body: Mapping[str, object] = Body
) -> Response:
    """Return the addresses to send large files to."""
    line = line_of(repository, by)
    standing = look_at_standing(registry, by, line)
    if body.get("operation") != "upload":
        raise InvalidInput("large files are read by /resolve/ here")
    root = str(request.base_url).rstrip("/")
    answer = batch_answer(registry, by, line, objects_of(body), standing.files, root=root)
    return JSONResponse(answer, media_type=_LFS)


@router.post("/{ns}/{name}.git/info/lfs/verify")
def verify_large(by: By, repository: Repository) -> Response:
    """Confirm a large file: its length and digest were checked when it was received."""
    line_of(repository, by)
    return JSONResponse({})


@tickets.put("/lfs/{ticket}")
async def receive_large(request: Request, registry: InRegistry, ticket: str) -> Response:
    """Receive one file, streamed to the store; knowing the address is the right to send it."""
    row = await anyio.to_thread.run_sync(take_ticket, registry, ticket)
    announced = request.headers.get("Content-Length", "")
    if announced != str(row.size_bytes):
        raise InvalidInput(f"{row.size_bytes} bytes were announced, these are {announced or '?'}")

    def receive() -> None:
        stage(
            registry,
            row.line,
            row.principal_id,
            sha256=row.sha256,
            size_bytes=row.size_bytes,
            body=chunks_of(request, "file"),
        )

    state = state_of(request)
    async with state.bodies.hold(row.principal_id):
        await anyio.to_thread.run_sync(receive, limiter=state.body_limiter)
    return Response(status_code=200)


@router.post("/api/models/{ns}/{name}/commit/{revision:path}")
async def make_commit(
    request: Request, registry: InRegistry, by: By, repository: Repository, revision: str
) -> Response:
    """Apply a commit, and answer when the version exists."""
    line = line_of(repository, by)
    _check_revision(line, revision)
    if request.query_params.get("create_pr", "") in {"1", "true"}:
        raise InvalidInput(
            "there are no pull requests here",
            fix=f"push without create_pr, then: deltareg promote {line}:vN --channel prod",
        )
    with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as spool:
        await spool_body(request, "commit", spool, most_bytes=COMMIT_BYTES)
        spool.seek(0)
        run = partial(_commit, request, registry, by, line, cast("BinaryIO", spool))
        outcome = await anyio.to_thread.run_sync(run, limiter=hub_state_of(request).hub_builds)
    url = f"{str(request.base_url).rstrip('/')}/{line}/commit/{outcome.commit}"
    body = {"success": True, "commitOid": outcome.commit, "commitUrl": url, "hookOutput": "", "pullRequestUrl": None}
    return JSONResponse(body, headers=hub_warning(outcome.description))


def _commit(request: Request, registry: Registry, by: Caller, line: LineRef, body: BinaryIO) -> CommitOutcome:
    def keep(sha256: str, raw: bytes) -> None:
        stage(registry, str(line), by.principal_id, sha256=sha256, size_bytes=len(raw), body=[raw])

    look_at_standing(registry, by, line)  # before anything of it is kept
    operations = read_commit(body, stage=keep)
    with (
        hub_state_of(request).hub_turns.of(str(line)),
        tempfile.TemporaryDirectory(prefix="deltareg-commit-") as folder,
    ):
        files, home = Path(folder, "files"), Path(folder, "home")
        files.mkdir()
        home.mkdir()
        program = PushProgram(_own_address(request), _token(request), home, request_id_of(request))
        return commit(registry, by, line, operations, push=program, scratch=files)


def _own_address(request: Request) -> str:
    """Return the address by which the server reaches itself, never one that the request names."""
    configured = hub_state_of(request).hub_address
    if configured:
        return configured
    server = request.scope.get("server")
    if configured is not None or server is None or server[1] is None:
        raise Unavailable(
            "the server does not know an address at which it reaches itself",
            fix="whoever runs it sets DELTAREG_HUB_ADDRESS; until then: deltareg push",
        )
    host = f"[{server[0]}]" if ":" in server[0] else server[0]
    return f"http://{host}:{server[1]}"


def _token(request: Request) -> str:
    return request.headers.get("Authorization", "").partition(" ")[2].strip()


def _check_revision(line: LineRef, revision: str) -> None:
    """Refuse commits to any branch but `main`.

    Raises:
        Forbidden: The revision is another branch; channels move by promoting.
    """
    if revision.removeprefix("refs/heads/") != MAIN:
        raise Forbidden(
            f"commits go to main, and {revision[:80]!r} is none of those here: a channel is moved by promoting",
            fix=f"deltareg promote {line}:v1 --channel NAME",
        )
