"""What a kind of delta is: it recognises files and declares effects, which the engine applies.

Three effects serve every kind. `WeightUpdate` changes a stored weight and can be folded;
`ActivationHook` and `PrefixInsert` act on a running model and can only be attached. Effects are
built from headers alone: they hold tensors that read their data when asked, so the same effects
serve lint (no data), the server (no data), fold (NumPy) and the worker (torch).
"""

from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Literal, Protocol

from deltareg.delta.maths.formula import Array, Ops, Tensor, Update
from deltareg.delta.names import NameMap
from deltareg.digest import Digest
from deltareg.errors import Problem
from deltareg.identity.fingerprint import TensorRecord
from deltareg.identity.manifest import Source
from deltareg.tensors.header import SafetensorsHeader

AGAIN = "_again"
"""Ends the role of a tensor that repeats the delta's shared one of that role, and must equal it."""

DECLARED = 3
"""The strength of a match by what a config declares; of two such matches, the files are refused."""


@dataclass(frozen=True, slots=True)
class WeightUpdate:
    """A stored weight gets a new value.

    Attributes:
        target: The weight's name in the base's files; a new name when `reads` differs.
        update: The formula.
        consumes: Names of the delta's tensors that it uses, with their roles.
        reads: The base weight that it starts from, when that is not `target` (an untied twin).
        shape: The new shape when it grows rows (a resized vocabulary); None keeps the base's.
        dtype: The dtype of the result; empty keeps the base's.
    """

    target: str
    update: Update
    consumes: Mapping[str, str]
    reads: str = ""
    shape: tuple[int, ...] | None = None
    dtype: str = ""

    @property
    def source(self) -> str:
        """The base weight that is read."""
        return self.reads or self.target


@dataclass(frozen=True, slots=True)
class Addition:
    """A tensor that the base does not have: a new head, declared by the delta's config.

    Attributes:
        target: Its name in the folded result.
        tensor: The tensor itself.
        consumes: Names of the delta's tensors that it uses, with their roles.
    """

    target: str
    tensor: Tensor
    consumes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BaseCopy:
    """A copy of a base weight inside the delta: no effect, but evidence of which base it was.

    Attributes:
        target: The base weight that it must equal.
        tensor: The copy.
        consumes: Names of the delta's tensors that it uses, with their roles.
        rows: How many leading rows must be equal; None for all.
    """

    target: str
    tensor: Tensor
    consumes: Mapping[str, str]
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class Tap:
    """A value that a hook reads besides the one that it changes.

    Attributes:
        module: By in-memory path; empty for the whole network.
        what: What goes into the module, what comes out, or the module itself as a function. Or, of
            the whole network, the prompt: the tokens that its cache began with, which are those of
            the same call where it has no cache.
        argument: Which input or output: its position, or the name of a keyword argument.
    """

    module: str
    what: Literal["input", "output", "function", "prompt"]
    argument: int | str = 0


@dataclass(frozen=True, slots=True)
class HookInputs:
    """The inputs of a hook in one forward.

    Attributes:
        arrays: By the name of its tap; a tap whose argument is absent or None is left out.
        functions: Modules as functions, by the name of their tap.
    """

    arrays: Mapping[str, Array] = field(default_factory=dict[str, Array])
    functions: Mapping[str, Callable[[Array], Array]] = field(default_factory=dict[str, "Callable[[Array], Array]"])


class Hook(Protocol):
    """The function of an activation hook."""

    def apply(self, value: Array, seen: HookInputs, ops: Ops) -> Array:
        """Return the replacement of `value` (…, features), float32, not rounded."""
        ...


@dataclass(frozen=True, slots=True)
class ActivationHook:
    """A function between modules of the running model; attach only.

    Attributes:
        module: The module that is hooked, by in-memory path.
        when: Before (its first input changes) or after (its output does; the first of a tuple).
        taps: What else the function reads, by a name of the hook's choice.
        consumes: Names of the delta's tensors that it uses, with their roles.
        hook: The function.
        invoked_by: Tokens, one after the other, without which it changes nothing; a probe has them.
        is_placed: Whether it acts on places counted from a text's ends, whatever stands there.
    """

    module: str
    when: Literal["before", "after"]
    taps: Mapping[str, Tap]
    consumes: Mapping[str, str]
    hook: Hook
    invoked_by: tuple[int, ...] = ()
    is_placed: bool = False


class PrefixVectors(Protocol):
    """The source of a prefix's vectors."""

    def make(self, ops: Ops) -> tuple[Array, ...]:
        """Return keys and values, (n, heads, width) each; for tokens and embeddings one (n, d)."""
        ...


@dataclass(frozen=True, slots=True)
class PrefixInsert:
    """Vectors put before the keys and values, or before the tokens; attach only.

    Attributes:
        site: An attention, the tokens that the network is given, or an embedding module's output.
        module: The module, by in-memory path; empty for the whole network (site `tokens`).
        shift: By how much the positions of the real tokens move.
        vectors: The vectors to insert.
        consumes: Names of the delta's tensors that it uses, with their roles.
        gate: A factor per row on keys and on values (b, 2, 1), or one for both (b, 1, 1), from the
            module's hidden states.
    """

    site: Literal["attention", "tokens", "embeddings"]
    module: str
    shift: int
    vectors: PrefixVectors
    consumes: Mapping[str, str]
    gate: Hook | None = None


