"""Finds the class of transformers that has a place for a head, where no config names it."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Iterator, Mapping, Sequence

import torch
import transformers

from deltareg.delta.architectures import facts
from deltareg.delta.kind import Addition, BaseView, NetworkClass
from deltareg.delta.network_class import MOST_LABELS

_FIRST = (
    "ForSequenceClassification",
    "ForImageClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForAudioClassification",
)


def class_with_place(view: BaseView, heads: Sequence[Addition]) -> NetworkClass | None:
    """Find the first class for a base that has every one of these tensors, in its shape.

    Nothing is allocated. Where several classes have the same head it makes no difference to the
    head itself which one is chosen; classifiers come first.

    Args:
        view: The base.
        heads: The tensors for which the base's own class has no place.
    """
    shapes = {view.names.canonical(head.target): head.tensor.shape for head in heads}
    for name in _in_order(facts().headed.get(view.names.model_type, frozenset())):
        rows = {shape[0] for shape in shapes.values() if shape and shape[0] <= MOST_LABELS}
        for count in sorted({0, *rows}):
            has = _shapes(name, view, count)
            own = {view.names.canonical(path): shape for path, shape in has.items()}
            if all(own.get(path) == shape for path, shape in shapes.items()):
                labels = tuple(f"LABEL_{at}" for at in range(count))
                return NetworkClass(name, labels, is_guess=True)
    return None


def _in_order(names: frozenset[str]) -> Iterator[str]:
    firsts = [name for ending in _FIRST for name in sorted(names) if name.endswith(ending)]
    yield from dict.fromkeys([*firsts, *sorted(names)])


def _shapes(name: str, view: BaseView, count: int) -> Mapping[str, tuple[int, ...]]:
    """Return the parameters of a class on a base's config, with `count` outputs if it counts any."""
    kind = getattr(transformers, name, None)
    fields = {key: value for key, value in view.config.items() if key != "model_type"}
    try:
        config = transformers.CONFIG_MAPPING[view.names.model_type].from_dict(fields)
        if count:
            config.num_labels = count
        with torch.device("meta"):
            network = kind(config) if kind is not None else None
    except (ValueError, KeyError, AttributeError, ImportError, TypeError):
        return {}
    return {} if network is None else {n: tuple(p.shape) for n, p in network.named_parameters()}
