"""A kind that the adapters library writes, as a value: its method, its config and its effects.

Everything that such kinds share is here: the frame of the config, parsing names, finding layers,
the head. A kind's file adds the rest.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from deltareg.delta.kind import BaseView, DeltaFiles, Effect, Match, Tensors
from deltareg.delta.layouts.adapterhub.config import (
    AdapterFrame,
    architecture,
    method_config,
    method_fields,
    missing_config,
    read_frame,
)
from deltareg.delta.layouts.adapterhub.head import HEAD_CONFIG, head_names, head_problems, plan_head
from deltareg.delta.layouts.adapterhub.interface import AdapterInterface
from deltareg.delta.layouts.adapterhub.keys import AdapterTensorName, containers, read_keys
from deltareg.delta.layouts.adapterhub.places import BaseLayers
from deltareg.delta.layouts.peft.config import CONFIG_FILE, Fields, adapter_config, canonical_number
from deltareg.delta.layouts.peft.saved import EffectPlan
from deltareg.delta.shapes import header_tensors
from deltareg.errors import Problem, Refused
from deltareg.identity.manifest import Source

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Adapter:
    """One adapter's tensors, with the base that they go into.

    Attributes:
        keys: The adapter's tensor names, parsed.
        tensors: All tensors, by name.
        places: The base's layers.
        interface: The modules that the library was plugged into, if it says so.
    """

    keys: list[AdapterTensorName]
    tensors: Tensors
    places: BaseLayers
    interface: AdapterInterface | None = None

    @property
    def base(self) -> BaseView:
        """The base."""
        return self.places.base

    def within(self, container: str) -> dict[str, dict[str, str]]:
        """Return, for one container, holder -> parameter -> tensor name."""
        holders: dict[str, dict[str, str]] = {}
        for key in self.keys:
            if key.container == container:
                holders.setdefault(key.holder, {})[key.parameter] = key.name
        return holders


@dataclass(frozen=True)
class HubKind(Generic[S]):
    """One method of the library.

    Attributes:
        name: The kind.
        method: What the method is called in messages and layouts.
        is_method: Whether a method's config is one of this kind.
        container: The container whose tensors are the kind's own; empty where several are.
        read: Reads the method's fields; those that change the maths are in the dataclass it
            returns.
        plan: Adds the effects or the problems of an adapter to a plan.
        variant: The variant within the kind; may be empty.
        is_foldable: Whether every effect is on weights.
        is_named_by_tensors: Whether tensor names alone tell that a delta is of this kind.
    """

    name: str
    method: str
    is_method: Callable[[Mapping[str, object]], bool]
    container: str
    read: Callable[[Fields], S]
    plan: Callable[[EffectPlan, Adapter, S], None]
    variant: Callable[[S], str]
    is_foldable: Callable[[S], bool]
    is_named_by_tensors: bool = True

    @property
    def layout(self) -> str:
        """What it reads."""
        return f"adapters {self.method}"

    def recognise(self, files: DeltaFiles, base: BaseView) -> Match | None:
        """Recognise a folder by its config's method, else by names that only this library uses."""
        method = method_config(files)
        if method is not None:
            evidence = f'architecture "{architecture(method)}" of the adapters library in {CONFIG_FILE}'
            return Match(self.name, evidence, 3) if self.is_method(method) else None
        is_told = adapter_config(files) is not None or not self.is_named_by_tensors
        if is_told or self.container not in containers(files.names):
            return None
        return Match(self.name, f"tensor names ….{self.container}.…", 2)

    def parse(self, files: DeltaFiles, base: BaseView) -> "HubDelta[S]":
        """Read the config; see `deltareg.delta.kind.KindReader`."""
        frame, method = read_frame(files), method_config(files)
        if method is None:
            raise missing_config()
        reader = method_fields(method)
        settings = self.read(reader)
        reader.finish()
        return HubDelta(self, frame, settings)


@dataclass(frozen=True)
class HubDelta(Generic[S]):
    """A delta of such a kind.

    Attributes:
        kind: The kind.
        frame: The config without its method.
        settings: The settings of the method.
    """

    kind: HubKind[S]
    frame: AdapterFrame
    settings: S

    @property
    def name(self) -> str:
        """The kind's name."""
        return self.kind.name

    @property
    def variant(self) -> str:
        """The kind's variant."""
        return self.kind.variant(self.settings)

    @property
    def foldable(self) -> bool:
        """Whether every effect is on weights."""
        return self.kind.is_foldable(self.settings)

    @property
    def source(self) -> Source:
        """The library and its version."""
        return self.frame.source

    def config(self) -> dict[str, object]:
        """All fields of the settings, and the library's places if it names them."""
        interface = self.frame.interface
        declared = {} if interface is None else {"interface": dict(interface.paths)}
        return {**plain_settings(self.settings), **declared}

    def problems(self, files: DeltaFiles, base: BaseView) -> list[Problem]:
        """See `deltareg.delta.kind.DeltaKind`."""
        tensors = header_tensors(files)
        names = head_names(tensors, read_keys(tensors, self.frame.name))
        try:
            problems = self._plan(tensors, base).problems
        except Refused as refused:
            return list(refused.problems)
        return [*problems, *head_problems(names, files)] if names or _has_head(files) else problems

    def effects(self, tensors: Tensors, base: BaseView) -> list[Effect]:
        """See `deltareg.delta.kind.DeltaKind`."""
        return self._plan(tensors, base).effects

    def _plan(self, tensors: Tensors, base: BaseView) -> EffectPlan:
        plan, keys = EffectPlan(), read_keys(tensors, self.frame.name)
        own, trained = base.names.model_type, self.frame.model_type
        if trained and own and trained != own:
            message = f"the adapter was trained in a network of type {trained!r}, the base is {own!r}"
            plan.refuse("base_mismatch", message, "", "push it with the base that it was trained on")
            return plan
        if not any(self.kind.container in {"", key.container} for key in keys):
            self._refuse_empty(plan, tensors)
            return plan
        self.kind.plan(plan, Adapter(keys, tensors, BaseLayers.of(base), self.frame.interface), self.settings)
        plan_head(plan, head_names(tensors, keys), tensors=tensors, base=base)
        return plan

    def _refuse_empty(self, plan: EffectPlan, tensors: Tensors) -> None:
        other_containers, name = containers(tensors) - {self.kind.container}, self.frame.name
        if other_containers:
            message = f"the config says {self.kind.method}, and the tensors are {', '.join(other_containers)}"
            plan.refuse("kind_mismatch", message, "", "push each adapter with its own config")
            return
        message = f"no tensor is one of {self.kind.container}.{name}, as the config says"
        fix = f"the adapter's name in {CONFIG_FILE} must be the one in its tensor names"
        plan.refuse("no_tensor_applied", message, next(iter(sorted(tensors)), ""), fix)


def plain_settings(settings: object) -> dict[str, object]:
    """Convert settings for the manifest, which holds no floats and no types of ours."""
    return {f.name: _plain(getattr(settings, f.name)) for f in fields(cast("DataclassInstance", settings))}


def _plain(value: object) -> object:
    match value:
        case bool() | int() | str() | None:
            return value
        case float():
            return canonical_number(value)
        case Mapping():
            return {str(k): _plain(v) for k, v in cast("Mapping[object, object]", value).items()}
        case _ if is_dataclass(value):
            return plain_settings(value)
        case _:
            return [_plain(item) for item in cast("tuple[object, ...]", value)]


def _has_head(files: DeltaFiles) -> bool:
    return HEAD_CONFIG in files.documents
