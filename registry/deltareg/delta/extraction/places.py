"""What of a fine-tune a LoRA can hold: the weights of layers; and what can be saved whole beside it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from deltareg.delta.kind import BaseView
from deltareg.documents.json_values import is_object
from deltareg.errors import InvalidInput

_EMBEDDINGS = frozenset({"wte", "wpe", "shared", "relative_attention_bias"})
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")
_MATRIX, _STACK = 2, 3
_MOST_SAVED = 32
_LEAVE_OUT = "leave --keep out, or push the fine-tune as it is"


@dataclass(frozen=True, slots=True)
class WeightPlace:
    """A weight and where it has its place.

    Attributes:
        target: Its name in the base's files.
        path: Its name in the running network.
        shape: Its shape in the fine-tune.
        why_not: Why no factors are made of it; empty where they are.
    """

    target: str
    path: str
    shape: tuple[int, ...]
    why_not: str = ""

    @property
    def module(self) -> str:
        """The path of the module that it belongs to."""
        return self.path.rpartition(".")[0]

    @property
    def parameter(self) -> str:
        """Its name within the module."""
        return self.path.rpartition(".")[2]


def place_of(target: str, shape: tuple[int, ...], source: tuple[int, ...] | None, view: BaseView) -> WeightPlace:
    """Find where a weight has its place.

    Args:
        target: Its name in the base's files.
        shape: Its shape in the fine-tune.
        source: Its shape in the base; None where it is new.
        view: The base.
    """
    path = view.names.memory(target) or target
    place = WeightPlace(target, path, shape)
    return WeightPlace(target, path, shape, _why_not(place, source, view))


def is_of_experts(place: WeightPlace, view: BaseView) -> bool:
    """Whether a weight is part of a stack of experts in the running network, by its name or height."""
    if view.names.part(place.target) is not None:
        return True
    is_named = ".experts." in f".{place.path}"
    return len(place.shape) >= _STACK and (is_named or place.shape[0] in _expert_counts(view.config))


class BaseModules:
    """The modules of a running base that have parameters."""

    def __init__(self, view: BaseView) -> None:
        """Group the base's parameters by module."""
        self._parameters: dict[str, dict[str, str]] = {}
        for target in view.tensors:
            path = view.names.memory(target)
            if path is not None:
                self._parameters.setdefault(path.rpartition(".")[0], {})[target] = path
        paths = [path.split(".") for path in self._parameters if path]
        self._above = {".".join(parts[:n]) for parts in paths for n in range(1, len(parts))}

    def is_savable(self, module: str) -> bool:
        """Whether a module has its parameters for itself, and no modules with parameters below it."""
        return bool(module) and module in self._parameters and module not in self._above

    def parameters(self, module: str) -> dict[str, str]:
        """Return the parameters of a module: the base's name -> the name in the running network."""
        return self._parameters[module]

    def name_saved(self, modules: Iterable[str], factored: frozenset[str]) -> tuple[list[str], list[str]]:
        """Name modules as `modules_to_save` does: it means every module whose path ends in a name.

        Args:
            modules: The modules to save; each is savable.
            factored: Modules that have factors, which no name may mean.

        Returns:
            The names, as short as possible, and all modules that they mean: the asked ones, and
            others that so short a name means as well.

        Raises:
            InvalidInput: They cannot be named.
        """
        names: list[str] = []
        meant: set[str] = set()
        for module in sorted(modules):
            if module not in meant:
                name, hits = self._name(module, factored)
                names.append(name)
                meant |= hits
        if len(names) > _MOST_SAVED:
            raise InvalidInput(f"modules_to_save would have {len(names)} names, {_MOST_SAVED} at most", fix=_LEAVE_OUT)
        return sorted(names), sorted(meant)

    def _name(self, module: str, factored: frozenset[str]) -> tuple[str, set[str]]:
        parts = module.split(".")
        for length in range(1, len(parts) + 1):
            name = ".".join(parts[-length:])
            hits = {path for path in self._above | self._parameters.keys() if path.endswith(name)}
            if not hits & factored and all(map(self.is_savable, hits)):
                return name, hits
        raise InvalidInput(f"modules_to_save cannot name {module} without others that have factors", fix=_LEAVE_OUT)


def _why_not(place: WeightPlace, source: tuple[int, ...] | None, view: BaseView) -> str:
    shape, dimensions = place.shape, len(place.shape)
    answers = {
        "new": source is None,
        "resized": shape != source,
        "vector": dimensions < _MATRIX,
        "no layer": place.parameter != "weight",
        "embedding": dimensions == _MATRIX and _is_embedding(place, view),
        "tied": len(view.names.sharers(place.path)) > 1,
        "depthwise": dimensions > _MATRIX and shape[1] == 1,
    }
    return next((why for why, is_so in answers.items() if is_so), "")


def _expert_counts(config: Mapping[str, object]) -> set[object]:
    """Return how many experts a base's layers have, by its config; empty for one without."""
    inner = [value for value in config.values() if is_object(value)]
    return {part[name] for part in (config, *inner) for name in _EXPERTS if name in part}


def _is_embedding(place: WeightPlace, view: BaseView) -> bool:
    last = place.module.rpartition(".")[2]
    return last in _EMBEDDINGS or ("embed" in last and not view.names.is_head(place.path))
