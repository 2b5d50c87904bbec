"""The base's modules by original name: one table per known class."""

from collections.abc import Callable, Collection, Iterator, Mapping

from deltareg.delta.kind import BaseView
from deltareg.delta.layouts.originals import flux, unet, wan
from deltareg.delta.layouts.originals.original import OriginalModule

Table = Callable[[Collection[str], Mapping[str, object]], Iterator[tuple[str, OriginalModule]]]
_CLASSES: Mapping[str, Table] = {
    "UNet2DConditionModel": unet.originals,
    "FluxTransformer2DModel": flux.originals,
    "WanTransformer3DModel": wan.originals,
}
_WEIGHT = ".weight"


def by_path(base: BaseView) -> dict[str, OriginalModule]:
    """Return the base's modules by their path in the original code, where that differs."""
    originals: dict[str, OriginalModule] = {}
    for component, config in _models(base):
        table = _CLASSES.get(str(config.get("_class_name", "")))
        if table is None:
            continue
        before = f"{component}." if component else ""
        modules = {
            name.removeprefix(before).removesuffix(_WEIGHT)
            for name, record in base.tensors.items()
            if name.startswith(before) and name.endswith(_WEIGHT) and len(record.shape) > 1
        }
        for path, original in table(modules, config):
            if path not in modules and set(original.modules) <= modules:
                originals[path] = original.below(component) if component else original
    return originals


def by_spelling(base: BaseView) -> dict[str, OriginalModule]:
    """Return the modules by path with underscores for dots, without ambiguous spellings."""
    originals: dict[str, OriginalModule] = {}
    twice: set[str] = set()
    for path, original in by_path(base).items():
        spelling = path.replace(".", "_")
        if originals.setdefault(spelling, original) is not original:
            twice.add(spelling)
    return {spelling: original for spelling, original in originals.items() if spelling not in twice}


def _models(base: BaseView) -> Iterator[tuple[str, Mapping[str, object]]]:
    if base.components:
        yield from base.components.items()
    else:
        yield "", base.config
