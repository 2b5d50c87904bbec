"""A LoRA described by tensor names alone, as a value: how names are read and where they lead."""

from collections.abc import Callable
from dataclasses import dataclass, field

from deltareg.delta.kind import BaseView, DeltaFiles, Match, Tensors
from deltareg.delta.kind_value import DeltaOfValue
from deltareg.delta.layouts.bare_pairs.plan import PairPlan, PairTensorName, Where, plan_pairs, ranks_of
from deltareg.delta.layouts.originals.original import OriginalModule
from deltareg.delta.layouts.peft.config import CONFIG_FILE as PEFT_CONFIG
from deltareg.errors import Problem, Refused
from deltareg.identity.manifest import Source

Reader = Callable[[str], PairTensorName | None]
Finder = Callable[[str], Where]


def _nothing(_: DeltaFiles) -> list[Problem]:
    return []


def _nothing_of(_: DeltaFiles, __: BaseView) -> list[Problem]:
    return []


def _no_originals(_: BaseView) -> Callable[[str], OriginalModule | None]:
    return lambda _: None


@dataclass(frozen=True)
class PairKind:
    """One layout of bare pairs.

    Attributes:
        layout: Its name.
        read: Parses a tensor's name; None for a name without meaning here.
        finder: Returns, for a base, a finder of the weights that a module's name fits.
        lost: Finds missing tensors by other evidence than names.
        refused: Finds what is not read for a base, so that not every tensor of it is reported.
        library: The library that writes it; the layout's name if empty.
        originals: Returns, for a base, a finder of modules by their names in the model's original code.
    """

    layout: str
    read: Reader
    finder: Callable[[BaseView], Finder]
    lost: Callable[[DeltaFiles], list[Problem]] = _nothing
    refused: Callable[[DeltaFiles, BaseView], list[Problem]] = _nothing_of
    library: str = ""
    originals: Callable[[BaseView], Callable[[str], OriginalModule | None]] = _no_originals
    name: str = field(default="lora", init=False)
    variant: str = field(default="", init=False)  # all that these layouts can say is plain LoRA
    foldable: bool = field(default=True, init=False)

    def recognise(self, files: DeltaFiles, base: BaseView) -> Match | None:
        """Recognise a file by the names of factors; an alpha alone is no evidence."""
        if PEFT_CONFIG in files.documents:
            return None
        for name in sorted(files.names):
            parsed = self.read(name)
            if parsed is not None and parsed.role != "alpha":
                return Match(self.name, f"tensor names such as {name[:80]}", 2)
        return None

    def parse(self, files: DeltaFiles, base: BaseView) -> "PairDelta":
        """Read the ranks from the shapes.

        Raises:
            Refused: Its variant or its names are not supported.
        """
        unread = self.refused(files, base)
        if unread:
            raise Refused(unread)
        shapes = {n: i.shape for h in files.headers.values() for n, i in h.tensors.items()}
        return PairDelta(self, tuple(sorted(ranks_of(shapes, self.read))))


@dataclass(frozen=True)
class PairDelta(DeltaOfValue[PairKind]):
    """A delta in such a layout.

    Attributes:
        ranks: The ranks that occur.
    """

    ranks: tuple[int, ...]

    @property
    def source(self) -> Source:
        """The library; no file tells its version."""
        return Source(self.kind.library or self.kind.layout)

    def config(self) -> dict[str, object]:
        """The layout and the rank, or the ranks."""
        ranks = self.ranks
        return {"layout": self.kind.layout, "r": ranks[0] if len(ranks) == 1 else [*ranks]}

    def problems(self, files: DeltaFiles, base: BaseView) -> list[Problem]:
        """See `deltareg.delta.kind.DeltaKind`."""
        return [*super().problems(files, base), *self.kind.lost(files)]

    def plan(self, tensors: Tensors, base: BaseView) -> PairPlan:
        """Pair the factors, and find the weight of each pair."""
        kind = self.kind
        find_original = kind.originals(base)
        return plan_pairs(tensors, base, read=kind.read, find=kind.finder(base), find_original=find_original)
