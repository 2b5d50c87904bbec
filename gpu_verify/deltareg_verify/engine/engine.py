"""What checks ask of a running base with one delta; `torch_engine` answers.

Values cross as NumPy arrays in float32, so a check knows no framework.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from deltareg.delta.kind import Effect
from deltareg.suites.base_probes import BaseProbes
from deltareg_verify.messages.figures import Figures

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
State = Literal["base", "attached", "folded"]
Outputs = Mapping[str, F32]
OTHER_SEED = 1
"""Of what a network draws at random, where a second forward is to draw something else."""


@dataclass(frozen=True, slots=True)
class WeightChange:
    """How large the change of one weight is, as root mean squares over its elements.

    Attributes:
        target: The weight's name in the base's files.
        delta_rms: Of the difference, in float32 before rounding.
        weight_rms: Of the base's weight.
        is_vector: Whether it is a bias or a norm's scale, not a matrix or kernel.
        row_peak: Of the row of a matrix that changes most.
        row_middle: Of the middle one of its rows that change at all.
        row: Which one changes most.
        kept: How much of the base's weight is in the new one: the share along it, 1 where nothing
            is taken from it. Of products, which add to a weight, nobody asks.
    """

    target: str
    delta_rms: float
    weight_rms: float
    is_vector: bool = False
    row_peak: float = 0.0
    row_middle: float = 0.0
    row: int = 0
    kept: float = 1.0


@dataclass(frozen=True, slots=True)
class FiredEffects:
    """Which effects took part in a forward.

    Attributes:
        effects: How many effects are on the running network.
        silent: Targets of those that no forward used.
        not_exercised: Targets for which this class of the base has no place, such as a new head.
        homeless: Those among them that are weights of the base and no head, so that the network in
            memory should have them: nobody can say what the delta does there.
        moved: Those that act between modules and stand for no weight, and whether they ever gave
            back something else than they were given.
        outputs: What that forward gave; None where nobody kept it. What is drawn at random in it is
            drawn with another seed than in others.
    """

    effects: int
    silent: tuple[str, ...]
    not_exercised: tuple[str, ...]
    homeless: tuple[str, ...] = ()
    moved: Mapping[str, bool] = field(default_factory=dict[str, bool])
    outputs: Outputs | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class ReloadOutcome:
    """How a folded model loads by the class that its config names, beside how its base does.

    Attributes:
        missing: Parameters that no file holds, and were newly initialised.
        unexpected: Tensors for which the class has no place.
        mismatched: Parameters that are of another shape than their tensor.
        outputs: Of a forward on the probe; None where its weights do not fit in memory at once.
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    outputs: Outputs | None


@dataclass(frozen=True, slots=True)
class SecondOpinion:
    """What the library that wrote a delta says of it.

    Attributes:
        library: As pip calls it.
        version: The installed one; empty when there is none, or none that can run here.
        outputs: Of a forward on the probe with the delta loaded by it; None where it did not run.
        refusal: What it said instead of loading the delta.
        fault: What it said instead of running the delta, once loaded.
    """

    library: str
    version: str = ""
    outputs: Outputs | None = None
    refusal: str = ""
    fault: str = ""


class Tokenizer(Protocol):
    """How the base cuts texts into tokens."""

    @property
    def begin(self) -> int | None:
        """The token before a text; None where the base has none."""
        ...

    @property
    def end(self) -> int | None:
        """The token after a text; None where the base has none."""
        ...

    @property
    def most(self) -> int:
        """How many tokens the network takes at once."""
        ...

    def encode(self, text: str, *, special: bool | None = None) -> list[int]:
        """Cut a text; `special` says whether marks are put around it, else the base's own way."""
        ...

    def decode(self, tokens: Sequence[int], *, special: bool = False) -> str:
        """Write tokens as text; `special` says whether marks are written, too."""
        ...


