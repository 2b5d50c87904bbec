"""Deltas on a live model, for the user's own programs: attach, swap, detach.

::

    with open_base(Path("llama"), cache) as base:  # deltareg.client.folders.base_folder
        host = Host(model, base)
        chat = host.prepare([open_delta(Path("chat"), base)])
        code = host.prepare([open_delta(Path("code"), base)], include=["*.layers.0"])
        with host.attach(chat) as attached:
            model.generate(**inputs)
            attached.swap(code)
            model.generate(**inputs)

Several deltas act in the order of the list. After they are detached the model is the base again,
bit for bit: weights are exchanged as whole tensors and put back, never subtracted.
"""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self
from weakref import WeakSet

import torch
from torch import nn
from transformers import PreTrainedModel

from deltareg.client.folders.folder import open_folder
from deltareg.delta.delta_manifest import assess
from deltareg.delta.kind import ActivationHook, Addition, Effect, PrefixInsert
from deltareg.errors import BaseMismatch, Conflict, InvalidInput, Refused
from deltareg_verify.engine.case import BaseFiles
from deltareg_verify.engine.include import select_effects
from deltareg_verify.engine.torch_engine.forward import TensorWatch, forward, put_on
from deltareg_verify.engine.torch_engine.hooks import Passed
from deltareg_verify.engine.torch_engine.load import LoadedNetwork, first_difference, network_of
from deltareg_verify.engine.torch_engine.ops import KeepingOps
from deltareg_verify.engine.torch_engine.plan import NetworkPlan, make_plan

_BUSY: WeakSet[nn.Module] = WeakSet()


@dataclass(frozen=True, slots=True)
class OpenedDelta:
    """An opened delta: its effects on its base.

    Attributes:
        path: Where its files are.
        base: The base that it was opened against.
        effects: Its effects; they read its tensors on demand.
    """

    path: Path
    base: BaseFiles
    effects: Sequence[Effect]


@dataclass(frozen=True, slots=True)
class PreparedDeltas:
    """Deltas computed for one model; the expensive part is done.

    Attributes:
        plan: Where each effect acts.
        ops: Keeps the tensors that the formulas have read on the device.
    """

    plan: NetworkPlan
    ops: KeepingOps

    @property
    def not_exercised(self) -> Sequence[str]:
        """Heads that the deltas bring and for which this class of model has no place."""
        return self.plan.not_exercised


def open_delta(path: Path, base: BaseFiles, *, convention: str = "") -> OpenedDelta:
    """Open a delta's folder and account for all of it against its base.

    Raises:
        Refused: It is no delta, or not one of this base.
    """
    folder = open_folder(path, convention=convention)
    assessment = assess(folder.files, folder.tensors, base.view)
    if assessment.errors:
        raise Refused(assessment.account.problems)
    return OpenedDelta(path, base, assessment.account.effects)


def attach(model: PreTrainedModel, deltas: Sequence[OpenedDelta], *, include: Sequence[str] = ()) -> "AttachedDeltas":
    """Attach deltas to the model of their base, once; see `Host.prepare` and `Host.attach`."""
    if not deltas:
        raise InvalidInput("there is no delta to attach")
    host = Host(model, deltas[0].base)
    return host.attach(host.prepare(deltas, include=include))


class Host:
    """A model that deltas can be attached to."""

    def __init__(self, model: PreTrainedModel, base: BaseFiles) -> None:
        """Check that every weight of a model is the base's.

        Raises:
            BaseMismatch: A weight is not the base's.
            InvalidInput: The model lies on several devices.
        """
        devices = {parameter.device for parameter in model.parameters()}
        if len(devices) != 1:
            device_names = ", ".join(sorted(map(str, devices)))
            raise InvalidInput(f"the model is not on one device: {device_names}", fix="move it to one")
        _refuse_busy(model)
        self._network = network_of(model, base.view)
        self._base = base
        self._device = devices.pop()
        wrong = first_difference(self._network, base.tensors)
        if wrong is not None:
            raise BaseMismatch(
                f"{wrong[1]} of the model is not {wrong[0]} of the base {base.path.name}",
                fix="load the model from the base's folder, and detach what is attached",
            )

    def prepare(self, deltas: Sequence[OpenedDelta], *, include: Sequence[str] = ()) -> PreparedDeltas:
        """Compute what attaching puts in place.

        Args:
            deltas: In the order in which they act.
            include: Patterns of module paths (`engine.include`); none takes everything.

        Raises:
            BaseMismatch: A delta is of another base, or the model lacks a module of it.
            InvalidInput: A pattern matches nothing.
        """
        view = self._base.view
        foreign = next((d for d in deltas if d.base.view.root != view.root), None)
        if foreign is not None:
            raise BaseMismatch(f"{foreign.path} was opened against another base", fix="open it against this one")
        own = [effect for delta in deltas for effect in delta.effects]
        effects = _relocate_effects(select_effects(own, include, view.names), self._network)
        ops = KeepingOps(self._device)
        plan = make_plan(self._network, effects, tensors=self._base.tensors, names=view.names, ops=ops)
        self._refuse_homeless(plan, effects)
        return PreparedDeltas(plan, ops)

    def attach(self, ready: PreparedDeltas) -> "AttachedDeltas":
        """Put deltas on the model, until the handle is detached.

        Raises:
            Conflict: Others are attached; prepare several together instead.
        """
        return AttachedDeltas(self._network, ready)

    def _refuse_homeless(self, plan: NetworkPlan, effects: Sequence[Effect]) -> None:
        heads = {effect.target for effect in effects if isinstance(effect, Addition)}
        module_names = {name for name, _ in self._network.module.named_modules(remove_duplicate=False)}
        acts = (e for e in effects if isinstance(e, (ActivationHook, PrefixInsert)))
        lost = [name for name in plan.not_exercised if name not in heads]
        lost += [effect.module for effect in acts if effect.module not in module_names]
        if lost:
            raise BaseMismatch(
                f"{type(self._network.module).__name__} has no {lost[0]}, which the delta changes",
                fix="load the class that the base's config names, or leave it out with include",
            )


