"""What a kind of delta is: it recognises files and declares effects; the engine applies them.

Three effects serve every kind. `WeightUpdate` changes a stored weight and can be folded;
`ActivationHook` and `PrefixInsert` act on a running model and can only be attached. Effects are
built from headers alone: they hold tensors that read their data when asked, so the same effects
serve lint (no data), the server (no data), fold (NumPy) and the worker (torch).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol, Self, runtime_checkable

from deltareg.digest import Digest
from deltareg.errors import Problem
from deltareg.fingerprint import TensorRecord
from deltareg.manifest import Source
from deltareg.names import NameMap
from deltareg.tensors import SafetensorsHeader


class Array(Protocol):
    """What formulas may use of an array; NumPy and torch arrays both have it. Always float32."""

    @property
    def T(self) -> "Array":  # noqa: N802  # the name that NumPy and torch share
        """The transpose of a matrix."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions."""
        ...

    def __add__(self, other: "Array | float") -> "Array":
        """Add elementwise."""
        ...

    def __sub__(self, other: "Array | float") -> "Array":
        """Subtract elementwise."""
        ...

    def __mul__(self, other: "Array | float") -> "Array":
        """Multiply elementwise."""
        ...

    def __truediv__(self, other: "Array | float") -> "Array":
        """Divide elementwise."""
        ...

    def __matmul__(self, other: "Array") -> "Array":
        """Multiply as matrices."""
        ...

    def __getitem__(self, key: slice | tuple[slice, ...], /) -> "Array":
        """Take a slice."""
        ...

    def reshape(self, *shape: int) -> "Array":
        """View it under another shape."""
        ...


class Tensor(Protocol):
    """A tensor of a file; without its data, `read` raises `InvalidInput`."""

    @property
    def name(self) -> str:
        """Its name in the file."""
        ...

    @property
    def dtype(self) -> str:
        """The safetensors dtype."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions."""
        ...

    def read(self, start: int = 0, stop: int | None = None) -> memoryview:
        """Give the bytes of rows `start:stop` of the first dimension (all, for a scalar)."""
        ...


class Ops(Protocol):
    """The few operations that NumPy and torch spell differently."""

    def load(self, tensor: Tensor, start: int = 0, stop: int | None = None) -> Array:
        """Read rows `start:stop` of a tensor as float32, exactly."""
        ...

    def row_norms(self, matrix: Array) -> Array:
        """Euclidean norm of every row: (n, m) -> (n, 1)."""
        ...

    def column_norms(self, matrix: Array) -> Array:
        """Euclidean norm of every column: (n, m) -> (1, m)."""
        ...

    def with_rows(self, matrix: Array, rows: Sequence[int], values: Array) -> Array:
        """Put `values` (len(rows), …) in place of rows; a row that is not there is left out."""
        ...

    def svd_part(self, matrix: Array, rank: int) -> Array:
        """Give what the `rank` largest singular values make up of a matrix: (n, m) -> (n, m)."""
        ...

    def qr_part(self, matrix: Array, rank: int) -> Array:
        """Give Q[:, :rank] @ R[:rank] of the matrix's QR decomposition: (n, m) -> (n, m)."""
        ...


class Update(Protocol):
    """A formula for the new value of a weight."""

    @property
    def needs_whole(self) -> bool:
        """Whether `fold` must see all rows at once (most need only their own rows)."""
        ...

    @property
    def replaces(self) -> bool:
        """Whether the result does not depend on the weight that was there."""
        ...

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        """Give the new rows.

        Args:
            weight: Rows `start:stop` of the base weight, float32.
            start: First row.
            stop: One past the last row.
            ops: The array library's operations.

        Returns:
            The same rows after the update, float32, not rounded.
        """
        ...


@runtime_checkable
class Stored(Protocol):
    """An update whose result is a tensor of the delta, bit for bit, whatever its dtype."""

    @property
    def stored(self) -> Tensor:
        """The tensor."""
        ...


@runtime_checkable
class Factored(Protocol):
    """An update that is `scale · left @ right`: norms and angles come without the dense product."""

    def factors(self, ops: Ops) -> tuple[Array, Array, float]:
        """Give left (n_out, r), right (r, n_in) and the scale, in the orientation of the weight."""
        ...


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


