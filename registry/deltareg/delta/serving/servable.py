"""What an engine is asked of a delta, and what it answers."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

from deltareg.documents.json_values import is_list


@dataclass(frozen=True, slots=True)
class Delta:
    """A delta, as far as engines look.

    Attributes:
        kind: Its kind.
        variant: Its variant; empty when it has none.
        config: Its kind's configuration, as its manifest holds it.
        files: The paths of its files.
    """

    kind: str
    variant: str
    config: Mapping[str, object]
    files: Collection[str]

    @property
    def rank(self) -> int:
        """The largest rank that any of its modules has; 0 where it has none."""
        own = self.config.get("r")
        pattern = self.config.get("rank_pattern")
        more = [pair[1] for pair in pattern if is_list(pair)] if is_list(pattern) else []
        return max((rank for rank in (own, *more) if isinstance(rank, int)), default=0)


@dataclass(frozen=True, slots=True)
class Servability:
    """Whether an engine can serve a delta.

    Attributes:
        engine: Its name.
        obstacles: What it has that the engine does not serve, whatever its settings.
        rank: The rank that the engine's settings have to allow.
        needs: The setting that allows it.
    """

    engine: str
    obstacles: tuple[str, ...]
    rank: int = 0
    needs: str = ""

    @property
    def is_servable(self) -> bool:
        """Whether there are settings with which the engine serves it."""
        return not self.obstacles

    def __str__(self) -> str:
        """Say it in a line: `vllm, with --max-lora-rank 32`."""
        if self.obstacles:
            return f"not by {self.engine}: {'; '.join(self.obstacles)}"
        return f"{self.engine}, with {self.needs}" if self.needs else self.engine


class EngineLimits(Protocol):
    """What one engine can serve."""

    name: ClassVar[str]
    """What it is called."""

    default_rank: ClassVar[int]
    """The largest rank that it serves unless it is set up for more."""

    def judge(self, delta: Delta) -> Servability:
        """Say whether it can serve a delta."""
        ...
