"""A request with all that is needed to decide on it."""

from deltareg.db.channels import beside_requests, requests
from deltareg.db.session import read
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import SHARED
from deltareg.service.channels.fleet import show_follower
from deltareg.service.channels.requests import before_its_gate, find_request
from deltareg.service.channels.setbacks import setbacks_in_sight
from deltareg.service.registry import Caller, Registry
from deltareg.wire import Answer, FollowerInfo, RequestInfo, Setback


class RequestOverview(Answer):
    """A request and its surroundings.

    Attributes:
        request: The request.
        passed: The verdicts that it rests on, in words; only for an open request.
        setbacks: The channels on which its version, or one with the same bytes in another line, was
            rolled back and is quarantined.
        serves: What each channel of the line serves now, by its name; None for nothing.
        agents: The first 200 followers of its channel.
    """

    request: RequestInfo
    passed: list[str]
    setbacks: list[Setback]
    serves: dict[str, int | None]
    agents: list[FollowerInfo]


def show_request_around(registry: Registry, caller: Caller, request_id: int) -> RequestOverview:
    """Show a request to somebody who decides on it.

    Raises:
        NotFound: There is no request with that number.
    """
    caller.require(Right.READ, on=SHARED)
    with read(registry.engine) as conn:
        row = find_request(conn, caller, request_id)
        combined = beside_requests.around_request(conn, row.id)
        accepted = [each.warning for each in combined.all(requests.WARNINGS)]
        info, passes = before_its_gate(conn, row, combined.all(requests.APPROVALS), accepted)
    return RequestOverview(
        request=info,
        passed=passes,
        setbacks=setbacks_in_sight(caller, combined.all(beside_requests.SETBACKS)),
        serves={each.name: each.version for each in combined.all(beside_requests.NAMES)},
        agents=[show_follower(each) for each in combined.all(beside_requests.FOLLOWERS)],
    )