Effect = WeightUpdate | Addition | BaseCopy | ActivationHook | PrefixInsert
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class BaseView:
    """What a kind may know about the base.

    Attributes:
        root: Its exact fingerprint.
        tensors: Names (as in its files), dtypes, shapes and digests.
        config: Its `config.json`; of a pipeline the list of its components.
        names: File names ↔ module names.
        components: Of a pipeline, the `config.json` of every component; each is a folder, and its
            name stands before those of its tensors.
    """

    root: Digest
    tensors: Mapping[str, TensorRecord]
    config: Mapping[str, object]
    names: NameMap
    components: Mapping[str, Mapping[str, object]] = field(default_factory=dict[str, "Mapping[str, object]"])


@dataclass(frozen=True, slots=True)
class DeltaFiles:
    """The files of a push as a kind sees them: headers and JSON documents, no tensor data.

    Attributes:
        sizes: Every carried file with its size in bytes.
        headers: The parsed header of every safetensors file.
        documents: Every `.json` file that a kind may have to read, parsed strictly.
        convention: `absolute`, `additive`, or empty when the user did not say.
    """

    sizes: Mapping[str, int]
    headers: Mapping[str, SafetensorsHeader]
    documents: Mapping[str, Mapping[str, object]]
    convention: str = ""

    @property
    def names(self) -> frozenset[str]:
        """Names of all tensors of all files."""
        return frozenset(name for header in self.headers.values() for name in header.tensors)


@dataclass(frozen=True, slots=True)
class Match:
    """A kind that recognised files, with the evidence.

    Attributes:
        kind: The kind's name.
        evidence: The evidence, in words for people.
        strength: 3 a config names the kind; 2 tensor names are the kind's own; 1 by elimination.
    """

    kind: str
    evidence: str
    strength: int


class DeltaKind(Protocol):
    """One delta as its configuration describes it."""

    @property
    def name(self) -> str:
        """The kind, a word of docs/kinds.md that commands and filters use."""
        ...

    @property
    def variant(self) -> str:
        """The variant within the kind, `dora`, `rslora`, … or empty."""
        ...

    @property
    def foldable(self) -> bool:
        """Whether every effect is on weights."""
        ...

    @property
    def source(self) -> Source:
        """The library that wrote the files."""
        ...

    def config(self) -> dict[str, object]:
        """The normalised configuration for the manifest: no floats, only what changes the maths."""
        ...

    def problems(self, files: DeltaFiles, base: BaseView) -> list[Problem]:
        """Check config and tensors against each other, from headers alone."""
        ...

    def effects(self, tensors: Tensors, base: BaseView) -> list[Effect]:
        """Declare what the delta does. Every tensor must end up in exactly one effect."""
        ...


class KindReader(Protocol):
    """One layout of one kind of delta, one file in `deltareg.delta.kinds`.

    A reader is a class with class methods, or a value such as a `PeftKind` of the peft layout.
    `parse` refuses what it does not know: a flag that is not at its default and has no meaning
    here is an error, never ignored.
    """

    @property
    def name(self) -> str:
        """The kind that it reads."""
        ...

    @property
    def layout(self) -> str:
        """The layout that it reads, such as `peft LOHA`; no two readers share one."""
        ...

    def recognise(self, files: DeltaFiles, base: BaseView) -> Match | None:
        """Return the match if the files are of this kind, by evidence; else None, never a guess."""
        ...

    def parse(self, files: DeltaFiles, base: BaseView) -> DeltaKind:
        """Read the configuration.

        Raises:
            Refused: `missing_config`, `bad_config`, `custom_code`, `convention_needed`, ….
        """
        ...


@dataclass(frozen=True, slots=True)
class NetworkClass:
    """The class of network that base and delta form when the delta brings its own head.

    Attributes:
        architecture: The class, as transformers calls it.
        labels: The classes that its head tells apart, in order; empty if it tells none apart.
        is_guess: Whether no config names the class, and it was chosen because it has a place for
            the head.
        config: The delta's own `config.json`, if it differs from the base's.
    """

    architecture: str
    labels: tuple[str, ...] = ()
    is_guess: bool = False
    config: Mapping[str, object] | None = None

    def changes(self, config: Mapping[str, object]) -> dict[str, object]:
        """Return the fields of a `config.json` that must change for this class."""
        fields: dict[str, object] = {}
        if config.get("architectures") != [self.architecture]:
            fields["architectures"] = [self.architecture]
        labels = config.get("id2label", (0, 1))  # a config without it means two
        if self.labels and isinstance(labels, Sized) and len(labels) != len(self.labels):
            fields["id2label"] = {str(at): label for at, label in enumerate(self.labels)}
            fields["label2id"] = {label: at for at, label in enumerate(self.labels)}
        return fields


@dataclass(frozen=True, slots=True)
class Account:
    """The engine's account of a delta: which effect consumes each tensor, and what is wrong.

    Attributes:
        effects: The kind's effects.
        roles: For every consumed tensor its role and target.
        problems: What is wrong; with an error the delta is refused.
        modules: How many base tensors or modules are hit.
        delta: The kind as its configuration was read; None when that was refused.
        network_class: The class of base and delta together; None if it is the base's.
    """

    effects: Sequence[Effect]
    roles: Mapping[str, tuple[str, str]]
    problems: Sequence[Problem] = field(default_factory=tuple)
    modules: int = 0
    delta: DeltaKind | None = None
    network_class: NetworkClass | None = None

    @property
    def is_accepted(self) -> bool:
        """Whether no problem is an error."""
        return self.delta is not None and all(p.severity != "error" for p in self.problems)

    @property
    def has_base_evidence(self) -> bool:
        """Whether the delta carries copies of base weights, which tie it to its base."""
        return any(isinstance(effect, BaseCopy) for effect in self.effects)
