"""The name map of a pipeline: each component has its own, under the component's name and a dot."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from deltareg.delta.names.name_map import NameMap, ParameterPart, name_map_for


@dataclass(frozen=True, slots=True)
class PipelineNames(NameMap):
    """Finds tensors of a pipeline; tensors outside of components keep their own names.

    Attributes:
        components: The map of each component, over names without the component.
    """

    components: Mapping[str, NameMap] = field(default_factory=dict[str, NameMap])

    def canonical(self, path: str) -> str:
        part, names, rest = self._at(path)
        return path if names is None else f"{part}.{names.canonical(rest)}"

    def old_style(self, path: str) -> str:
        part, names, rest = self._at(path)
        return path if names is None else f"{part}.{names.old_style(rest)}"

    def apply_renames(self, path: str) -> str:
        part, names, rest = self._at(path)
        return path if names is None else f"{part}.{names.apply_renames(rest)}"

    def tensor(self, module_path: str) -> str | None:
        part, names, rest = self._at(module_path)
        if names is None:
            return self.files.get(module_path)
        return _below(part, names.tensor(rest))

    def memory(self, file_name: str) -> str | None:
        part, names, rest = self._at(file_name)
        return file_name if names is None else _below(part, names.memory(rest))

    def part(self, file_name: str) -> ParameterPart | None:
        part, names, rest = self._at(file_name)
        parameter = None if names is None else names.part(rest)
        if parameter is None:
            return None
        return ParameterPart(f"{part}.{parameter.whole}", parameter.row, parameter.place, parameter.places)

    def sharers(self, path: str) -> dict[str, str]:
        part, names, rest = self._at(path)
        sharers = {} if names is None else names.sharers(rest)
        return {f"{part}.{spelling}": f"{part}.{name}" for spelling, name in sharers.items()}

    def stored_twin(self, module_path: str) -> str | None:
        part, names, rest = self._at(module_path)
        return None if names is None else _below(part, names.stored_twin(rest))

    def stored_sharers(self, module_path: str) -> list[str]:
        part, names, rest = self._at(module_path)
        return [] if names is None else [f"{part}.{name}" for name in names.stored_sharers(rest)]

    def absent_twins(self) -> dict[str, str]:
        return {
            f"{part}.{twin}": f"{part}.{stored}"
            for part, names in self.components.items()
            for twin, stored in names.absent_twins().items()
        }

    def spelled_like(self, path: str, stored: str) -> str:
        part, names, rest = self._at(path)
        _, other, below = self._at(stored)
        if names is None or other is not names:
            return path
        return f"{part}.{names.spelled_like(rest, below)}"

    def is_buffer(self, name: str) -> bool:
        _, names, rest = self._at(name)
        return names is not None and names.is_buffer(rest)

    def is_head(self, name: str) -> bool:
        _, names, rest = self._at(name)
        return names is not None and names.is_head(rest)

    def is_transposed(self, file_name: str) -> bool:
        _, names, rest = self._at(file_name)
        return names is not None and names.is_transposed(rest)

    def within(self, part: str) -> NameMap:
        return self.components[part]

    def _at(self, path: str) -> tuple[str, NameMap | None, str]:
        part, _, rest = path.partition(".")
        return part, self.components.get(part), rest


def pipeline_names(configs: Mapping[str, Mapping[str, object]], names: Iterable[str]) -> PipelineNames:
    """Build the map of a pipeline.

    Args:
        configs: The `config.json` of every component.
        names: The names of all its tensors, each prefixed by its component.
    """
    own: dict[str, list[str]] = {part: [] for part in configs}
    ordered = list(names)
    for name in ordered:
        part, _, rest = name.partition(".")
        if part in own:
            own[part].append(rest)
    components = {part: name_map_for(config, own[part]) for part, config in configs.items()}
    return PipelineNames("", {name: name for name in ordered}, components=components)


def _below(part: str, name: str | None) -> str | None:
    return None if name is None else f"{part}.{name}"
