"""Quotas: limits, and what is used of them."""

from typing import Annotated

from pydantic import Field

from deltareg.wire.messages import Answer, Request
from deltareg.words import QuotaResource

Most = Annotated[int, Field(ge=0, le=2**62, strict=True)]
Limits = dict[QuotaResource, Most | None]
"""Limits by resource; `null` is no limit, although there is one for all."""


class QuotaSet(Request):
    """All limits of one name, in place of those it had; what is left out is as for all.

    `null` is no limit, although there is one for all. Bytes are bytes, minutes are those of
    verification in a month.
    """

    limits: Limits


class QuotaUse(Answer):
    """How much of a resource is used.

    Attributes:
        resource: Which one.
        used: How much of it counts now.
        limit: How much at most; none without a limit.
        percent: How much of the limit is used; none without one.
        is_own: Whether the limit is its own, and not the one of all.
        frees: What would free room, where much is used and one quota was asked for.
    """

    resource: QuotaResource
    used: int
    limit: int | None
    percent: int | None
    is_own: bool
    frees: list[str] = []


class QuotaInfo(Answer):
    """The quotas of a namespace, of a person (`@ana`), or of all that have none of their own (`*`, `@*`).

    Attributes:
        name: Whose they are.
        limits: The limits that were set for it, by resource; null is none.
        uses: What is used of each resource; nothing for all.
    """

    name: str
    limits: dict[QuotaResource, int | None]
    uses: list[QuotaUse] = []
