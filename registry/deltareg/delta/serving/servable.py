"""What an engine needs to know about a delta, and its answer."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

from deltareg.documents.json_values import is_list

_OF_PEFT = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True, slots=True)
class ServableDelta:
    """The facts about a delta that engines depend on.

    Attributes:
        kind: Its kind.
        variant: Its variant; empty if it has none.
        config: Its kind's configuration, as its manifest holds it.
        files: The paths of its files.
    """

    kind: str
    variant: str
    config: Mapping[str, object]
    files: Collection[str]

    @property
    def called(self) -> str:
        """Its kind and variant, in words."""
        return f"{self.kind} ({self.variant})" if self.variant else self.kind

    @property
    def saved(self) -> tuple[str, ...]:
        """The modules that are saved whole."""
        saved = self.config.get("modules_to_save")
        return tuple(str(name) for name in saved) if is_list(saved) else ()

    @property
    def rank(self) -> int:
        """The largest rank among its modules; 0 if it has none."""
        own = self.config.get("r")
        pattern = self.config.get("rank_pattern")
        more = [pair[1] for pair in pattern if is_list(pair)] if is_list(pattern) else []
        return max((rank for rank in (own, *more) if isinstance(rank, int)), default=0)


@dataclass(frozen=True, slots=True)
class Servability:
    """Whether an engine can serve a delta.

    Attributes:
        engine: Its name.
        obstacles: Features of the delta that the engine does not serve, whatever its settings.
        rank: The rank that the engine's settings have to allow.
        needs: The setting that allows it.
    """

    engine: str
    obstacles: tuple[str, ...]
    rank: int = 0
    needs: str = ""

    @property
    def is_servable(self) -> bool:
        """Whether the engine can serve it with some settings."""
        return not self.obstacles

    def __str__(self) -> str:
        """Format it on one line: `vllm, with --max-lora-rank 32`."""
        if self.obstacles:
            return f"not by {self.engine}: {'; '.join(self.obstacles)}"
        return f"{self.engine}, with {self.needs}" if self.needs else self.engine


def beside_factors(delta: ServableDelta, *, but: Collection[str] = ()) -> Iterator[str]:
    """Describe what a LoRA has besides its factors; `but` are modules that do not matter."""
    if delta.config.get("lora_bias") or delta.config.get("bias", "none") != "none":
        yield "trained biases"
    saved = [name for name in delta.saved if name not in but]
    if saved:
        yield f"modules_to_save: {', '.join(saved)}"
    if delta.config.get("trainable_token_indices"):
        yield "trained tokens"


def not_as_peft_writes(delta: ServableDelta) -> Iterator[str]:
    """Describe what is missing where an engine expects the files of peft."""
    missing = [name for name in _OF_PEFT if name not in delta.files]
    if missing:
        yield f"not as peft writes it: {missing[0]} is missing"


class EngineLimits(Protocol):
    """The limits of one engine."""

    name: ClassVar[str]
    """What it is called."""

    default_rank: ClassVar[int | None]
    """The largest rank that it serves unless it is set up for more; None where there is none."""

    def judge(self, delta: ServableDelta) -> Servability:
        """Return whether the engine can serve a delta."""
        ...
