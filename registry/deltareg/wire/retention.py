"""Retention: which versions a namespace or a line keeps, and which go by themselves."""

from typing import Annotated

from pydantic import Field

from deltareg.wire.messages import Answer, Request

_Label = Annotated[str, Field(min_length=1, max_length=200)]


class RetentionRule(Request):
    """What is kept of the versions of a kind; what nothing of it keeps goes.

    Attributes:
        kind: The kind of delta; empty for all that have no rule of their own.
        last: The newest so many are kept.
        days: Those that are younger are kept.
        promoted: Whether those that a channel has ever served are kept.
        semver: Whether those with a semantic version are kept.
        labels: Those with one of these labels are kept: `KEY` or `KEY=VALUE`, with `*` for anything.
    """

    kind: Annotated[str, Field(max_length=64)] = ""
    last: Annotated[int, Field(ge=0, le=10**9, strict=True)] | None = None
    days: Annotated[float, Field(ge=0, le=36_600)] | None = None
    promoted: bool = True
    semver: bool = True
    labels: Annotated[list[_Label], Field(max_length=50)] = []


class RetentionRuleInfo(Answer):
    """A rule that was set; the attributes are those of `RetentionRule`."""

    kind: str = ""
    last: int | None = None
    days: float | None = None
    promoted: bool = True
    semver: bool = True
    labels: list[str] = []


class RetentionSet(Request):
    """All rules of a namespace or a line, in place of those it had; none ends them.

    With `confirm`, a line may lose all of its versions.
    """

    rules: Annotated[list[RetentionRule], Field(max_length=50)]
    confirm: bool = False


class RetentionPlan(Answer):
    """What rules would let go now.

    Attributes:
        versions: How many versions.
        of: Of how many.
        bytes: What a collection frees once they are gone and cannot be restored any more.
        refs: The first of them, newest first within a line.
        kept: How many are kept, by why.
    """

    versions: int
    of: int
    bytes: int
    refs: list[str]
    kept: dict[str, int]


class RetentionInfo(Answer):
    """The rules of a namespace or a line.

    Attributes:
        of: Whose they are.
        rules: The rules by kind; a line without any follows those of its namespace.
        set_by: Who set them, and in whose name versions go.
        set_at: When.
        plan: What they would let go now.
    """

    of: str
    rules: list[RetentionRuleInfo]
    set_by: str
    set_at: str | None
    plan: RetentionPlan
