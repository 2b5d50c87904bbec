"""One version at hand for its checks: manifest, folder, base, account, engine, each created once."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

from deltareg.delta.base_manifest import CONFIG_FILE
from deltareg.delta.examine import examine
from deltareg.delta.fold import FoldedBase
from deltareg.delta.kind import Account, BaseView, DeltaFiles, WeightUpdate
from deltareg.delta.maths.formula import Tensor
from deltareg.delta.stack import stacked_config
from deltareg.errors import Inconclusive, InvalidInput, Problem
from deltareg.identity.manifest import Manifest
from deltareg.suites.base_probes import BaseProbes, draw
from deltareg.suites.golden import GoldenOutputs
from deltareg.suites.golden_file import GOLDEN_FILE, decode
from deltareg.suites.lm_task import LmTask
from deltareg.suites.probe_set import Samples, read_samples
from deltareg.suites.suite import ProbeSet, Suite
from deltareg_verify.engine.engine import DeltaEngine, FiredEffects, Outputs, State, WeightChange
from deltareg_verify.engine.measures.answers import Known
from deltareg_verify.engine.stacked_base import contradiction
from deltareg_verify.messages.figures import Figures

_MESSAGE_CHARACTERS = 300


class DeltaFolder(Protocol):
    """The pulled files, as `deltareg.client.folders.folder` opens them."""

    @property
    def path(self) -> Path:
        """The folder's path."""
        ...

    @property
    def files(self) -> DeltaFiles:
        """Sizes, headers and documents of the files."""
        ...

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors by name; data is read on access."""
        ...


class BaseFiles(Protocol):
    """The base's files, as `deltareg.client.folders.folder` opens them."""

    @property
    def path(self) -> Path:
        """The folder's path."""
        ...

    @property
    def view(self) -> BaseView:
        """Names, shapes and configuration of the base."""
        ...

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors by name; data is read on access."""
        ...


def texts_of(probe_set: ProbeSet) -> Samples:
    """Read a probe set whose texts stand in the suite itself."""
    return read_samples(probe_set, b"")


def no_task(probe_set: ProbeSet) -> LmTask:
    """Raise, because the files of a task are not at hand."""
    raise InvalidInput(f"the files of the task {probe_set.name} are not at hand")


@dataclass(frozen=True, slots=True)
class CaseParts:
    """How a case gets its parts; each is called once, by the first check that needs it.

    Attributes:
        folder: Opens the delta; may raise `Refused`.
        account: Accounts for its tensors; may raise `Refused`.
        engine: Brings base and effects together.
        below: Folds the version that the base is, where its values were computed; else None.
        samples: Reads a probe set; may raise `InvalidInput`.
        task: Reads a probe set that is a task of lm-eval; may raise `InvalidInput`.
        promoted: Returns the engine of the version that the suite compares with, from that of this
            one; None without such a version.
        references: The same for the other versions that it compares with, by the suite's name for
            them.
        names: What people call them, by the suite's name; for a missing one the reason.
        probes: Returns the general probes of the base; None draws them here.
        figures: Returns the base's own figures on them, as measured earlier in the same
            surroundings; None measures them here.
        base_outputs: Returns the base's own outputs on the probe of an engine, as computed earlier in
            the same surroundings; None where they are of another probe or network.
    """

    folder: Callable[[], DeltaFolder]
    account: Callable[[DeltaFolder], Account]
    engine: Callable[[Account], DeltaEngine]
    below: Callable[[], FoldedBase] | None = None
    samples: Callable[[ProbeSet], Samples] = texts_of
    task: Callable[[ProbeSet], LmTask] = no_task
    promoted: Callable[[DeltaEngine], DeltaEngine] | None = None
    references: Mapping[str, Callable[[DeltaEngine], DeltaEngine]] = field(
        default_factory=dict[str, Callable[[DeltaEngine], DeltaEngine]]
    )
    names: Mapping[str, str] = field(default_factory=dict[str, str])
    probes: Callable[[], BaseProbes] | None = None
    figures: Callable[[], Figures] | None = None
    base_outputs: Callable[[DeltaEngine], Outputs | None] | None = None


def base_figures(engine: DeltaEngine, probes: BaseProbes) -> Figures:
    """Measure the figures of a base alone, or its reason where it does not take its probes.

    Raises:
        Inconclusive: The machine could not do it.
    """
    try:
        return engine.general("base", probes)
    except (Inconclusive, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  # a base that takes no such probe is no finding
        return Figures(refusal=f"{type(error).__name__}: {error}"[:_MESSAGE_CHARACTERS])


class Case:
    """The version that checks look at."""

    def __init__(
        self, manifest: Manifest, base: BaseFiles, *, suite: Suite, parts: CaseParts, clock: Callable[[], float]
    ) -> None:
        self.manifest = manifest
        self.base = base
        self.suite = suite
        self.clock = clock
        self.started = clock()
        self._parts = parts
        self._outputs: dict[State, Outputs] = {}
        self._samples: dict[str, Samples] = {}
        self._references: dict[str, DeltaEngine | None] = {}
        self.written: Known = {}
        """What was written already, for checks that ask for the same."""
        self._figures: dict[State, Figures] = {}

    @cached_property
    def folder(self) -> DeltaFolder:
        """The delta's folder.

        Raises:
            Refused: It holds a file that no delta may hold.
        """
        return self._parts.folder()

    @cached_property
    def account(self) -> Account:
        """The account: which effect consumes which tensor.

        Raises:
            Refused: The kind cannot read the delta at all.
        """
        return self._parts.account(self.folder)

    @cached_property
    def folding(self) -> FoldedBase:
        """The weights that the delta changes, folded; effects on activations are left out."""
        weights = [e for e in self.account.effects if isinstance(e, WeightUpdate)]
        network_class = self.account.network_class
        named_class = None if network_class is None or network_class.is_guess else network_class
        return FoldedBase(weights, self.base.tensors, network_class=named_class)

    @cached_property
    def folded_config(self) -> Mapping[str, object]:
        """The `config.json` of the folder that folding writes."""
        own = self.folder.files.documents.get(CONFIG_FILE)
        return stacked_config(self.folding, self.base.view.config, own)

    @cached_property
    def evidence(self) -> Sequence[Problem]:
        """The problems that only the numbers show, read once: NaN, a copy of another base, odd values."""
        return examine(self.account, self.folder.tensors, self.base.tensors, self.folder.files)

    @cached_property
    def golden(self) -> GoldenOutputs | None:
        """The golden outputs that the version was pushed with; None without, or if they are of another base.

        Raises:
            Refused: The file holds something other than golden outputs.
        """
        if GOLDEN_FILE not in self.folder.files.sizes:
            return None
        golden = decode((self.folder.path / GOLDEN_FILE).read_bytes())
        return golden if golden.origin.base in {"", str(self.manifest.base)} else None

    @property
    def has_computed_base(self) -> bool:
        """Whether the base is a version whose values were computed."""
        return self._parts.below is not None

    @cached_property
    def contradiction(self) -> str:
        """The name of a base tensor that folding the version does not reproduce; empty if all agree."""
        below = self._parts.below
        return "" if below is None else contradiction(below(), self.base.tensors)

    @property
    def dtype(self) -> str:
        """The dtype that most of the base's elements are stored in."""
        counts: Counter[str] = Counter()
        for record in self.base.view.tensors.values():
            counts[record.dtype] += math.prod(record.shape)
        return counts.most_common(1)[0][0]

    @cached_property
    def engine(self) -> DeltaEngine:
        """The base with the delta's effects at hand."""
        return self._parts.engine(self.account)

    @cached_property
    def changes(self) -> Sequence[WeightChange]:
        """How much the delta changes each weight; the base's values are read once for all."""
        return self.engine.changes()

    @cached_property
    def fired(self) -> FiredEffects:
        """Which effects took part in one attached forward on the probe."""
        return self.engine.find_fired()

    @cached_property
    def promoted(self) -> DeltaEngine | None:
        """The engine of the version that the suite compares with; None without one."""
        give = self._parts.promoted
        return None if give is None else give(self.engine)

    def reference(self, name: str) -> DeltaEngine | None:
        """Return the engine of another version that the suite compares with; None without one."""
        if name not in self._references:
            names = self._parts.names
            is_promoted = name in names and names[name] == names.get("promoted")
            give = self._parts.references.get(name)
            if is_promoted and self._parts.promoted is not None:
                self._references[name] = self.promoted
            else:
                self._references[name] = None if give is None else give(self.engine)
        return self._references[name]

    def is_told(self, name: str) -> bool:
        """Whether whoever gave the run said what became of a version that the suite compares with."""
        return name in self._parts.names

    def describe_rival(self, name: str) -> str:
        """Describe in words what a suite compares with."""
        otherwise = {"promoted": "the promoted version", "": "the base", "base": "the base"}
        return self._parts.names.get(name) or otherwise.get(name, name)

    def why_no_reference(self, name: str) -> str:
        """Explain why there is no such version."""
        return self._parts.names.get(name) or f"there is no {name} to compare with"

    def samples(self, name: str) -> Samples:
        """Return a probe set of the suite.

        Raises:
            InvalidInput: Its content does not match its file name.
        """
        if name not in self._samples:
            self._samples[name] = self._parts.samples(self.suite.sets[name])
        return self._samples[name]

    def task(self, name: str) -> LmTask:
        """Return a probe set of the suite that is a task of lm-eval.

        Raises:
            InvalidInput: It is no such task, or its data does not fit it.
        """
        return self._parts.task(self.suite.sets[name])

    def outputs(self, state: State) -> Outputs:
        """Return the outputs of one forward on the probe; all checks share the same forward."""
        if state not in self._outputs:
            known = self._known_base_outputs() if state == "base" else None
            self._outputs[state] = self.engine.outputs(state) if known is None else known
        return self._outputs[state]

    def _known_base_outputs(self) -> Outputs | None:
        give = self._parts.base_outputs
        # A delta that makes another network of the base is beside that network without it.
        return None if give is None or self.account.network_class is not None else give(self.engine)

    @cached_property
    def probes(self) -> BaseProbes:
        """The general probes of the base."""
        probes = self._parts.probes
        if probes is not None:
            return probes()
        return draw(str(self.base.view.root), self.base.view.config)

    def figures(self, state: State) -> Figures:
        """Return the figures of the network on the base's general probes.

        The base is measured first: figures that it lacks are measured for no version.
        """
        if state not in self._figures:
            is_base = state == "base"
            self._figures[state] = self._base_figures() if is_base else self._compute_figures(state)
        return self._figures[state]

    def _base_figures(self) -> Figures:
        figures = self._parts.figures
        # A delta that makes another network of the base is beside that network without it.
        if figures is not None and self.account.network_class is None and not self.suite.probe_set:
            return figures()
        return base_figures(self.engine, self.probes)

    def _compute_figures(self, state: State) -> Figures:
        base = self.figures("base")
        if base.refusal:
            return base
        return self.engine.general(state, self.probes, ways=base.batching.keys())
