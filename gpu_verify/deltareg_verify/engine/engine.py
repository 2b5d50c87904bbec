"""What checks ask of a running base with one delta; `torch_engine` implements it.

Values cross as NumPy arrays in float32, so checks depend on no framework.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from deltareg.delta.kind import Effect, WeightUpdate
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
        delta_rms: RMS of the difference, in float32 before rounding.
        weight_rms: RMS of the base's weight.
        is_vector: Whether the weight is a bias or a norm's scale, not a matrix or kernel.
        row_peak: RMS of the change of the matrix row that changes most.
        row_middle: The same of the median row among those that change at all.
        row: Which row changes most.
        kept: How much of the base's weight remains in the new one: the share along it, 1 where
            nothing is taken from it. It is not computed for products, which add to a weight.
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
        silent: Targets of effects that no forward used.
        not_exercised: Targets for which the base's class has no place, such as a new head.
        homeless: Those among them that are weights of the base and no head, so that the network in
            memory should have them: nobody can say what the delta does there.
        moved: The effects between modules that stand for no weight, and whether they ever returned
            something other than their input.
        shadowed: Silent targets whose modules no forward of the class calls: it reads the same tensor by
            others, all of which it called.
        undrawn: Kinds of input that the network takes and was not given: images, sounds.
        outputs: The outputs of that forward; None where nobody kept them. Its random numbers are
            drawn with another seed than those of other forwards.
    """

    effects: int
    silent: tuple[str, ...]
    not_exercised: tuple[str, ...]
    homeless: tuple[str, ...] = ()
    moved: Mapping[str, bool] = field(default_factory=dict[str, bool])
    outputs: Outputs | None = field(default=None, compare=False)
    shadowed: tuple[str, ...] = ()
    undrawn: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReloadOutcome:
    """How a folded model loads by the class that its config names, beside how its base loads.

    Attributes:
        missing: Parameters that no file holds, so they were newly initialised.
        unexpected: Tensors for which the class has no place.
        mismatched: Parameters whose shape differs from their tensor's.
        outputs: The outputs of a forward on the probe; None where its weights do not fit in memory
            at once, or where it need not run.
        is_same: Whether it is the network in memory with the folded weights, module by module and bit
            by bit, so its outputs are those of the folded state.
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    outputs: Outputs | None
    is_same: bool = False


@dataclass(frozen=True, slots=True)
class SecondOpinion:
    """What the library that wrote a delta makes of it.

    Attributes:
        library: Its name for pip.
        version: The installed version; empty when there is none, or none that can run here.
        outputs: The outputs of a forward on the probe with the delta that it loaded; None where it
            did not run.
        refusal: Its message where it did not load the delta.
        fault: Its message where it loaded the delta and did not run it.
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
        """Encode a text; `special` says whether to add special tokens, None follows the base."""
        ...

    def decode(self, tokens: Sequence[int], *, special: bool = False) -> str:
        """Decode tokens as text; `special` says whether to write special tokens, too."""
        ...


