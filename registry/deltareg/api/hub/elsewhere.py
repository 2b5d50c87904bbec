"""Features of the hub that a registry offers in another way: each route says which.

Without these routes a client would print a bare 404.
"""

from typing import Final

from fastapi import APIRouter, Depends, Request

from deltareg.api.hub.refusals import HubRoute
from deltareg.api.hub.who import caller_of
from deltareg.errors import InvalidInput

router = APIRouter(dependencies=[Depends(caller_of)], route_class=HubRoute, include_in_schema=False)
_OF_MODEL: Final = "/api/models/{ns}/{name}"
_PROMOTE = "deltareg promote NS/NAME:vN --channel prod"
_NO_REQUESTS = ("there are no pull requests here", f"push without create_pr, then: {_PROMOTE}")
_NO_BRANCHES = ("there are no branches here: commits go to main, channels are moved", _PROMOTE)
_NO_TAGS = ("versions are numbered here, and labelled", "deltareg label NS/NAME:vN KEY=VALUE")
_ASKED: Final = {
    ("POST", f"{_OF_MODEL}/discussions"): _NO_REQUESTS,
    ("POST", f"{_OF_MODEL}/branch/{{rest:path}}"): _NO_BRANCHES,
    ("DELETE", f"{_OF_MODEL}/branch/{{rest:path}}"): _NO_BRANCHES,
    ("POST", f"{_OF_MODEL}/tag/{{rest:path}}"): _NO_TAGS,
    ("DELETE", f"{_OF_MODEL}/tag/{{rest:path}}"): _NO_TAGS,
    ("POST", f"{_OF_MODEL}/super-squash/{{rest:path}}"): (
        "versions are what they were pushed as; nothing is squashed",
        "deltareg rm NS/NAME:vN",
    ),
    ("DELETE", "/api/repos/delete"): ("this interface deletes nothing", "deltareg rm NS/NAME:vN"),
    ("POST", "/api/repos/move"): (
        "this interface moves nothing",
        "push it under the other name: deltareg push PATH NS/NAME",
    ),
}


def refuse(request: Request) -> None:
    """Refuse the request, and say how it is done here.

    Raises:
        InvalidInput: Always.
    """
    message, fix = _ASKED[request.method, request.scope["route"].path]
    raise InvalidInput(message, fix=fix)


for _method, _path in _ASKED:
    router.add_api_route(_path, refuse, methods=[_method])
