"""Where a running network has the modules that a delta names, and whether peft finds them.

Transformers 5 moved the language model of vision-language networks one level deeper, and moved
others. For some types peft converts a LoRA's old names to new ones, for others not. What it does
not find stays at its initial value, which changes nothing, and no error is raised.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from deltareg.delta.architectures import facts
from deltareg.delta.kind import BaseView
from deltareg.delta.layouts.peft.keys import PREFIX

RENAME = "rename them for this base: deltareg convert PATH --out DIR --base BASE"
_WEIGHT = ".weight"
_TEXT = frozenset({"language_model", "text_model"})
_LEAST = 3


def served_path(target: str, base: BaseView) -> str:
    """Return the path of the module that holds a weight of the base, in the running network."""
    return (base.names.memory(target) or "").removesuffix(_WEIGHT)


def headed_path(target: str, base: BaseView) -> str:
    """Return the path of the module that holds a weight of the base, in a class with a head.

    If the base's own class is the plain network, a task adds a head to it and moves the network
    below an attribute. Empty if that attribute is not known.
    """
    path, names = served_path(target, base), base.names
    if not path or names.parts or not names.is_plain_class:
        return path
    prefix = names.rules.prefix or facts().prefixes.get(names.model_type, "")
    return f"{prefix}.{path}" if prefix else ""


def path_in_library(module: str, base: BaseView, *, converts: bool) -> str:
    """Return the path under which peft looks for a module that a delta names.

    Args:
        module: As the delta spells it.
        base: The base.
        converts: Whether the type of the delta is one whose names peft converts.
    """
    if not converts or base.names.model_type not in facts().loras_renamed:
        return module
    renamed = served_path(f"{module}{_WEIGHT}", base)
    # What it takes for no more than a prefix that was added is taken back.
    return module if f"{PREFIX}{module}".endswith(renamed) else renamed


class SuffixFinder:
    """Finds modules of a base by the end of their paths, where the beginning differs."""

    def __init__(self, base: BaseView) -> None:
        weights = (name for name in base.tensors if name.endswith(_WEIGHT))
        self._paths: dict[str, list[str]] = defaultdict(list)
        for path in {served_path(name, base) for name in weights}:
            for end in _ends(path):
                self._paths[end].append(path)

    def path(self, module: str) -> str:
        """Return the only path that ends as a module's, from a numbered layer on; else empty.

        Among several, the one in the language model counts.
        """
        for end in _ends(module):
            matches = self._paths.get(end, [])
            texts = [path for path in matches if _TEXT & {*path.split(".")}]
            candidates = texts or matches
            if candidates:
                return candidates[0] if len(candidates) == 1 else ""
        return ""

    def paths(self, modules: Iterable[str]) -> dict[str, str]:
        """Return the paths of all modules; empty if one has none or two have the same."""
        paths: dict[str, str] = {}
        for module in modules:
            path = self.path(module)
            if not path:
                return {}
            paths[module] = path
        return paths if len({*paths.values()}) == len(paths) else {}


def _ends(path: str) -> Iterator[str]:
    """Yield the ends of a path that include the number of a layer, the longest first."""
    parts = path.split(".")
    for at in range(len(parts) - _LEAST + 1):
        if not any(part.isdecimal() for part in parts[at:]):
            return
        yield ".".join(parts[at:])
