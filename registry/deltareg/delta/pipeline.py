"""A pipeline of diffusers as one base: components in folders, each of them a base to readers."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from deltareg.delta.kind import ActivationHook, Addition, BaseCopy, BaseView, Effect, PrefixInsert, WeightUpdate

INDEX_FILE = "model_index.json"
"""Lists the components of a pipeline; it lies where other bases have their `config.json`."""


def component_of(base: BaseView, part: str) -> BaseView:
    """Return a component of a pipeline as a base of its own, with names relative to it.

    A base that is no pipeline is returned as it is.
    """
    if part not in base.components:
        return base
    start = f"{part}."
    tensors = {
        name.removeprefix(start): replace(record, name=name.removeprefix(start))
        for name, record in base.tensors.items()
        if name.startswith(start)
    }
    names = base.names.within(part)
    return BaseView(base.root, tensors, base.components[part], names)


def in_pipeline(effect: Effect, part: str) -> Effect:
    """Give an effect on a component the names of the pipeline."""
    match effect:
        case WeightUpdate():
            reads = f"{part}.{effect.reads}" if effect.reads else ""
            return replace(effect, target=f"{part}.{effect.target}", reads=reads)
        case Addition() | BaseCopy():
            return replace(effect, target=f"{part}.{effect.target}")
        case ActivationHook():
            taps = {n: replace(t, module=_below(part, t.module)) for n, t in effect.taps.items()}
            return replace(effect, module=_below(part, effect.module), taps=taps)
        case PrefixInsert():
            return replace(effect, module=_below(part, effect.module))


def parts_touched(effects: Collection[Effect], components: Collection[str]) -> set[str]:
    """Return the components that effects act on."""
    names = {name for effect in effects for name in _names_of(effect)}
    return {name.partition(".")[0] for name in names} & {*components}


def component_texts(documents: Mapping[str, str]) -> dict[str, str]:
    """Return the text of every component's `config.json`, from a pipeline's JSON files by path."""
    texts: dict[str, str] = {}
    for path, text in documents.items():
        part, _, name = path.partition("/")
        if name == "config.json" and "." not in part:
            texts[part] = text
    return texts


def _names_of(effect: Effect) -> tuple[str, ...]:
    match effect:
        case WeightUpdate():
            return effect.target, effect.source
        case Addition() | BaseCopy():
            return (effect.target,)
        case ActivationHook():
            return effect.module, *(tap.module for tap in effect.taps.values())
        case PrefixInsert():
            return (effect.module,)


def _below(part: str, module: str) -> str:
    return f"{part}.{module}" if module else part
