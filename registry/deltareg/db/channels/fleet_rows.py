"""Rows of agents, and of the channels that they follow."""

from dataclasses import dataclass

from deltareg.words import BaseState


@dataclass(frozen=True, slots=True)
class AgentRow:
    """An agent."""

    id: int
    name: str
    principal_id: int
    engine: str
    every_us: int
    seen_at: int


@dataclass(frozen=True, slots=True)
class FollowerRow:
    """What an agent serves for a channel, and what the channel says now."""

    id: int
    agent_id: int
    channel_id: int
    revision: int
    version: int | None
    digest: str | None
    state: str
    error: str
    since: int
    base: BaseState
    trouble: str
    told: str | None
    agent: str
    engine: str
    seen_at: int
    every_us: int
    age_us: int
    owner: str
    namespace: str
    line: str
    channel: str
    desired_revision: int
    desired_version: int | None
    desired_digest: str | None
    is_revoked: bool


@dataclass(frozen=True, slots=True)
class FollowerStateRow:
    """The columns of a follower that are needed to count it."""

    state: str
    digest: str | None
    base: BaseState
    every_us: int
    age_us: int
    desired_digest: str | None
    is_revoked: bool