class AttachedDeltas:
    """Deltas on a model."""

    def __init__(self, network: LoadedNetwork, ready: PreparedDeltas) -> None:
        """Put the deltas on; see `Host.attach`."""
        self._network = network
        self._stack = ExitStack()
        self._hits: Counter[str] = Counter()
        self._weights: Mapping[str, torch.Tensor] = {}
        self._ready = ready
        self._put_on(ready)

    def __enter__(self) -> Self:
        """Use it in a `with` block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Detach at the end of the block."""
        self.detach()

    @property
    def hits(self) -> Mapping[str, int]:
        """How often each hook and insert has acted since it was put on, by target or module."""
        return {label: self._hits[label] for label in self._ready.plan.labels.values()}

    def swap(self, ready: PreparedDeltas) -> None:
        """Put other deltas in the place of these.

        When that fails, the model is the base and this handle is detached.
        """
        self.detach()
        self._put_on(ready)

    def detach(self) -> None:
        """Take the deltas off; may be called twice."""
        with _same_grad_mode():
            self._stack.close()

    def silent(self, inputs: Mapping[str, torch.Tensor]) -> Sequence[str]:
        """Run one forward and name the effects that took no part in it."""
        before = Counter(self._hits)
        with TensorWatch(self._weights) as watch:
            forward(self._network.module, inputs)
        plan = self._ready.plan
        active = {plan.targets[name] for name in watch.seen} | (self._hits - before).keys()
        return sorted(plan.effects() - active)

    def _put_on(self, ready: PreparedDeltas) -> None:
        module = self._network.module
        _refuse_busy(module)
        labels = ready.plan.labels
        self._ready, self._hits = ready, Counter()

        def note_hit(effect: ActivationHook | PrefixInsert, _: Passed | None = None, /) -> None:
            self._hits[labels[id(effect)]] += 1

        with ExitStack() as stack, _same_grad_mode():
            self._weights = stack.enter_context(put_on(module, ready.plan, ready.ops, note_hit))
            stack.callback(_BUSY.discard, module)
            _BUSY.add(module)
            self._stack = stack.pop_all()


def _same_grad_mode() -> torch.set_grad_enabled:
    """Keep this thread's gradient mode over a block, because it belongs to the program."""
    return torch.set_grad_enabled(torch.is_grad_enabled())


def _refuse_busy(model: nn.Module) -> None:
    if model in _BUSY:
        raise Conflict(
            "other deltas are attached to the model",
            fix="detach them first, or prepare all of them together, in the order they act in",
        )


def _relocate_effects(effects: Sequence[Effect], network: LoadedNetwork) -> list[Effect]:
    """Return effects with the paths of a network that holds the base's under another prefix."""
    module_names = {name for name, _ in network.module.named_modules(remove_duplicate=False)}
    prefix = f"{getattr(network.module, 'base_model_prefix', '')}."

    def path(module: str) -> str:
        candidates = (module, f"{prefix}{module}", module.removeprefix(prefix))
        return next((c for c in candidates if c in module_names), module)

    def relocate(effect: Effect) -> Effect:
        match effect:
            case ActivationHook():
                taps = {n: replace(tap, module=path(tap.module)) for n, tap in effect.taps.items()}
                return replace(effect, module=path(effect.module), taps=taps)
            case PrefixInsert():
                return replace(effect, module=path(effect.module))
            case _:
                return effect

    return [relocate(effect) for effect in effects]
