"""Features of the hub that a registry offers in another way, or not at all: each route says which.

Without these routes a client would print a bare 404. What has none of its own is answered by what
its address begins with.
"""

from contextlib import suppress
from typing import Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from deltareg.api.auth import InRegistry
from deltareg.api.hub.refusals import HubRoute, missing
from deltareg.api.hub.routes import ForReaders, Repository
from deltareg.api.hub.who import By, caller_of
from deltareg.errors import InvalidInput, NotFound
from deltareg.refs import LineRef
from deltareg.service.hub.history import look_for_refs
from deltareg.service.hub.snapshots import MissingContent

router = APIRouter(dependencies=[Depends(caller_of)], route_class=HubRoute, include_in_schema=False)
others = APIRouter(route_class=HubRoute, include_in_schema=False)
off = APIRouter(route_class=HubRoute, include_in_schema=False)
Words = tuple[str, str]
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_OF_MODEL: Final = "/api/models/{ns}/{name}"
_PROMOTE = "deltareg promote NS/NAME:vN --channel prod"
_NO_REQUESTS: Words = ("there are no pull requests here", f"push without create_pr, then: {_PROMOTE}")
_NO_TALKS: Words = ("there are no discussions here", "deltareg request --help tells how a promotion is asked for")
_NO_BRANCHES: Words = ("there are no branches here: commits go to main, channels are moved", _PROMOTE)
_NO_GATES: Words = ("nothing is gated here: roles say who reads", "deltareg member add NS NAME --role reader")
_NO_LIKES: Words = ("nothing is liked here; a version has labels", "deltareg label add NS/NAME:vN KEY=VALUE")
_NO_COPIES: Words = (
    "this interface copies nothing from one delta to another",
    "deltareg pull NS/NAME:vN --to DIR, then: deltareg push DIR NS/OTHER",
)
_ASKED: Final = {
    ("GET", f"{_OF_MODEL}/discussions/{{rest:path}}"): _NO_TALKS,
    ("POST", f"{_OF_MODEL}/discussions"): _NO_REQUESTS,
    ("POST", f"{_OF_MODEL}/discussions/{{rest:path}}"): _NO_TALKS,
    ("POST", f"{_OF_MODEL}/branch/{{rest:path}}"): _NO_BRANCHES,
    ("DELETE", f"{_OF_MODEL}/branch/{{rest:path}}"): _NO_BRANCHES,
    ("GET", f"{_OF_MODEL}/user-access-request/{{rest:path}}"): _NO_GATES,
    ("POST", f"{_OF_MODEL}/user-access-request/{{rest:path}}"): _NO_GATES,
    ("POST", f"{_OF_MODEL}/like"): _NO_LIKES,
    ("DELETE", f"{_OF_MODEL}/like"): _NO_LIKES,
    ("POST", f"{_OF_MODEL}/duplicate"): _NO_COPIES,
    ("POST", f"{_OF_MODEL}/lfs-files/duplicate"): _NO_COPIES,
    ("GET", f"{_OF_MODEL}/lfs-files"): ("all files are stored alike here", "list_repo_tree(NS/NAME, expand=True)"),
    ("POST", f"{_OF_MODEL}/lfs-files/batch"): ("a version keeps its files", "deltareg rm NS/NAME:vN"),
    ("POST", f"{_OF_MODEL}/super-squash/{{rest:path}}"): (
        "versions are what they were pushed as; nothing is squashed",
        "deltareg rm NS/NAME:vN",
    ),
    ("DELETE", "/api/repos/delete"): ("this interface deletes nothing", "deltareg rm NS/NAME"),
    ("POST", "/api/repos/move"): ("this interface moves nothing", "deltareg mv NS/NAME NS/OTHER"),
}
_ONLY_MODELS: Words = ("only models are kept here", "leave repo_type out")
_OTHERS: Final = {
    "datasets": _ONLY_MODELS,
    "spaces": _ONLY_MODELS,
    "kernels": _ONLY_MODELS,
    "buckets": _ONLY_MODELS,
    "collections": ("there are no collections here; versions have labels", "deltareg search --label KEY=VALUE"),
    "users": ("people have no profile here", "deltareg member ls NS"),
    "organizations": ("namespaces have members here, and no profile", "deltareg member ls NS"),
    "settings": ("a person has no settings here", "list_models(author=NS) lists; deltareg webhook ls has webhooks"),
    "models-tags-by-type": ("there is no list of all tags here", "list_models(filter=TAG), or deltareg search WORD"),
    "datasets-tags-by-type": _ONLY_MODELS,
    "papers": ("there are no papers here", "deltareg search WORD"),
    "daily_papers": ("there are no papers here", "deltareg search WORD"),
    "jobs": ("no jobs run here but verifications", "deltareg verify NS/NAME:vN"),
    "scheduled-jobs": ("no jobs run here but verifications", "deltareg verify NS/NAME:vN"),
    "repos": ("repositories are made by create_repo here", "deltareg push PATH NS/NAME"),
    "models": ("this part of the hub's interface is not here", "deltareg help lists what there is"),
}
_OFF = (
    "this server does not answer clients of the Hugging Face Hub: DELTAREG_HUB=false",
    "deltareg push PATH NS/NAME, or deltareg pull NS/NAME; whoever runs the server can take the setting out",
)
_OFF_AT = (
    "/api/models",
    "/api/models/{rest:path}",
    "/api/repos/{rest:path}",
    "/api/whoami-v2",
    "/api/validate-yaml",
    "/{ns}/{name}/resolve/{rest:path}",
    "/{name}/resolve/{rest:path}",
)