class Hook(Protocol):
    """The function of an activation hook."""

    def apply(self, value: Array, taps: Sequence[Array], ops: Ops) -> Array:
        """Give what goes on in place of `value` (…, features); `taps` in the order declared."""
        ...


@dataclass(frozen=True, slots=True)
class ActivationHook:
    """A function between modules of the running model; attach only.

    Attributes:
        module: The module that is hooked, by in-memory path.
        when: Before or after the module's forward.
        taps: Other modules whose inputs or outputs the function reads.
        consumes: Names of the delta's tensors that it uses, with their roles.
        hook: The function.
    """

    module: str
    when: Literal["before", "after"]
    taps: tuple[str, ...]
    consumes: Mapping[str, str]
    hook: Hook


@dataclass(frozen=True, slots=True)
class PrefixInsert:
    """Vectors put before the keys and values, or before the tokens; attach only.

    Attributes:
        site: Where they go in.
        module: The module, by in-memory path.
        shift: Whether positions of the real tokens start after the prefix.
        consumes: Names of the delta's tensors that it uses, with their roles.
    """

    site: Literal["attention", "tokens", "embeddings"]
    module: str
    shift: bool
    consumes: Mapping[str, str]


Effect = WeightUpdate | Addition | BaseCopy | ActivationHook | PrefixInsert
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class BaseView:
    """What a kind may know of the base.

    Attributes:
        root: Its exact fingerprint.
        tensors: Names (as in its files), dtypes, shapes and digests.
        config: Its `config.json`.
        names: File names ↔ module names.
    """

    root: Digest
    tensors: Mapping[str, TensorRecord]
    config: Mapping[str, object]
    names: NameMap


@dataclass(frozen=True, slots=True)
class DeltaFiles:
    """What a push carries, as far as headers and JSON files say; no tensor data.

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
    """A kind recognised files, and why.

    Attributes:
        kind: The kind's name.
        evidence: What it was recognised by, for people.
        strength: 3 a config names the kind; 2 tensor names are the kind's own; 1 by elimination.
    """

    kind: str
    evidence: str
    strength: int


class DeltaKind(Protocol):
    """One kind of delta, one file in `deltareg.kinds`.

    A kind is a frozen dataclass of what its configuration says. `parse` refuses what it does not
    know: a flag that is not at its default and has no meaning here is an error, never ignored.
    """

    name: ClassVar[str]

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

    @classmethod
    def recognise(cls, files: DeltaFiles, base: BaseView) -> Match | None:
        """Say whether these files are of this kind, by evidence; never a guess."""
        ...

    @classmethod
    def parse(cls, files: DeltaFiles, base: BaseView) -> Self:
        """Read the configuration.

        Raises:
            Refused: `missing_config`, `bad_config`, `custom_code`, `convention_needed`, ….
        """
        ...

    def config(self) -> dict[str, object]:
        """The normalised configuration for the manifest: no floats, only what changes the maths."""
        ...

    def problems(self, files: DeltaFiles, base: BaseView) -> list[Problem]:
        """Hold config and tensors against each other; headers only, nothing is read."""
        ...

    def effects(self, tensors: Tensors, base: BaseView) -> list[Effect]:
        """Declare what the delta does. Every tensor must end up in exactly one effect."""
        ...


@dataclass(frozen=True, slots=True)
class Account:
    """The engine's account of a delta: who consumes what, and what is wrong.

    Attributes:
        effects: The kind's effects.
        roles: For every consumed tensor its role and target.
        problems: What is wrong; an error refuses the delta.
        modules: How many base tensors or modules are hit.
        delta: The kind as its configuration was read; None when that was refused.
    """

    effects: Sequence[Effect]
    roles: Mapping[str, tuple[str, str]]
    problems: Sequence[Problem] = field(default_factory=tuple)
    modules: int = 0
    delta: DeltaKind | None = None

    @property
    def is_accepted(self) -> bool:
        """Whether no problem is an error."""
        return self.delta is not None and all(p.severity != "error" for p in self.problems)

    @property
    def has_base_evidence(self) -> bool:
        """Whether the delta carries copies of base weights, which tie it to its base."""
        return any(isinstance(effect, BaseCopy) for effect in self.effects)