class DeltaEngine(Protocol):
    """A base and one delta's effects, applied in two ways that must agree.

    The base is loaded when outputs are first needed and never changed: each state is put on for one
    forward and taken off again. Every method may be called any number of times.

    All methods raise `Inconclusive` when the machine and not the delta is to blame, for example for
    too little memory.
    """

    @property
    def dtype(self) -> str:
        """The dtype that the base runs in, as safetensors spells it."""
        ...

    @property
    def config(self) -> Mapping[str, object]:
        """The network's configuration by base and delta together, as in `config.json`."""
        ...

    @property
    def is_foldable(self) -> bool:
        """Whether a folded state exists: every effect is on weights."""
        ...

    def changes(self) -> Sequence[WeightChange]:
        """Measure every weight update, without loading the base as a network."""
        ...

    def outputs(self, state: State, *, seed: int = 0) -> Outputs:
        """Return every floating output of a forward on the seeded probe.

        Args:
            state: The network's state.
            seed: For what the network itself draws at random; most draw nothing.
        """
        ...

    def reload_folded(self, config: Mapping[str, object]) -> ReloadOutcome:
        """Load the folded model by the class that a config names; run it on the probe if it is another network.

        Args:
            config: The folded folder's `config.json`.
        """
        ...

    def second_opinion(self, library: str, folder: Path, *, without: Sequence[WeightUpdate] = ()) -> SecondOpinion:
        """Load the delta from its folder by a library, and run it on the probe.

        Args:
            library: The library that wrote the delta, as its files name it.
            folder: The delta's folder.
            without: Effects whose tensors and modules the library does not get.
        """
        ...

    def find_outside_layers(self, targets: Iterable[str]) -> Collection[str]:
        """Return the targets that are not the weight of a linear layer, an embedding or a convolution."""
        ...

    def find_read_directly(self, targets: Iterable[str]) -> Collection[str]:
        """Return the targets whose module does not run: the network computes with the weight itself."""
        ...

    def outputs_for(self, state: State, inputs: Mapping[str, NDArray[np.generic]]) -> Outputs:
        """Return the outputs for other inputs, by parameter of the network's forward.

        Raises:
            InvalidInput: The network does not take them.
        """
        ...

    def find_fired(self) -> FiredEffects:
        """Return which effects took part in the attached forward on the probe."""
        ...

    def find_optional(self) -> Collection[str]:
        """Return the targets without which some call of the network does: by a flag, or with fewer inputs."""
        ...

    def find_overflowed(self) -> Sequence[str]:
        """Name the targets that are not finite once folded and rounded to the base's dtype."""
        ...

    def generate(self, count: int) -> NDArray[np.int64] | None:
        """Continue the probe greedily with the delta attached; None without a generative head."""
        ...

    def general(self, state: State, probes: BaseProbes, *, ways: Collection[str] | None = None) -> Figures:
        """Return the figures of a forward on the general probes of the base.

        Args:
            state: The network's state.
            probes: The probes.
            ways: The ways of batching to try; None tries all and leaves out those that do not run.
        """
        ...

    def losses(self, state: State, texts: Sequence[str]) -> F64 | None:
        """Return (n, 2): the summed loss of each text, and over how many tokens.

        None without a generative head or a tokenizer.
        """
        ...

    def encode(
        self, texts: Sequence[str], others: Sequence[str] | None = None
    ) -> Mapping[str, NDArray[np.int64]] | None:
        """Encode texts as inputs of the network, padded to one length; None without a tokenizer.

        Args:
            texts: One per row.
            others: The second text of each row, for networks that take pairs.
        """
        ...

    def write(self, state: State, inputs: Mapping[str, NDArray[np.generic]], count: int) -> list[list[int]] | None:
        """Continue each row of inputs greedily, up to its end or by `count` tokens.

        Returns the tokens after each row, the end token included; None for a network that does not
        write.

        Raises:
            InvalidInput: The network does not write from these inputs.
        """
        ...

    def vocabulary(self) -> Tokenizer | None:
        """Return the base's tokenizer, whatever its network does; None without one."""
        ...

    def tokenizer(self) -> Tokenizer | None:
        """Return the base's tokenizer; None without one, or without a generative head."""
        ...

    def log_likelihoods(self, state: State, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> F64:
        """Return how likely tokens are after others, on a network with a tokenizer.

        Returns:
            (n, 2): the sum over the tokens of the second of each pair, and one where each of them
            is the likeliest at its place, else zero. A pair that is too long is cut to its end.
        """
        ...

    def follow(
        self, state: State, tokens: Sequence[int], count: int, *, is_over: Callable[[Sequence[int]], bool]
    ) -> list[int]:
        """Continue tokens greedily, on a network with a tokenizer.

        Args:
            state: The network's state.
            tokens: At least one.
            count: How many tokens at most.
            is_over: Called after each token with all added ones; returns whether to end there.
        """
        ...

    def follow_all(
        self, state: State, texts: Sequence[Sequence[int]], count: int, *, end: int | None
    ) -> list[list[int]]:
        """Continue several texts greedily, on a network with a tokenizer.

        Args:
            state: The network's state.
            texts: The tokens of each.
            count: How many tokens at most for each.
            end: The token after which a text is over; None for none.
        """
        ...

    def seconds(self, state: State, count: int) -> Sequence[float]:
        """Time `count` forwards on the probe, after one that does not count."""
        ...

    def beside(self, effects: Sequence[Effect]) -> "DeltaEngine":
        """Return an engine of another delta on the same base, which is loaded once for both."""
        ...

    def in_dtype(self, dtype: str) -> "DeltaEngine":
        """Return the same engine with its base in a dtype; this one where it runs in that already.

        Args:
            dtype: As safetensors spells it; empty for the current one.
        """
        ...

    def peak_bytes(self) -> int:
        """Return the most memory held so far: the device's, or the process's on a CPU."""
        ...

    def environment(self) -> Mapping[str, str]:
        """Describe software and device, for the verdict."""
        ...
