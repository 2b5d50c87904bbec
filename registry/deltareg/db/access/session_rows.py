"""Rows of browser sessions."""

from dataclasses import dataclass

from deltareg.db.access.rows import LiveTokenRow


@dataclass(frozen=True, slots=True)
class LiveSessionRow(LiveTokenRow):
    """A live session, with the live token that it stands for.

    Attributes:
        session_id: The session's row.
        used_at: When a page was last asked for, as it was noted.
        ends_at: When it ends, or its token if that is earlier.
    """

    session_id: int
    used_at: int
    ends_at: int


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session as its owner sees it."""

    id: int
    token_id: int
    browser: str
    begun_at: int
    used_at: int
    expires_at: int
    ended_at: int | None