class DeltaEngine(Protocol):
    """A base and one delta's effects, applied in two ways that must agree.

    The base is loaded when outputs are first asked for and never changed: each state is put on for
    one forward and taken off again. Every method may be called any number of times.

    All methods raise `Inconclusive` when the machine and not the delta is to blame, such as for
    too little memory.
    """

    @property
    def dtype(self) -> str:
        """The dtype that the base runs in, as safetensors spells it."""
        ...

    @property
    def config(self) -> Mapping[str, object]:
        """What base and delta together say of the network, as `config.json` does."""
        ...

    @property
    def is_foldable(self) -> bool:
        """Whether there is a folded state: every effect is on weights."""
        ...

    def changes(self) -> Sequence[WeightChange]:
        """Size every weight update, without loading the base as a network."""
        ...

    def outputs(self, state: State, *, seed: int = 0) -> Outputs:
        """Give every floating output of a forward on the seeded probe.

        Args:
            state: Of the network.
            seed: Of what the network itself draws at random; most draw nothing.
        """
        ...

    def reload_folded(self, config: Mapping[str, object]) -> ReloadOutcome:
        """Load what folding gives by the class that a config names, and run it on the probe.

        Args:
            config: The folded folder's `config.json`.
        """
        ...

    def second_opinion(self, library: str, folder: Path) -> SecondOpinion:
        """Have a library load the delta from its folder and run it on the probe.

        Args:
            library: As the delta's files name what wrote them.
            folder: The delta's.
        """
        ...

    def outputs_for(self, state: State, inputs: Mapping[str, NDArray[np.generic]]) -> Outputs:
        """The same on inputs of one's own, by parameter of the network's forward.

        Raises:
            InvalidInput: The network does not take them.
        """
        ...

    def find_fired(self) -> FiredEffects:
        """Tell which effects took part in the attached forward on the probe."""
        ...

    def find_overflowed(self) -> Sequence[str]:
        """Name targets that are not finite once folded and rounded to the base's dtype."""
        ...

    def generate(self, count: int) -> NDArray[np.int64] | None:
        """Continue the probe greedily with the delta attached; None without a generative head."""
        ...

    def general(self, state: State, probes: BaseProbes, *, ways: Collection[str] | None = None) -> Figures:
        """Give the figures of a forward on the general probes of the base.

        Args:
            state: Of the network.
            probes: The probes.
            ways: The ways of batching to try; None tries all and leaves out what does not run.
        """
        ...

    def losses(self, state: State, texts: Sequence[str]) -> F64 | None:
        """Give (n, 2): the summed loss of each text, and over how many tokens.

        None without a generative head or a tokenizer.
        """
        ...

    def encode(
        self, texts: Sequence[str], others: Sequence[str] | None = None
    ) -> Mapping[str, NDArray[np.int64]] | None:
        """Give texts as inputs of the network, padded to one length; None without a tokenizer.

        Args:
            texts: One a row.
            others: The second text of each row, for networks that look at two at once.
        """
        ...

    def write(self, state: State, inputs: Mapping[str, NDArray[np.generic]], count: int) -> list[list[int]] | None:
        """Go on greedily from each row of inputs, up to its end or by so many tokens.

        Gives what came after each, its end included; None of a network that does not write.

        Raises:
            InvalidInput: The network does not write from these.
        """
        ...

    def vocabulary(self) -> Tokenizer | None:
        """Give the base's tokenizer, whatever its network does; None without one."""
        ...

    def tokenizer(self) -> Tokenizer | None:
        """Give the base's tokenizer; None without one, or without a generative head."""
        ...

    def log_likelihoods(self, state: State, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> F64:
        """Say how likely tokens are after others, on a network with a tokenizer.

        Returns:
            (n, 2): the sum over the tokens of the second of each pair, and one where each of them
            is the likeliest at its place, else zero. Of a pair that is too long the end counts.
        """
        ...

    def follow(
        self, state: State, tokens: Sequence[int], count: int, *, is_over: Callable[[Sequence[int]], bool]
    ) -> list[int]:
        """Continue tokens greedily, on a network with a tokenizer.

        Args:
            state: In which state.
            tokens: At least one.
            count: How many tokens at most.
            is_over: Asked after each token, with all that were added; whether to end there.
        """
        ...

    def seconds(self, state: State, count: int) -> Sequence[float]:
        """Time so many forwards on the probe, after one that is not counted."""
        ...

    def beside(self, effects: Sequence[Effect]) -> "DeltaEngine":
        """Give an engine of another delta on the same base, which is loaded once for both."""
        ...

    def in_dtype(self, dtype: str) -> "DeltaEngine":
        """Give an engine of the same whose base runs in a dtype; this one where it does already.

        Args:
            dtype: As safetensors spells it; empty for whatever it runs in.
        """
        ...

    def peak_bytes(self) -> int:
        """The most memory held so far: the device's, or the process's on a CPU."""
        ...

    def environment(self) -> Mapping[str, str]:
        """Describe software and device, for the verdict."""
        ...
