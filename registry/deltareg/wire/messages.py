"""The two roots of all messages, and lists of them."""

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1
API = "/api/v1"

Outcome = Literal["pass", "fail", "inconclusive"]
Text = Annotated[str, Field(max_length=2_000)]
Item = TypeVar("Item")


class Answer(BaseModel):
    """Base of what the server sends: frozen, and open to new fields."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Request(BaseModel):
    """Base of what a client sends: an unknown field is an error, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Page(Answer, Generic[Item]):
    """One page of a list; `next_cursor` is null on the last."""

    items: list[Item]
    next_cursor: str | None = None
