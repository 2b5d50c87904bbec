"""What a comparison of behavior found, read from the document of `diff --mode behavior`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class _Read(BaseModel):
    """Read once and never changed; fields of a newer release are left aside."""

    model_config = ConfigDict(frozen=True)


class Interval(_Read):
    """A measure with its 95 % interval; None is no finite number."""

    value: float | None
    low: float | None
    high: float | None
    n: int


class Sample(_Read):
    """How far the two are apart on a sample; None where that cannot be said."""

    set: str
    number: int
    kl: float | None
    agreement: float | None
    cosine: float | None


class Continued(_Read):
    """How the two go on after a text, and where they part; None where they do not."""

    a: str
    b: str
    parts_at_token: int | None
    parts_at: int | None


class Prompt(Sample):
    """One of the samples that differ most."""

    text: str
    mean_abs: float | None
    continued: Continued | None


class Measure(_Read):
    """A measure of both, and its change; None where it does not apply."""

    name: str
    set: str
    a: Interval | None
    b: Interval | None
    change: Interval | None
    change_is: Literal["factor", "difference"] | None
    is_decided: bool | None


class Comparison(_Read):
    """A comparison of what two versions do."""

    a: str
    b: str
    is_different: bool
    source: Literal["prompts", "suite", "probe"]
    samples: int
    kl: Interval | None
    agreement: Interval | None
    mean_abs: Interval | None
    cosine: Interval | None
    by_sample: list[Sample]
    prompts: list[Prompt]
    measures: list[Measure]
    notes: list[str]
    same_base: bool
    device: str
    dtype: str