def refuse(request: Request) -> None:
    """Refuse the request, and say how it is done here.

    Raises:
        InvalidInput: Always.
    """
    message, fix = _ASKED[request.method, request.scope["route"].path]
    ns, name = (str(request.path_params.get(part, "")).lower() for part in ("ns", "name"))
    with suppress(InvalidInput):
        fix = fix.replace("NS/NAME", str(LineRef.parse(f"{ns}/{name}")))
    raise InvalidInput(message, fix=fix)


def refuse_other(request: Request) -> Response:
    """Answer what this registry has nothing of."""
    message, fix = _OTHERS[request.url.path.removeprefix("/api/").partition("/")[0]]
    return missing(request, MissingContent("anything", NotFound(message, fix=fix)))


def say_off(request: Request) -> Response:
    """Answer that the interface is switched off, and what there is instead."""
    return missing(request, MissingContent("anything", NotFound(_OFF[0], fix=_OFF[1])))


@router.get(f"{_OF_MODEL}/discussions")
def list_discussions(
    request: Request, registry: InRegistry, by: By, repository: Repository, main: ForReaders
) -> Response:
    """List the discussions of a repository: there are none."""
    return _none_of(request, registry, by, repository, main, {"discussions": [], "count": 0, "start": 0})


@router.get(f"{_OF_MODEL}/likers")
def list_likers(request: Request, registry: InRegistry, by: By, repository: Repository, main: ForReaders) -> Response:
    """List who likes a repository: nobody does."""
    return _none_of(request, registry, by, repository, main, [])


def _none_of(
    request: Request, registry: InRegistry, by: By, repository: str, main: ForReaders, nothing: object
) -> Response:
    refs = look_for_refs(registry, by, repository, main=main)
    return missing(request, refs) if isinstance(refs, MissingContent) else JSONResponse(nothing)


for _method, _path in _ASKED:
    router.add_api_route(_path, refuse, methods=[_method])
for _first in _OTHERS:
    others.add_api_route(f"/api/{_first}", refuse_other, methods=[*_METHODS])
    others.add_api_route(f"/api/{_first}/{{rest:path}}", refuse_other, methods=[*_METHODS])
for _path in _OFF_AT:
    off.add_api_route(_path, say_off, methods=[*_METHODS])
