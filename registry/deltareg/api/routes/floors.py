"""Floors: what the server and namespaces ask of every channel."""

from fastapi import Request, Response

from deltareg.api.auth import By, InRegistry
from deltareg.api.closed import closed_router
from deltareg.api.conditions import json_answer, policy_tag, seen_policy
from deltareg.api.routes.members import NamespaceName
from deltareg.service.channels import floors as service
from deltareg.wire import FloorChange, FloorInfo, FloorSet

router = closed_router("floors")


@router.get("/policy", response_model=FloorInfo)
def show_server_policy(registry: InRegistry, by: By) -> Response:
    """Show what the server asks of every channel; the ETag is what replacing it needs."""
    return _answer_floor(service.show_floor(registry, by, None))


@router.put("/policy", response_model=FloorChange)
def set_server_policy(request: Request, registry: InRegistry, by: By, body: FloorSet) -> Response:
    """Replace what the server asks of every channel; `If-Match` holds the ETag of what stands."""
    change = service.set_floor(registry, by, None, body, is_seen=seen_policy(request))
    return json_answer(change, headers={"ETag": policy_tag(change.digest)})


@router.get("/namespaces/{ns}/policy", response_model=FloorInfo)
def show_namespace_policy(registry: InRegistry, by: By, ns: NamespaceName) -> Response:
    """Show what a namespace asks of its channels; the ETag is what replacing it needs."""
    return _answer_floor(service.show_floor(registry, by, ns))


@router.put("/namespaces/{ns}/policy", response_model=FloorChange)
def set_namespace_policy(request: Request, registry: InRegistry, by: By, ns: NamespaceName, body: FloorSet) -> Response:
    """Replace what a namespace asks of its channels; `If-Match` holds the ETag of what stands."""
    change = service.set_floor(registry, by, ns, body, is_seen=seen_policy(request))
    return json_answer(change, headers={"ETag": policy_tag(change.digest)})


def _answer_floor(found: FloorInfo) -> Response:
    return json_answer(found, headers={"ETag": policy_tag(found.digest)})
