"""The fleet: agents report, and people look."""

from deltareg.api.auth import By, InRegistry
from deltareg.api.closed import closed_router
from deltareg.service.channels import fleet as service
from deltareg.wire import AgentReport, FollowerInfo, Page

router = closed_router("fleet", prefix="/fleet/agents")


@router.get("")
def list_followers(
    registry: InRegistry, by: By, of: str | None = None, cursor: str | None = None, limit: int = 50
) -> Page[FollowerInfo]:
    """List followers with what they serve and what their channels say: of `ns/name`, or all."""
    return service.list_followers(registry, by, of, cursor=cursor, limit=limit)


@router.put("/{agent}", status_code=204)
def report_agent(registry: InRegistry, by: By, agent: str, body: AgentReport) -> None:
    """Say, as an agent, what is followed and how it goes; an agent's name is its principal's."""
    service.report_agent(registry, by, agent, body)


@router.delete("/{agent}", status_code=204)
def forget_agent(registry: InRegistry, by: By, agent: str) -> None:
    """Remove an agent that is gone from the lists."""
    service.forget_agent(registry, by, agent)
