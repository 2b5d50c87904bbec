"""Repositories as a whole, for clients of the hub: the list of them, making one, its settings."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from deltareg.api.auth import InRegistry
from deltareg.api.hub import answers
from deltareg.api.hub.large_files import line_of
from deltareg.api.hub.refusals import HubRoute, hub_warning
from deltareg.api.hub.routes import ForReaders, Repository
from deltareg.api.hub.who import By, caller_of
from deltareg.api.hub.writing import Body
from deltareg.db.hub.hub_lines import RepositoryOrder
from deltareg.errors import InvalidInput
from deltareg.service.hub.drafts import begin_draft
from deltareg.service.hub.listing import MOST_ROWS, RepositoryQuery, list_repositories
from deltareg.service.hub.person import look_at_person
from deltareg.service.hub.tagging import add_tag, remove_tag
from deltareg.service.hub.visibility import change_visibility, make_visible
from deltareg.service.registry import Caller, Registry

router = APIRouter(dependencies=[Depends(caller_of)], route_class=HubRoute, include_in_schema=False)
_ORDERS: Final[Mapping[str, RepositoryOrder]] = MappingProxyType(
    {
        "": "name",
        "lastModified": "modified",
        "last_modified": "modified",
        "createdAt": "created",
        "created_at": "created",
    }
)
_UNCOUNTED = ("downloads", "downloadsAllTime", "likes", "likes30d", "trendingScore", "trending_score")
_NOT_KNOWN = ("apps", "inference", "inference_provider", "num_parameters")
_TRUE = ("1", "true")


@router.get("/api/models")
def list_models(request: Request, registry: InRegistry, by: By, main: ForReaders) -> Response:
    """List the deltas that the caller may read, a page at a time; `Link` has the next one."""
    given = request.query_params
    for name in _NOT_KNOWN:
        if name in given:
            raise InvalidInput(
                f"deltas are not listed by {name} here",
                fix="list them by search, author, filter and pipeline_tag, or with more conditions: deltareg search",
            )
    sort, only = given.get("sort", ""), given.getlist("expand")
    if given.get("gated", "").lower() in _TRUE:
        return JSONResponse([])  # nothing is gated here
    asked = RepositoryQuery(
        search=" ".join(given.getlist("search")),
        author=given.get("author", ""),
        tags=[tag for name in ("filter", "pipeline_tag") for tag in given.getlist(name)],
        order=_order(sort, given.get("direction", "")),
    )
    listed, cursor = list_repositories(
        registry, by, asked, main=main, cursor=given.get("cursor"), limit=_limit(given.get("limit"))
    )
    is_full, with_card = (given.get(name, "").lower() in _TRUE for name in ("full", "cardData"))
    headers: dict[str, str] = {}
    if cursor is not None:
        headers["Link"] = f'<{request.url.include_query_params(cursor=cursor)}>; rel="next"'
    if sort in _UNCOUNTED:
        headers |= hub_warning(f"{sort} is not counted here; the list is by name")
    also = ("lastModified",) if asked.order == "modified" else ()
    models = [answers.listed_model(one, is_full=is_full, with_card=with_card, also=also, only=only) for one in listed]
    return answers.answer_json(request, models, headers)


@router.post("/api/repos/create")
def create_repository(request: Request, registry: InRegistry, by: By, body: Mapping[str, object] = Body) -> Response:
    """Begin a draft of a line; others see the line once it has a version."""
    if str(body.get("type") or "model") != "model":
        raise InvalidInput("only models are kept here", fix="leave repo_type out")
    name, owner = str(body.get("name") or ""), str(body.get("organization") or "")
    if "/" not in name and not owner:
        owner = _own_namespace(registry, by)
    line = line_of(f"{owner}/{name}" if owner else name, by)
    warning = make_visible(registry, by, line, is_private=_is_private(body))
    is_new = begin_draft(registry, by, line)
    headers = hub_warning(warning) if warning else {}
    answer: dict[str, object] = {
        "url": f"{str(request.base_url).rstrip('/')}/{line}",
        "name": str(line),
        "id": str(line),
    }
    if is_new:
        return JSONResponse(answer, headers=headers)
    message = f"{line} is there already"
    return JSONResponse(answer | {"error": message}, 409, headers)


@router.put("/api/models/{ns}/{name}/settings")
def change_settings(
    registry: InRegistry, by: By, repository: Repository, body: Mapping[str, object] = Body
) -> Response:
    """Change the visibility of a namespace with one delta, and accept settings that hold already."""
    line = line_of(repository, by)
    if body.get("gated"):
        raise InvalidInput(
            "nothing is gated here: roles say who reads", fix=f"deltareg member add {line.namespace} NAME --role reader"
        )
    warning = change_visibility(registry, by, line, is_private=_is_private(body))
    return JSONResponse({}, headers=hub_warning(warning) if warning else {})


@router.post("/api/models/{ns}/{name}/tag/{revision:path}")
def create_tag(
    registry: InRegistry, by: By, repository: Repository, revision: str, body: Mapping[str, object] = Body
) -> Response:
    """Put a tag on a version: a label without a value."""
    tag = body.get("tag")
    if not isinstance(tag, str) or not tag:
        raise InvalidInput("a tag is a text", fix='create_tag("ns/name", tag="best")')
    add_tag(registry, by, line_of(repository, by), revision, tag)
    message = body.get("message")
    headers = hub_warning(f"the tag {tag} is a label of the version; its message is not kept") if message else {}
    return JSONResponse({}, headers=headers)


@router.delete("/api/models/{ns}/{name}/tag/{tag:path}")
def delete_tag(registry: InRegistry, by: By, repository: Repository, tag: str) -> Response:
    """Take a tag from its version."""
    remove_tag(registry, by, line_of(repository, by), tag)
    return JSONResponse({})


def _order(sort: str, direction: str) -> RepositoryOrder:
    if direction not in {"", "-1"}:
        raise InvalidInput("lists begin with the newest here", fix="leave direction out")
    if sort in _UNCOUNTED:
        return "name"
    if sort not in _ORDERS:
        raise InvalidInput(f"there is no order {sort[:40]!r} here", fix="sort by last_modified or created_at")
    return _ORDERS[sort]


def _limit(text: str | None) -> int:
    if text is None:
        return MOST_ROWS
    if not (text.isascii() and text.isdecimal()) or int(text[:9]) < 1:
        raise InvalidInput(f"limit is a number from 1 on, not {text[:20]!r}", fix="leave limit out")
    return int(text[:9])


def _is_private(body: Mapping[str, object]) -> bool | None:
    """Return whether a repository is to be private; None if the client says nothing of it."""
    private, visibility = body.get("private"), body.get("visibility")
    if visibility is None:
        return private if isinstance(private, bool) else None
    if visibility not in {"private", "public"}:
        raise InvalidInput(f"there is no visibility {str(visibility)[:40]!r} here", fix="say private or public")
    return visibility == "private"


def _own_namespace(registry: Registry, by: Caller) -> str:
    """Return the namespace of a caller who names none: their own, or the only one they push to."""
    person = look_at_person(registry, by)
    own = person.name.lower()
    if own in person.pushes_to or by.may_found(own) or len(person.pushes_to) != 1:
        return own
    return person.pushes_to[0]
