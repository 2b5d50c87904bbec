"""Followers on the wire: what an agent reports, and what its channels say."""

from typing import Annotated

from pydantic import Field

from deltareg.wire.messages import Answer, Request, Text
from deltareg.words import BaseState, Drift, EngineName, FollowState


class Observed(Request):
    """What a follower serves for one channel, as it sees it itself.

    Attributes:
        channel: `ns/name@prod`.
        revision: The newest revision that it has carried out; 0 before the first.
        version: What it serves; None where it serves nothing, or cannot tell yet.
        digest: The same by its manifest.
        state: How it goes with what the channel says now.
        error: Why it failed; empty unless it did.
        base: What is known of the base that the engine serves. With a wrong one nothing is served.
        trouble: What else is wrong: an old version, say, that the engine does not unload.
    """

    channel: Annotated[str, Field(max_length=200)]
    revision: Annotated[int, Field(ge=0, lt=1 << 31)] = 0
    version: Annotated[int, Field(ge=1, lt=1 << 31)] | None = None
    digest: Annotated[str, Field(max_length=100)] | None = None
    state: FollowState = "ok"
    error: Text = ""
    base: BaseState = "unchecked"
    trouble: Text = ""


class AgentReport(Request):
    """All that an agent follows; what an earlier report named and this does not is forgotten.

    Attributes:
        engine: How it serves.
        every_s: Seconds until its next report at the latest.
        serves: One entry a channel.
    """

    engine: EngineName
    every_s: Annotated[float, Field(gt=0, le=3_600)]
    serves: Annotated[list[Observed], Field(max_length=64)]


class FollowerInfo(Answer):
    """One channel that one agent follows: what the channel says, and what the agent serves.

    Attributes:
        drift: `none`; `silent` when three reports in a row did not come; `failed` when the agent
            cannot serve what the channel says; `behind` while it serves something else, or a version
            that was revoked.
        is_revoked: Whether the version that it serves was revoked.
        base: Whether the engine's base was found to be the version's; `wrong` serves nothing.
        trouble: What else is wrong on the host; empty where nothing is.
        since: When the agent began to serve this version in this state.
        every_s: Seconds between two of its reports at most.
    """

    agent: str
    owner: str
    engine: str
    channel: str
    desired_revision: int
    desired_version: int | None
    desired_digest: str | None
    revision: int
    version: int | None
    digest: str | None
    state: str
    error: str
    drift: Drift
    base: BaseState = "unchecked"
    trouble: str = ""
    since: str
    seen_at: str
    seen_age_s: float
    every_s: float = 0
    is_revoked: bool = False
