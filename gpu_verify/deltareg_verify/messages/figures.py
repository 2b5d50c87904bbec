"""The measures of a network on the general probes of its base, as numbers that can be stored.

Those of the base itself are measured once and stored with it, so they hold no tensors.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self, cast

from pydantic import TypeAdapter, ValidationError

from deltareg.documents.json_values import parse_json
from deltareg.errors import InvalidInput

FORMAT = 2
MOST_BYTES = 64 << 10
"""How long figures are at most; they are a few kilobytes."""


@dataclass(frozen=True, slots=True)
class ProbeLoss:
    """A summed loss, in nats, and over how many tokens."""

    total: float
    tokens: int

    @property
    def mean(self) -> float:
        """The loss per token."""
        return self.total / self.tokens


@dataclass(frozen=True, slots=True)
class TokenOdds:
    """How likely a special token is, over all places.

    Attributes:
        share: Its mean probability.
        log: The mean logarithm of its probability, in nats.
    """

    share: float
    log: float


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """How a network predicts classes.

    Attributes:
        count: How many classes there are.
        said: Entropy of its mean prediction over all inputs, in nats.
        sure: Mean entropy of its prediction for each input, in nats.
        variation: How much its scores differ from input to input: their deviation from the mean
            over all inputs, as a share of their size.
        of_frames: Whether it names the sound of each frame of a recording (CTC).
    """

    count: int
    said: float
    sure: float
    variation: float
    of_frames: bool = False

    @property
    def informed(self) -> float:
        """How much an answer reveals of its input: their mutual information, in nats."""
        return self.said - self.sure


@dataclass(frozen=True, slots=True)
class VectorSpread:
    """How far apart the vectors of different inputs are.

    Attributes:
        distance: The mean of 1 - cosine over all pairs.
        size: The root mean square of their lengths.
    """

    distance: float
    size: float


@dataclass(frozen=True, slots=True)
class Figures:
    """All figures of a network; what a network does not have is empty.

    Attributes:
        losses: By class of text: a language, a programming language, `chat`.
        special: By the token's purpose: `eos`, `bos`, `pad`, `newline`.
        classes: For a classifier.
        spreads: By output.
        batching: By way of calling it, the largest difference from the plain way, as a share of the
            outputs' size.
        refusal: Why there are none: the base's error on its probes.
    """

    losses: Mapping[str, ProbeLoss] = field(default_factory=dict[str, ProbeLoss])
    special: Mapping[str, TokenOdds] = field(default_factory=dict[str, TokenOdds])
    classes: ClassFigures | None = None
    spreads: Mapping[str, VectorSpread] = field(default_factory=dict[str, VectorSpread])
    batching: Mapping[str, float] = field(default_factory=dict[str, float])
    refusal: str = ""

    @property
    def known(self) -> tuple[str, ...]:
        """The classes of text that it predicts best, with at least half of all tokens.

        A small base has not learnt every language, and what it never knew cannot be destroyed.
        """
        by_class = {name: one for name, one in self.losses.items() if one.tokens}
        enough = sum(one.tokens for one in by_class.values()) / 2
        classes: list[str] = []
        for name in sorted(by_class, key=lambda name: by_class[name].mean):
            if sum(by_class[other].tokens for other in classes) < enough:
                classes.append(name)
        return tuple(classes)

    def perplexity(self, classes: Iterable[str]) -> float | None:
        """Return the exponential of the loss per token over some classes; None without any."""
        losses = [self.losses[name] for name in classes if name in self.losses]
        tokens = sum(one.tokens for one in losses)
        if not tokens:
            return None
        mean = sum(one.total for one in losses) / tokens
        return math.exp(min(mean, 700.0)) if math.isfinite(mean) else math.inf

    @property
    def is_finite(self) -> bool:
        """Whether all figures are finite; others cannot be stored."""
        try:
            self.encode()
        except ValueError:
            return False
        return True

    def encode(self) -> bytes:
        """Encode it as JSON.

        Raises:
            ValueError: Some figures are not finite.
        """
        document = {"format": FORMAT, **asdict(self)}
        return json.dumps(document, allow_nan=False, sort_keys=True).encode()

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Decode what `encode` wrote.

        Raises:
            InvalidInput: It is something else.
        """
        try:
            values = cast("dict[str, Any]", parse_json(raw))
            if len(raw) > MOST_BYTES or values.pop("format", None) != FORMAT:
                raise InvalidInput("the figures of the base are of another release")
            figures = TypeAdapter(cls).validate_python(values)
        except (ValidationError, ValueError, TypeError, AttributeError) as error:
            raise InvalidInput(f"these are no figures of a base: {str(error)[:200]}") from error
        if not figures.is_finite:
            raise InvalidInput("the figures of the base are no numbers")
        return figures
