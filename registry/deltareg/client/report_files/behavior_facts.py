"""The outcome of a behavior comparison, read from the document of `diff --mode behavior`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class _Read(BaseModel):
    """Read once and never changed; unknown fields of a newer release are ignored."""

    model_config = ConfigDict(frozen=True)


class BehaviorInterval(_Read):
    """A measure with its 95 % interval; None stands for a number that is not finite."""

    value: float | None
    low: float | None
    high: float | None
    n: int


class BehaviorSample(_Read):
    """How far the two versions are apart on a sample; None where that cannot be said."""

    set: str
    number: int
    kl: float | None
    agreement: float | None
    cosine: float | None


class BehaviorContinuation(_Read):
    """How both versions continue a text, and where they part; None if they do not."""

    a: str
    b: str
    parts_at_token: int | None
    parts_at: int | None


class BehaviorPrompt(BehaviorSample):
    """One of the samples that differ most."""

    text: str
    mean_abs: float | None
    continued: BehaviorContinuation | None


class BehaviorMeasure(_Read):
    """A measure of both versions, and its change; None where it does not apply."""

    name: str
    set: str
    a: BehaviorInterval | None
    b: BehaviorInterval | None
    change: BehaviorInterval | None
    change_is: Literal["factor", "difference"] | None
    is_decided: bool | None


class BehaviorComparison(_Read):
    """A comparison of what two versions do."""

    a: str
    b: str
    is_different: bool
    source: Literal["prompts", "suite", "probe"]
    samples: int
    kl: BehaviorInterval | None
    agreement: BehaviorInterval | None
    mean_abs: BehaviorInterval | None
    cosine: BehaviorInterval | None
    by_sample: list[BehaviorSample]
    prompts: list[BehaviorPrompt]
    measures: list[BehaviorMeasure]
    notes: list[str]
    same_base: bool
    device: str
    dtype: str
